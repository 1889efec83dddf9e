package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.match.Embedder;
import stormsight.match.FileEmbedder;
import stormsight.match.ImageIndex;
import stormsight.model.Stamp;
import stormsight.report.ContactSheet;

/** Finds images that are like a text or another image. */
@Command(
        name = "search",
        description = {
            "Finds the images that a text or another image is nearest to, with a model such as SigLIP or CLIP.",
            "With --index, embeddings are kept: the next call embeds only images that are new or changed, and takes "
                    + "out those that are gone. Without --image it searches all that the index holds."
        })
final class Search extends EncoderCommand implements Runnable {
    /** Images after which an index is written, so that an interruption loses little. */
    private static final int COMMITTED = 100;

    @Option(
            names = {"-i", "--image"},
            paramLabel = "FILE",
            converter = ImageArgument.class,
            description = "Images to search: a folder, a pattern such as 'photos/*.jpg', or a file. May be repeated.")
    private List<Path> images = new ArrayList<>();

    @Option(names = {"-p", "--prompt"}, paramLabel = "TEXT", description = "A text to look for. May be repeated.")
    private List<String> texts = new ArrayList<>();

    @Option(
            names = "--similar-to",
            paramLabel = "FILE",
            converter = ImageArgument.class,
            description = "An image to look for. May be repeated.")
    private List<Path> queries = new ArrayList<>();

    @Option(
            names = "--index",
            paramLabel = "DIR",
            description = "The folder that keeps the embeddings. Default: none, they are kept in memory.")
    private Path index;

    @Option(
            names = "--best",
            paramLabel = "N",
            defaultValue = "5",
            description = "How many images to find. Default: ${DEFAULT-VALUE}.")
    private int best;

    @Option(
            names = "--figure",
            paramLabel = "FILE",
            description = "Write what was found as a contact sheet, .png, with a row for each query.")
    private Path figure;

    @Mixin
    private JsonMixin json;

    /** @param kind text or image */
    private record Query(String kind, String name, float[] embedding) {}

    /** What became of the images. */
    private record Update(int embedded, int removed, List<String> skipped) {}

    @Override
    public void run() {
        Environment.configureLibraries();
        checkBatch();
        check();
        List<Path> files = images.stream().flatMap(image -> ItemsMixin.expanded(image).stream()).toList();
        withModel((directory, backend, progress) -> {
            try (ImageIndex opened = index == null ? ImageIndex.inMemory() : ImageIndex.open(index);
                    Embedder embedder =
                            Embedder.open(directory, backend, model.options(), together(backend), progress)) {
                Stamp stamp = stamp(directory, embedder, false);
                opened.model().filter(recorded -> !stamp.fits(recorded)).ifPresent(recorded -> {
                    throw new UsageException("--index " + index
                            + " holds embeddings of another model or other options (" + recorded + ", now it is "
                            + stamp.text() + "); give them as before, or name another folder");
                });
                opened.model().flatMap(stamp::unknown).ifPresent(unknown ->
                        err().println(begunEarlier(index, unknown)));
                FileEmbedder embeddings = files(embedder, true);
                Update update = update(opened, files, embeddings, stamp, progress);
                if (opened.size() == 0) {
                    throw new UsageException("no image to search: name some with --image");
                }
                tell(opened, update, asked(embeddings));
            }
        });
    }

    private void check() {
        if (best < 1) {
            throw new UsageException("--best " + best + " is not positive");
        }
        if (images.isEmpty() && index == null) {
            throw new UsageException("no image to search: name some with --image, or an --index that holds some");
        }
        if (texts.isEmpty() && queries.isEmpty() && index == null) {
            throw new UsageException("nothing to look for: give --prompt or --similar-to");
        }
        if (index != null) {
            OutputOption.requireFolder("--index", index);
            boolean exists = Files.isDirectory(index) && ImageIndex.exists(index);
            if (!exists && index.toFile().list() != null && index.toFile().list().length > 0) {
                throw new UsageException("--index " + index + " is a folder that holds something else");
            }
            if (!exists && images.isEmpty()) {
                throw new UsageException("--index " + index + " holds no index yet; fill it with --image");
            }
        }
        if (figure != null) {
            if (!figure.toString().toLowerCase(Locale.ROOT).endsWith(".png")) {
                throw new UsageException("--figure " + figure + " does not end in .png");
            }
            if (texts.isEmpty() && queries.isEmpty()) {
                throw new UsageException("--figure shows what was found: give --prompt or --similar-to");
            }
            OutputOption.requireWritable("--figure", figure);
        }
    }

    private Update update(
            ImageIndex opened, List<Path> files, FileEmbedder embedder, Stamp stamp, Progress progress) {
        List<String> skipped = new ArrayList<>();
        int removed = opened.removeMissing();
        Set<Path> missing = new LinkedHashSet<>();
        files.stream().filter(file -> !opened.isCurrent(file)).forEach(missing::add);
        int embedded = 0;
        int number = 0;
        Iterator<FileEmbedder.Embedded> made = embedder.images(List.copyOf(missing));
        for (Path file : missing) {
            progress.item(++number, missing.size());
            try {
                FileEmbedder.Embedded next = made.next();
                opened.put(file, next.stamp(), next.orThrow());
                embedded++;
            } catch (ImageException e) {
                if (files.size() == 1) {
                    throw e;
                }
                skipped.add(e.getMessage());
            }
            if (embedded % COMMITTED == 0) {
                opened.commit(stamp.text());
            }
        }
        opened.commit(stamp.text());
        progress.clear();
        return new Update(embedded, removed, skipped);
    }

    private List<Query> asked(FileEmbedder embedder) {
        List<Query> asked = new ArrayList<>();
        texts.forEach(text -> asked.add(new Query("text", text, embedder.text(text))));
        queries.forEach(query -> {
            Path file = ImageArgument.file(query);
            asked.add(new Query("image", query.toString(), embedder.image(file)));
        });
        return asked;
    }

    private void tell(ImageIndex opened, Update update, List<Query> asked) {
        PrintWriter out = out();
        List<List<ImageIndex.Hit>> found =
                asked.stream().map(query -> opened.search(query.embedding(), best)).toList();
        update.skipped().forEach(problem -> err().println("skipped " + problem));
        err().println(String.format(
                Locale.ROOT,
                "%d images%s: %d embedded now, %d gone",
                opened.size(),
                index == null ? "" : " in " + index,
                update.embedded(),
                update.removed()));
        err().flush();
        if (figure != null) {
            writeFigure(asked, found);
        }
        if (json.isWanted()) {
            JsonMixin.print(out, json(opened, update, asked, found));
            return;
        }
        for (int i = 0; i < asked.size(); i++) {
            if (asked.size() > 1) {
                out.println(asked.get(i).name());
            }
            found.get(i)
                    .forEach(hit -> out.println(
                            String.format(Locale.ROOT, "%8.4f  %s", hit.cosine(), shown(hit.image()))));
        }
        out.flush();
    }

    private Map<String, Object> json(
            ImageIndex opened, Update update, List<Query> asked, List<List<ImageIndex.Hit>> found) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("model", model.encoderName());
        object.put("images", opened.size());
        object.put("embedded", update.embedded());
        object.put("gone", update.removed());
        object.put("skipped", update.skipped());
        List<Map<String, Object>> queriesFound = new ArrayList<>();
        for (int i = 0; i < asked.size(); i++) {
            Map<String, Object> query = new LinkedHashMap<>();
            query.put(asked.get(i).kind(), asked.get(i).name());
            query.put("found", found.get(i).stream().map(hit -> {
                Map<String, Object> image = new LinkedHashMap<>();
                image.put("image", shown(hit.image()));
                image.put("cosine", hit.cosine());
                return image;
            }).toList());
            queriesFound.add(query);
        }
        object.put("queries", queriesFound);
        return object;
    }

    /** From here, where that is shorter. */
    private static String shown(Path file) {
        Path here = Path.of("").toAbsolutePath();
        return file.startsWith(here) ? here.relativize(file).toString() : file.toString();
    }

    private void writeFigure(List<Query> asked, List<List<ImageIndex.Hit>> found) {
        ImageDecoder decoder = new ImageDecoder();
        List<ContactSheet.Item> items = new ArrayList<>();
        for (int i = 0; i < asked.size(); i++) {
            String name = asked.size() > 1 ? asked.get(i).name() + ": " : "";
            for (ImageIndex.Hit hit : found.get(i)) {
                Path folder = hit.image().getParent();
                String file = folder == null || folder.getFileName() == null ? hit.image().getFileName().toString()
                        : folder.getFileName() + "/" + hit.image().getFileName();
                items.add(new ContactSheet.Item(decoder.decode(hit.image()),
                        String.format(Locale.ROOT, "%s%.3f %s", name, hit.cosine(), file)));
            }
        }
        ContactSheet.write(figure, asked.size() == 1 ? asked.getFirst().name() : "", items, found.getFirst().size());
    }
}

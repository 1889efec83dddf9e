package stormsight.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.backend.RunListener;
import stormsight.image.ImageFile;
import stormsight.match.Embedder;
import stormsight.match.FileEmbedder;
import stormsight.model.ModelDirectory;
import stormsight.model.Stamp;
import stormsight.report.Count;
import stormsight.report.Csv;
import stormsight.report.Npy;
import stormsight.report.OutputFile;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Writes embeddings of images and texts. */
@Command(
        name = "embed",
        description = {
            "Writes the embeddings of images and texts, with a model such as SigLIP or CLIP: rows of length 1, images "
                    + "first, each in the order of the options.",
            "Interrupted, the same command goes on where it was: a .jsonl file grows row by row, and beside a file of "
                    + "another kind, FILE.part.jsonl does until it is whole. An image or text that comes twice in "
                    + "a run is computed once."
        })
final class Embed extends EncoderCommand implements Runnable {
    /** Rows of a file of another form, until all of them are there. */
    private static final String PART = ".part.jsonl";
    private static final String IMAGE = "image";
    private static final String TEXT = "text";
    /** Of an image, in a row. */
    private static final String HASH = "sha256";
    private static final long SECOND = 1_000_000_000;

    @Mixin
    private ItemsMixin items;

    @Option(
            names = {"-o", "--out"},
            paramLabel = "FILE",
            required = true,
            description =
                    "The file to write: .npy of [rows, numbers], .jsonl with a line, or .csv with a row for each.")
    private Path file;

    @Option(names = "--raw", description = "Leave the embeddings as long as the model makes them.")
    private boolean raw;

    private enum Form {
        NPY,
        JSONL,
        CSV
    }

    /**
     * @param kind image or text
     * @param hash of an image's file, absent in rows of a time when none was kept
     */
    private record Row(String kind, String name, Optional<String> hash, float[] embedding) {}

    @Override
    public void run() {
        checkBatch();
        ItemsMixin.Items named = items.read();
        if (named.images().isEmpty() && named.texts().isEmpty()) {
            throw new UsageException("nothing to embed: give --image, --prompt or --pairs");
        }
        Form form = form();
        OutputOption.requireWritable("--out", file);
        withProgress((progress, _) -> embed(named, form, progress));
    }

    private void embed(ItemsMixin.Items named, Form form, Progress progress) {
        PrintWriter err = err();
        try (ModelDirectory directory = open()) {
            Path rowFile = form == Form.JSONL ? file : file.resolveSibling(file.getFileName() + PART);
            try (Backend backend = backendOptions.open();
                    Embedder embedder =
                            Embedder.open(directory, backend, model.options(), together(backend), RunListener.NONE)) {
                Stamp stamp = stamp(directory, embedder, raw);
                List<Row> done = done(rowFile, stamp);
                requireBegun(rowFile, done, named);
                long start = System.nanoTime();
                List<Row> rows = rows(named, files(embedder, !raw), done, progress, rowFile, stamp.text());
                progress.clear();
                if (form != Form.JSONL) {
                    write(form, rows, embedder.model().columns());
                    deletePart(rowFile);
                }
                long computed = rows.size() - done.size();
                double seconds = (double) (System.nanoTime() - start) / SECOND;
                err.println(String.format(
                        Locale.ROOT,
                        "%s of %d numbers in %s; %d made in %.1f s, %.1f a second",
                        Count.text(rows.size(), "embedding"),
                        embedder.model().columns(),
                        file,
                        computed,
                        seconds,
                        computed / seconds));
                err.flush();
            }
        }
    }

    private Form form() {
        String name = file.toString().toLowerCase(Locale.ROOT);
        for (Form form : Form.values()) {
            if (name.endsWith("." + form.name().toLowerCase(Locale.ROOT))) {
                return form;
            }
        }
        throw new UsageException("--out " + file + " ends in none of .npy, .jsonl and .csv");
    }

    /**
     * Requires that a file holds the first rows of what is asked for, so that row i stays that of item i.
     *
     * @throws UsageException if it holds other rows, or the embedding of an image that has changed
     */
    private static void requireBegun(Path rowFile, List<Row> done, ItemsMixin.Items named) {
        int images = named.images().size();
        int all = images + named.texts().size();
        for (int i = 0; i < done.size(); i++) {
            Row row = done.get(i);
            String kind = i < images ? IMAGE : TEXT;
            String name = i >= all ? null : i < images ? named.images().get(i).toString()
                    : named.texts().get(i - images);
            if (!row.kind().equals(kind) || !row.name().equals(name)) {
                throw new UsageException(rowFile + ": row " + (i + 1) + " is of the " + row.kind() + " " + row.name()
                        + (name == null ? ", which is not asked for"
                                : ", where the " + kind + " " + name + " is asked for")
                        + "; give images and texts as before, delete it or name another file");
            }
            if (row.hash().isPresent()
                    && ImageFile.hash(named.images().get(i))
                            .filter(hash -> !hash.equals(row.hash().get()))
                            .isPresent()) {
                throw new UsageException(rowFile + " holds the embedding of another image under the name " + name
                        + "; delete it or name another file");
            }
        }
    }

    /** @param done the first ones */
    private List<Row> rows(
            ItemsMixin.Items named,
            FileEmbedder embedder,
            List<Row> done,
            Progress progress,
            Path rowFile,
            String stamp) {
        List<Row> rows = new ArrayList<>(done);
        int images = named.images().size();
        int all = images + named.texts().size();
        Iterator<FileEmbedder.Embedded> embedded =
                embedder.images(named.images().subList(Math.min(done.size(), images), images));
        Iterator<float[]> read = embedder.texts(
                named.texts().subList(Math.max(done.size() - images, 0), named.texts().size()));
        for (int i = done.size(); i < all; i++) {
            progress.item(i + 1, all);
            Row row;
            if (i < images) {
                FileEmbedder.Embedded next = embedded.next();
                row = new Row(IMAGE, named.images().get(i).toString(), next.hash(), next.orThrow());
            } else {
                row = new Row(TEXT, named.texts().get(i - images), Optional.empty(), read.next());
            }
            rows.add(row);
            append(rowFile, row, stamp);
        }
        return rows;
    }

    private static void append(Path rowFile, Row row, String stamp) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put(row.kind(), row.name());
        row.hash().ifPresent(hash -> object.put(HASH, hash));
        object.put("model", stamp);
        object.put("embedding", row.embedding());
        try {
            if (rowFile.getParent() != null) {
                Files.createDirectories(rowFile.getParent());
            }
            Files.writeString(
                    rowFile,
                    JsonMapper.shared().writeValueAsString(object) + "\n",
                    StandardCharsets.UTF_8,
                    StandardOpenOption.CREATE,
                    StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw OutputFile.unwritable(rowFile, e);
        }
    }

    private static void deletePart(Path rowFile) {
        try {
            Files.deleteIfExists(rowFile);
        } catch (IOException e) {
            throw new UncheckedIOException(rowFile + " cannot be deleted: " + e.getMessage(), e);
        }
    }

    /**
     * What a file holds already. A last line that was cut off is taken away.
     *
     * @throws UsageException if it is of another model
     */
    private List<Row> done(Path rowFile, Stamp stamp) {
        List<Row> done = new ArrayList<>();
        if (!Files.isRegularFile(rowFile)) {
            return done;
        }
        try {
            String text = Files.readString(rowFile);
            String unknown = null;
            String whole = text.substring(0, text.lastIndexOf('\n') + 1);
            for (String line : whole.lines().toList()) {
                JsonNode row = JsonMapper.shared().readTree(line);
                String recorded = row.path("model").asString("");
                if (!stamp.fits(recorded)) {
                    throw new UsageException(rowFile + " holds embeddings of another model or other options ("
                            + recorded + ", now it is " + stamp.text()
                            + "); give them as before, delete it or name another file");
                }
                unknown = stamp.unknown(recorded).orElse(unknown);
                String kind = row.has(IMAGE) ? IMAGE : TEXT;
                float[] embedding = new float[row.get("embedding").size()];
                for (int i = 0; i < embedding.length; i++) {
                    embedding[i] = row.get("embedding").get(i).floatValue();
                }
                Optional<String> hash = row.path(HASH).asStringOpt();
                done.add(new Row(kind, row.path(kind).asString(), hash, embedding));
            }
            if (unknown != null) {
                err().println(begunEarlier(rowFile, unknown));
            }
            if (whole.length() < text.length()) {
                OutputFile.write(rowFile, whole);
            }
            return done;
        } catch (IOException | JacksonException e) {
            throw new UsageException(rowFile + " is there already and cannot be continued: " + e.getMessage());
        }
    }

    private void write(Form form, List<Row> rows, int columns) {
        if (form == Form.NPY) {
            float[] values = new float[Math.multiplyExact(rows.size(), columns)];
            for (int i = 0; i < rows.size(); i++) {
                System.arraycopy(rows.get(i).embedding(), 0, values, i * columns, columns);
            }
            Npy.write(file, values, rows.size(), columns);
            return;
        }
        String[] header = new String[columns + 2];
        header[0] = "kind";
        header[1] = "name";
        for (int i = 0; i < columns; i++) {
            header[i + 2] = "e" + i;
        }
        Csv csv = new Csv(header);
        for (Row row : rows) {
            Object[] cells = new Object[columns + 2];
            cells[0] = row.kind();
            cells[1] = row.name();
            for (int i = 0; i < columns; i++) {
                cells[i + 2] = row.embedding()[i];
            }
            csv.row(cells);
        }
        OutputFile.write(file, csv.toString());
    }
}

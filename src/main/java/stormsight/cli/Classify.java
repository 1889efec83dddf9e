package stormsight.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.match.Embedder;
import stormsight.match.FileEmbedder;
import stormsight.match.Labeller;
import stormsight.match.ZeroShot;
import stormsight.model.Classifier;
import stormsight.model.Views;
import stormsight.report.ColorMap;
import stormsight.report.Matrix;
import stormsight.report.MatrixFigure;

/** Names what is on images. */
@Command(
        name = "classify",
        description = {
            "Says which of some labels fits an image: labels of your own with a model such as SigLIP or CLIP, or "
                    + "those that a ViT was trained with.",
            "With --folders, a folder of images for each label is a test: how often the most probable label is the "
                    + "right one."
        })
final class Classify extends EncoderCommand implements Runnable {
    @Option(names = {"-i", "--image"}, paramLabel = "FILE", converter = ImageArgument.class,
            description = "An image, or - for standard input. May be repeated.")
    private List<Path> images = new ArrayList<>();

    @Option(
            names = "--folders",
            paramLabel = "DIR",
            description = "A folder with a folder of images for each label, which is named like the label.")
    private Path folders;

    @Option(
            names = "--labels",
            paramLabel = "LABEL",
            split = ",",
            description = "The labels to choose from. Default with --folders: their names.")
    private List<String> labels = new ArrayList<>();

    @Option(
            names = "--template",
            paramLabel = "TEXT",
            description = "A text with {} for the label; of several, the embeddings are averaged. Default: '"
                    + ZeroShot.TEMPLATE + "'")
    private List<String> templates = new ArrayList<>();

    @Option(
            names = "--best",
            paramLabel = "N",
            defaultValue = "5",
            description = "How many labels to show of each image. Default: ${DEFAULT-VALUE}.")
    private int best;

    @Option(
            names = "--figure",
            paramLabel = "FILE",
            description = "With --folders: write which label was given where another is right, .png.")
    private Path figure;

    @Mixin
    private JsonMixin json;

    /** @param label the right one; empty if nobody knows */
    private record Item(Path file, String label) {}

    @Override
    public void run() {
        checkBatch();
        List<Item> items = items();
        PrintWriter out = out();
        withModel((directory, backend, progress) -> {
            if (directory.anyModel() instanceof Classifier classifier) {
                if (!labels.isEmpty() || !templates.isEmpty()) {
                    throw new UsageException("--labels and --template are for models such as SigLIP and CLIP; "
                            + classifier.title() + " has labels of its own");
                }
                try (Labeller labeller =
                        Labeller.open(directory, backend, model.options(), together(backend), progress)) {
                    tell(out, classifier.title(), items, classifier.labels(), progress, labelled(labeller, items));
                }
                return;
            }
            List<String> chosen = labels.isEmpty()
                    ? items.stream()
                            .map(Item::label)
                            .filter(label -> !label.isEmpty())
                            .distinct()
                            .toList()
                    : labels;
            if (chosen.isEmpty()) {
                throw new UsageException(
                        "--labels is missing: " + directory.dualEncoder().title() + " has no labels of its own");
            }
            try (Embedder embedder =
                    Embedder.open(directory, backend, model.options(), together(backend), progress)) {
                ZeroShot zeroShot =
                        new ZeroShot(embedder, chosen, templates.isEmpty() ? List.of(ZeroShot.TEMPLATE) : templates);
                Iterator<FileEmbedder.Embedded> embedded =
                        files(embedder, true).images(items.stream().map(Item::file).toList());
                tell(
                        out,
                        embedder.model().title(),
                        items,
                        chosen,
                        progress,
                        () -> zeroShot.probabilities(embedded.next().orThrow()));
            }
        });
    }

    /** What the model's labels say of one image after the other; as many are looked at as a run has. */
    private static Supplier<double[]> labelled(Labeller labeller, List<Item> items) {
        Deque<double[]> made = new ArrayDeque<>();
        Iterator<Item> next = items.iterator();
        return () -> {
            if (made.isEmpty()) {
                List<Views> run = new ArrayList<>();
                while (next.hasNext() && run.size() < labeller.together()) {
                    run.add(views(labeller.model(), next.next().file()));
                }
                made.addAll(List.of(labeller.probabilities(run)));
            }
            return made.remove();
        };
    }

    private List<Item> items() {
        if (images.isEmpty() == (folders == null)) {
            throw new UsageException(
                    folders == null ? "--image or --folders is missing" : "--image and --folders exclude each other");
        }
        if (best < 1) {
            throw new UsageException("--best " + best + " is not positive");
        }
        labels.replaceAll(String::strip);
        if (labels.contains("")) {
            throw new UsageException("--labels: one of them is empty");
        }
        for (String template : templates) {
            if (!template.contains(ZeroShot.PLACE)) {
                throw new UsageException("--template '" + template + "' has no " + ZeroShot.PLACE + " for the label");
            }
        }
        if (figure != null) {
            if (folders == null || !figure.toString().toLowerCase(Locale.ROOT).endsWith(".png")) {
                throw new UsageException(
                        "--figure " + figure + (folders == null ? " needs --folders" : " does not end in .png"));
            }
            OutputOption.requireWritable("--figure", figure);
        }
        if (folders == null) {
            return images.stream().map(image -> new Item(ImageArgument.file(image), "")).toList();
        }
        List<Item> items = new ArrayList<>();
        try (Stream<Path> each = Files.list(folders)) {
            each.filter(Files::isDirectory).sorted().forEach(folder -> ItemsMixin.folder(folder)
                    .forEach(file ->
                            items.add(new Item(file, folder.getFileName().toString()))));
        } catch (IOException e) {
            throw new UsageException("--folders " + folders + " cannot be read: " + e.getMessage());
        }
        if (items.isEmpty()) {
            throw new UsageException("--folders " + folders + ": no folders with images in it");
        }
        return items;
    }

    private void tell(
            PrintWriter out,
            String title,
            List<Item> items,
            List<String> names,
            Progress progress,
            Supplier<double[]> probabilities) {
        int[] right = items.stream().mapToInt(item -> place(item.label(), names)).toArray();
        int[] given = new int[items.size()];
        List<Map<String, Object>> answers = new ArrayList<>();
        for (int i = 0; i < items.size(); i++) {
            progress.example(i + 1, items.size());
            double[] scores = probabilities.get();
            List<Integer> largest = ZeroShot.best(scores, best);
            given[i] = largest.getFirst();
            answers.add(answer(items.get(i), largest, names, scores));
        }
        progress.clear();
        double accuracy = folders == null ? 0 : (double) matching(right, given) / given.length;
        if (figure != null) {
            confusion(title, names, right, given, accuracy);
        }
        if (json.isWanted()) {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("model", model.encoderName());
            object.put("family", title);
            if (folders != null) {
                object.put("accuracy", accuracy);
            }
            object.put("images", answers);
            JsonMixin.print(out, object);
            return;
        }
        if (folders == null) {
            answers.forEach(answer -> print(out, answer));
        } else {
            out.println(String.format(
                    Locale.ROOT,
                    "%d of %d images get the right label: %.1f%%",
                    matching(right, given),
                    given.length,
                    100 * accuracy));
        }
        out.flush();
    }

    /** A label of the model may be several names with commas between them, as ImageNet's are. */
    private static int place(String label, List<String> names) {
        if (label.isEmpty()) {
            return -1;
        }
        for (int i = 0; i < names.size(); i++) {
            if (names.get(i).equalsIgnoreCase(label)
                    || Arrays.stream(names.get(i).split(","))
                            .anyMatch(name -> name.strip().equalsIgnoreCase(label))) {
                return i;
            }
        }
        throw new UsageException("the folder " + label + " is none of the " + names.size() + " labels");
    }

    private static int matching(int[] right, int[] given) {
        int matching = 0;
        for (int i = 0; i < right.length; i++) {
            matching += right[i] == given[i] ? 1 : 0;
        }
        return matching;
    }

    private static Map<String, Object> answer(Item item, List<Integer> largest, List<String> names, double[] scores) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("image", item.file().toString());
        if (!item.label().isEmpty()) {
            object.put("right", item.label());
        }
        object.put("labels", largest.stream().map(names::get).toList());
        object.put("probabilities", largest.stream().map(place -> scores[place]).toList());
        return object;
    }

    private void print(PrintWriter out, Map<String, Object> answer) {
        if (images.size() > 1) {
            out.println(answer.get("image"));
        }
        List<?> names = (List<?>) answer.get("labels");
        List<?> scores = (List<?>) answer.get("probabilities");
        for (int i = 0; i < names.size(); i++) {
            out.println(String.format(Locale.ROOT, "%8.4f  %s", scores.get(i), names.get(i)));
        }
    }

    /** Of the labels that are right or given somewhere. */
    private void confusion(String title, List<String> names, int[] right, int[] given, double accuracy) {
        List<Integer> used = Stream.concat(
                        Arrays.stream(right).boxed(), Arrays.stream(given).boxed())
                .distinct()
                .sorted()
                .toList();
        float[] counts = new float[used.size() * used.size()];
        for (int i = 0; i < right.length; i++) {
            counts[used.indexOf(right[i]) * used.size() + used.indexOf(given[i])]++;
        }
        List<String> shown = used.stream().map(names::get).toList();
        new MatrixFigure(
                        ColorMap.VIRIDIS,
                        String.format(
                                Locale.ROOT,
                                "%s, %s; %.1f%% of %d images right",
                                title,
                                model.encoderName(),
                                100 * accuracy,
                                right.length))
                .write(
                        figure,
                        "Right and given labels",
                        List.of(new Matrix("images", "right", shown, "given", shown, counts)),
                        1);
    }
}

package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
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
import stormsight.match.ContrastiveLoss;
import stormsight.match.Embedder;
import stormsight.match.FileEmbedder;
import stormsight.match.PairMatcher;
import stormsight.match.Similarity;
import stormsight.model.DualEncoder;
import stormsight.model.Matcher;
import stormsight.model.ModelDirectory;
import stormsight.report.ColorMap;
import stormsight.report.Matrix;
import stormsight.report.MatrixFigure;

/** Compares images with texts. */
@Command(
        name = "match",
        description = {
            "Shows how well images and texts go together, with a model such as SigLIP or CLIP: for each image the "
                    + "probability of each text.",
            "SigLIP judges each pair by itself. CLIP asks which of the texts it is, so that an image's probabilities "
                    + "sum to 1.",
            "BLIP-2 (blip2-itm) reads each pair together and says how probable it is that they match, or, with "
                    + "--head itc, how close they are."
        })
final class Match extends EncoderCommand implements Runnable {
    /** What a cell of the matrix is. */
    enum Shown {
        PROBABILITY,
        LOGIT,
        COSINE;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** What of BLIP-2 compares. */
    enum Head {
        ITM,
        ITC;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    @Mixin
    private ItemsMixin items;

    @Mixin
    private JsonMixin json;

    @Option(
            names = "--show",
            paramLabel = "WHAT",
            description = "${COMPLETION-CANDIDATES}. Default: probability, and cosine for --head itc.")
    private Optional<Shown> chosen = Optional.empty();

    @Option(
            names = "--head",
            paramLabel = "HEAD",
            description =
                    "BLIP-2: itm reads image and text together, itc takes the largest cosine of the queries and the "
                            + "text. Default: itm.")
    private Optional<Head> head = Optional.empty();

    @Option(
            names = "--loss",
            description =
                    "Instead of the matrix, the loss that the model was trained with: the first image belongs to the "
                            + "first text, and so on.")
    private boolean loss;

    @Option(names = "--figure", paramLabel = "FILE", description = "Write the matrix as a heat map, .png.")
    private Path figure;

    @Override
    public void run() {
        checkBatch();
        ItemsMixin.Items named = items.read();
        check(named);
        PrintWriter out = out();
        withModel((directory, backend, progress) -> {
            if (directory.anyModel() instanceof Matcher) {
                matchPairs(directory, backend, progress, named);
                return;
            }
            if (head.isPresent()) {
                throw new UsageException(
                        "--head " + head.get() + " is of BLIP-2, which " + model.encoderName() + " is not");
            }
            try (Embedder embedder =
                    Embedder.open(directory, backend, model.options(), together(backend), progress)) {
                FileEmbedder files = files(embedder, true);
                int all = named.images().size() + named.texts().size();
                float[][] images = new float[named.images().size()][];
                Iterator<FileEmbedder.Embedded> embedded = files.images(named.images());
                for (int i = 0; i < images.length; i++) {
                    progress.example(i + 1, all);
                    images[i] = embedded.next().orThrow();
                }
                float[][] texts = new float[named.texts().size()][];
                Iterator<float[]> read = files.texts(named.texts());
                for (int i = 0; i < texts.length; i++) {
                    progress.example(images.length + i + 1, all);
                    texts[i] = read.next();
                }
                progress.clear();
                if (loss) {
                    printLoss(out, named, embedder, embedder.similarity().loss(images, texts));
                } else {
                    printMatrix(out, named, embedder, images, texts);
                }
            }
        });
    }

    private void check(ItemsMixin.Items named) {
        if (named.images().isEmpty() || named.texts().isEmpty()) {
            throw new UsageException((named.images().isEmpty() ? "no image" : "no text")
                    + " to compare: give --image and --prompt, or --pairs");
        }
        if (loss && named.images().size() != named.texts().size()) {
            throw new UsageException("--loss takes pairs, but there are "
                    + named.images().size() + " images and " + named.texts().size() + " texts");
        }
        if (loss && figure != null) {
            throw new UsageException("--figure shows the matrix, which --loss takes the place of");
        }
        if (figure != null) {
            if (!figure.toString().toLowerCase(Locale.ROOT).endsWith(".png")) {
                throw new UsageException("--figure " + figure + " does not end in .png");
            }
            OutputOption.requireWritable("--figure", figure);
        }
    }

    /** With a model that reads image and text together. */
    private void matchPairs(
            ModelDirectory directory, Backend backend, Progress progress, ItemsMixin.Items named) {
        requireNoBatch(directory.matcher().title());
        Head by = head.orElse(Head.ITM);
        Shown shown = chosen.orElse(by == Head.ITC ? Shown.COSINE : Shown.PROBABILITY);
        if ((by == Head.ITC) != (shown == Shown.COSINE)) {
            throw new UsageException("--show " + shown + ": --head " + by + (by == Head.ITC
                    ? " gives cosine alone; the files do not have the temperature of its training"
                    : " gives probability and logit; cosine is of --head itc"));
        }
        if (loss) {
            throw new UsageException("--loss: the files of BLIP-2 do not have the temperature of its training");
        }
        try (PairMatcher matcher =
                PairMatcher.open(directory, backend, model.options(), progress)) {
            requireTexts(matcher.model(), named.texts());
            int images = named.images().size();
            double[][][] logits = new double[by == Head.ITM ? images : 0][named.texts().size()][];
            double[][] cells = new double[images][named.texts().size()];
            float[][] texts = by == Head.ITC
                    ? named.texts().stream().map(matcher::text).toArray(float[][]::new)
                    : new float[0][];
            for (int image = 0; image < images; image++) {
                progress.example(image + 1, images);
                float[][] queries = matcher.image(views(matcher.model(), named.images().get(image)));
                for (int text = 0; text < cells[image].length; text++) {
                    if (by == Head.ITC) {
                        cells[image][text] = PairMatcher.similarity(queries, texts[text]);
                    } else {
                        double[] both = matcher.logits(named.texts().get(text));
                        logits[image][text] = both;
                        cells[image][text] = shown == Shown.LOGIT ? both[1] - both[0] : PairMatcher.probability(both);
                    }
                }
            }
            progress.clear();
            if (figure != null) {
                writeFigure(named, matcher.model().title(), shown, cells);
            }
            if (json.isWanted()) {
                Map<String, Object> object = described(matcher.model().title(), named);
                object.put("head", by.toString());
                if (by == Head.ITC) {
                    object.put("cosines", cells);
                } else {
                    object.put("logits", logits);
                    object.put("probabilities", Arrays.stream(logits)
                            .map(row -> Arrays.stream(row).mapToDouble(PairMatcher::probability).toArray())
                            .toArray(double[][]::new));
                }
                JsonMixin.print(out(), object);
            } else {
                printTable(named, shown, cells);
            }
        }
    }

    private static void requireTexts(Matcher model, List<String> texts) {
        for (String text : texts) {
            try {
                model.ids(text);
            } catch (IllegalArgumentException e) {
                throw new UsageException("\"" + (text.length() > 40 ? text.substring(0, 40) + ".." : text) + "\": "
                        + e.getMessage());
            }
        }
    }

    /** Of the images, as far as they were named; a file of pairs may lead to them through other folders. */
    private static List<String> names(ItemsMixin.Items named) {
        return named.images().stream().map(image -> image.normalize().toString()).toList();
    }

    private Map<String, Object> described(String title, ItemsMixin.Items named) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("model", model.encoderName());
        object.put("family", title);
        object.put("images", names(named));
        object.put("texts", named.texts());
        return object;
    }

    private Map<String, Object> described(Embedder embedder, ItemsMixin.Items named) {
        Map<String, Object> object = described(embedder.model().title(), named);
        object.put("objective", embedder.model().objective().name().toLowerCase(Locale.ROOT));
        object.put("scale", embedder.similarity().scale());
        object.put("bias", embedder.similarity().bias());
        return object;
    }

    private void printLoss(PrintWriter out, ItemsMixin.Items named, Embedder embedder, ContrastiveLoss.Losses losses) {
        if (json.isWanted()) {
            Map<String, Object> object = described(embedder, named);
            object.put("loss", losses.total());
            object.put("loss_per_pair", losses.perPair());
            JsonMixin.print(out, object);
            return;
        }
        List<String> names = names(named);
        for (int i = 0; i < losses.perPair().length; i++) {
            out.println(String.format(
                    Locale.ROOT,
                    "%10.6f  %s  %s",
                    losses.perPair()[i],
                    names.get(i),
                    named.texts().get(i)));
        }
        out.println(String.format(
                Locale.ROOT,
                "%10.6f  %s of %d pairs",
                losses.total(),
                embedder.model().objective() == DualEncoder.Objective.SIGMOID
                        ? "sigmoid loss"
                        : "symmetric cross-entropy",
                losses.perPair().length));
        out.flush();
    }

    private void printMatrix(
            PrintWriter out, ItemsMixin.Items named, Embedder embedder, float[][] images, float[][] texts) {
        Similarity similarity = embedder.similarity();
        double[][] cosines = Arrays.stream(images)
                .map(image -> Arrays.stream(texts)
                        .mapToDouble(text -> Similarity.cosine(image, text))
                        .toArray())
                .toArray(double[][]::new);
        double[][] logits = Arrays.stream(images)
                .map(image -> Arrays.stream(texts)
                        .mapToDouble(text -> similarity.logit(image, text))
                        .toArray())
                .toArray(double[][]::new);
        double[][] probabilities = Arrays.stream(logits).map(similarity::probabilities).toArray(double[][]::new);
        Shown shown = chosen.orElse(Shown.PROBABILITY);
        double[][] cells = switch (shown) {
            case PROBABILITY -> probabilities;
            case LOGIT -> logits;
            case COSINE -> cosines;
        };
        if (figure != null) {
            writeFigure(named, embedder.model().title(), shown, cells);
        }
        if (json.isWanted()) {
            Map<String, Object> object = described(embedder, named);
            object.put("cosines", cosines);
            object.put("logits", logits);
            object.put("probabilities", probabilities);
            JsonMixin.print(out, object);
            return;
        }
        printTable(named, shown, cells);
    }

    private void printTable(ItemsMixin.Items named, Shown shown, double[][] cells) {
        PrintWriter out = out();
        for (int text = 0; text < named.texts().size(); text++) {
            out.println("text " + (text + 1) + "  " + named.texts().get(text));
        }
        List<String> names = names(named);
        int widest = names.stream().mapToInt(String::length).max().orElse(0);
        StringBuilder header = new StringBuilder(String.format(Locale.ROOT, "%-" + widest + "s", shown));
        for (int text = 0; text < named.texts().size(); text++) {
            header.append(String.format(Locale.ROOT, " %9s", "text " + (text + 1)));
        }
        out.println(header);
        for (int image = 0; image < cells.length; image++) {
            StringBuilder row = new StringBuilder(String.format(
                    Locale.ROOT, "%-" + widest + "s", names.get(image)));
            for (double cell : cells[image]) {
                row.append(String.format(Locale.ROOT, " %9.4f", cell));
            }
            out.println(row);
        }
        out.flush();
    }

    private void writeFigure(ItemsMixin.Items named, String title, Shown shown, double[][] cells) {
        float[] values = new float[named.images().size() * named.texts().size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) cells[i / named.texts().size()][i % named.texts().size()];
        }
        List<String> rows = named.images().stream().map(image -> image.getFileName().toString()).toList();
        new MatrixFigure(ColorMap.VIRIDIS, title + ", " + model.encoderName())
                .write(
                        figure,
                        "Images and texts",
                        List.of(new Matrix(shown.toString(), "image", rows, "text", named.texts(), values)),
                        1);
    }
}

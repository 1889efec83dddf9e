package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.match.ContrastiveLoss;
import stormsight.match.Embedder;
import stormsight.match.FileEmbedder;
import stormsight.match.Similarity;
import stormsight.model.DualEncoder;
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
                    + "sum to 1."
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

    @Mixin
    private ItemsMixin items;

    @Mixin
    private JsonMixin json;

    @Option(
            names = "--show",
            paramLabel = "WHAT",
            defaultValue = "probability",
            description = "${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
    private Shown shown;

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
        ItemsMixin.Items named = items.read();
        check(named);
        PrintWriter out = out();
        withModel((directory, backend, progress) -> {
            try (Embedder embedder = Embedder.open(directory, backend, model.options().quantized(), progress)) {
                FileEmbedder files = new FileEmbedder(embedder, true);
                int all = named.images().size() + named.texts().size();
                float[][] images = new float[named.images().size()][];
                for (int i = 0; i < images.length; i++) {
                    progress.example(i + 1, all);
                    images[i] = files.image(named.images().get(i));
                }
                float[][] texts = new float[named.texts().size()][];
                for (int i = 0; i < texts.length; i++) {
                    progress.example(images.length + i + 1, all);
                    texts[i] = files.text(named.texts().get(i));
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

    private Map<String, Object> described(Embedder embedder, ItemsMixin.Items named) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("model", model.name());
        object.put("family", embedder.model().title());
        object.put("objective", embedder.model().objective().name().toLowerCase(Locale.ROOT));
        object.put("scale", embedder.similarity().scale());
        object.put("bias", embedder.similarity().bias());
        object.put("images", named.images().stream().map(Path::toString).toList());
        object.put("texts", named.texts());
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
        for (int i = 0; i < losses.perPair().length; i++) {
            out.println(String.format(
                    Locale.ROOT,
                    "%10.6f  %s  %s",
                    losses.perPair()[i],
                    named.images().get(i),
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
        double[][] cells = switch (shown) {
            case PROBABILITY -> probabilities;
            case LOGIT -> logits;
            case COSINE -> cosines;
        };
        if (figure != null) {
            writeFigure(named, embedder, cells);
        }
        if (json.isWanted()) {
            Map<String, Object> object = described(embedder, named);
            object.put("cosines", cosines);
            object.put("logits", logits);
            object.put("probabilities", probabilities);
            JsonMixin.print(out, object);
            return;
        }
        for (int text = 0; text < texts.length; text++) {
            out.println("text " + (text + 1) + "  " + named.texts().get(text));
        }
        int widest = named.images().stream().mapToInt(image -> image.toString().length()).max().orElse(0);
        StringBuilder header = new StringBuilder(String.format(Locale.ROOT, "%-" + widest + "s", shown));
        for (int text = 0; text < texts.length; text++) {
            header.append(String.format(Locale.ROOT, " %9s", "text " + (text + 1)));
        }
        out.println(header);
        for (int image = 0; image < images.length; image++) {
            StringBuilder row = new StringBuilder(String.format(
                    Locale.ROOT, "%-" + widest + "s", named.images().get(image)));
            for (double cell : cells[image]) {
                row.append(String.format(Locale.ROOT, " %9.4f", cell));
            }
            out.println(row);
        }
        out.flush();
    }

    private void writeFigure(ItemsMixin.Items named, Embedder embedder, double[][] cells) {
        float[] values = new float[named.images().size() * named.texts().size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) cells[i / named.texts().size()][i % named.texts().size()];
        }
        List<String> rows = named.images().stream().map(image -> image.getFileName().toString()).toList();
        new MatrixFigure(ColorMap.VIRIDIS, embedder.model().title() + ", " + model.name())
                .write(
                        figure,
                        "Images and texts",
                        List.of(new Matrix(shown.toString(), "image", rows, "text", named.texts(), values)),
                        1);
    }
}

package stormsight.verify;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import stormsight.backend.Backend;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.generate.ModelRun;
import stormsight.generate.Probability;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.GemmaConfig;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.probe.Probes;
import stormsight.probe.StageProbes;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.tokenizer.PaliGemmaPrompt;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Compares a checkpoint's every recorded value with what a backend computes. A folder holds the checkpoint, {@code input.png}, and one or two
 * sets of values: {@code expected.json} and {@code expected.safetensors} as transformers 5 computes, and {@code expected_bv.*} without sliding
 * window.
 */
public final class GoldenCheck {
    /**
     * One comparison.
     *
     * @param error largest absolute difference; for exact values the number of those that differ
     * @param tolerance largest error that passes
     */
    public record Result(String name, double error, double tolerance) {
        /** False for an error that is not a number, too. */
        public boolean passed() {
            return error <= tolerance;
        }
    }

    /** Stops the comparison at the first difference. */
    private static final class Failed extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    private static final double EXACT = 0;
    /** F32 rounding of x/255 and of the normalisation. */
    private static final double PIXELS = 1e-5;
    /** Hidden states: F32 sums in another order than the reference's. */
    private static final double STATES = 1e-4;
    private static final double PROBABILITIES = 1e-5;
    /** Sums of probabilities over the layers, of which the tolerances add up. */
    private static final double MAPS = 1e-4;
    private static final double LOGITS_GEMMA = 1e-4;
    /** Gemma 2 has twice the norms, and soft caps. */
    private static final double LOGITS_GEMMA2 = 2e-4;
    /** In percent of a probability. */
    private static final double PERCENT_CHANGE = 0.01;

    private final Path folder;
    private final ModelDirectory directory;
    private final Backend backend;
    private final Consumer<Result> listener;
    private final boolean stopAtFailure;
    private final double logitsTolerance;
    private boolean failed;

    private GoldenCheck(Path folder, ModelDirectory directory, Backend backend, boolean stopAtFailure,
            Consumer<Result> listener) {
        this.folder = folder;
        this.directory = directory;
        this.backend = backend;
        this.stopAtFailure = stopAtFailure;
        this.listener = listener;
        logitsTolerance = directory.config().text().version() == GemmaConfig.Version.GEMMA2 ? LOGITS_GEMMA2 : LOGITS_GEMMA;
    }

    /**
     * Compares everything that a folder records.
     *
     * @param stopAtFailure whether the first difference ends the comparison
     * @param listener hears each result as it comes
     * @return whether all passed
     * @throws CheckpointException if the folder is not laid out so, or records something that is not known here
     */
    public static boolean run(Path folder, Backend backend, boolean stopAtFailure, Consumer<Result> listener) {
        try (ModelDirectory directory = ModelDirectory.open(folder, Optional.empty())) {
            GoldenCheck check = new GoldenCheck(folder, directory, backend, stopAtFailure, listener);
            try {
                check.compare("expected", true);
                if (Files.exists(folder.resolve("expected_bv.json"))) {
                    check.compare("expected_bv", false);
                }
            } catch (Failed e) {
                return false;
            }
            return !check.failed;
        }
    }

    private void compare(String set, boolean slidingWindow) {
        Path json = folder.resolve(set + ".json");
        try (Checkpoint values = Checkpoint.openFile(folder.resolve(set + ".safetensors"))) {
            JsonNode expected = JsonMapper.shared().readTree(Files.readString(json));
            if (expected.path("prompts").isEmpty()) {
                throw new CheckpointException(json, "no prompts");
            }
            new Comparison(set, expected, values, slidingWindow).run();
        } catch (IOException | JacksonException e) {
            throw new CheckpointException(json, "cannot be read: " + e.getMessage(), e);
        }
    }

    private void report(String name, double error, double tolerance) {
        Result result = new Result(name, error, tolerance);
        listener.accept(result);
        if (!result.passed()) {
            failed = true;
            if (stopAtFailure) {
                throw new Failed();
            }
        }
    }

    /** One set of values, computed with the options that they were recorded with. */
    private final class Comparison {
        private final String set;
        private final JsonNode expected;
        private final Checkpoint values;
        private final boolean slidingWindow;
        private final Set<String> compared = new HashSet<>();
        private final List<PaliGemmaPrompt> prompts = new ArrayList<>();

        Comparison(String set, JsonNode expected, Checkpoint values, boolean slidingWindow) {
            this.set = set;
            this.expected = expected;
            this.values = values;
            this.slidingWindow = slidingWindow;
        }

        void run() {
            RgbImage image = new ImageDecoder().decode(folder.resolve("input.png"));
            preprocessing(image);
            promptIds();
            int promptTokens = prompts.stream().mapToInt(PaliGemmaPrompt::length).max().orElseThrow();
            int newTokens = 1;
            for (JsonNode prompt : expected.get("prompts")) {
                newTokens = Math.max(newTokens, prompt.get("greedy").size());
            }
            PaliGemma.Limits limits = new PaliGemma.Limits(promptTokens, newTokens);
            try (Stages stages = new Stages(limits, image)) {
                stages.vision();
                for (int p = 0; p < prompts.size(); p++) {
                    stages.prompt(p);
                }
                stages.knockout();
            }
            if (values.names().contains("p0.prefill_logits_capped")) {
                capped(limits, image);
            }
            Set<String> forgotten = new TreeSet<>(values.names());
            forgotten.removeAll(compared);
            if (!forgotten.isEmpty()) {
                throw new CheckpointException(folder.resolve(set + ".safetensors"),
                        "records what is not known here: " + String.join(", ", forgotten));
            }
        }

        private void preprocessing(RgbImage image) {
            RgbImage resized = directory.preprocessing().resize(image);
            if (recorded("resized_u8")) {
                byte[] wanted = values.data("resized_u8").toArray(ValueLayout.JAVA_BYTE);
                int different = Math.abs(wanted.length - resized.rgb().length);
                for (int i = 0; i < Math.min(wanted.length, resized.rgb().length); i++) {
                    different += wanted[i] == resized.rgb()[i] ? 0 : 1;
                }
                report("resized_u8", different, EXACT);
            }
            if (values.names().contains("pixel_values")) {
                try (Arena arena = Arena.ofConfined()) {
                    MemorySegment pixels = arena.allocate(4L * 3 * resized.width() * resized.height());
                    directory.preprocessing().patches().writePixels(resized, pixels);
                    floats("pixel_values", pixels.toArray(ValueLayout.JAVA_FLOAT), PIXELS);
                }
            }
        }

        private void promptIds() {
            for (JsonNode prompt : expected.get("prompts")) {
                PaliGemmaPrompt made = directory.prompt(prompt.get("text").asString());
                exact("p" + prompts.size() + ".ids", made.plainIds(), ints(prompt.get("ids")));
                prompts.add(made);
            }
        }

        private void exact(String name, int[] found, int[] wanted) {
            int different = Math.abs(found.length - wanted.length);
            for (int i = 0; i < Math.min(found.length, wanted.length); i++) {
                different += found[i] == wanted[i] ? 0 : 1;
            }
            report(label(name), different, EXACT);
        }

        private String label(String name) {
            return slidingWindow ? name : set + " " + name;
        }

        private boolean recorded(String name) {
            if (!values.names().contains(name)) {
                return false;
            }
            compared.add(name);
            return true;
        }

        /** Compares with a recorded tensor, if it is there. */
        private void floats(String name, float[] found, double tolerance) {
            if (recorded(name)) {
                float[] wanted = values.f32(List.of(name)).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT);
                if (found.length != wanted.length) {
                    throw new CheckpointException(folder.resolve(set + ".safetensors"),
                            name + " has " + wanted.length + " values, the model computes " + found.length);
                }
                report(label(name), largestError(found, wanted), tolerance);
            }
        }

        /** The soft cap changes what prefill computes, so it is a model of its own. */
        private void capped(PaliGemma.Limits limits, RgbImage image) {
            try (ModelRun runner = ModelRun.open(directory, backend, limits, options(true, false), PaliGemma::programs)) {
                PaliGemma model = runner.model();
                runner.encode(model.encode(), image);
                for (int p = 0; p < prompts.size(); p++) {
                    runner.prefill(model.prefill(), prompts.get(p).ids());
                    floats("p" + p + ".prefill_logits_capped", runner.read(model.promptLogits()), logitsTolerance);
                }
            }
        }

        private PaliGemma.Options options(boolean finalSoftCap, boolean everyRow) {
            return PaliGemma.Options.DEFAULT.withSlidingWindow(slidingWindow).withFinalSoftCap(finalSoftCap).withEveryRow(everyRow);
        }

        /** Probes at every stage that may be recorded. */
        private record Taps(StageProbes stages, Probes.Probed visionAttention, Probes.Probed visionPeaks, Probes.Probed visionSumPeaks,
                Probes.Probed attention, Probes.Probed attentionSum, Probes.Probed lensFirst, Probes.Probed lensFirstNormed, Probes.Probed lens,
                Probes.Probed lensNormed, Probes.Knockout knockout) {
            static Taps of(PaliGemma model) {
                int imageTokens = model.config().vision().tokens();
                int capacity = model.limits().promptTokens();
                StageProbes stages = StageProbes.of(model);
                String visionLayers = model.visionLayers().segment();
                Op.Part vision = new Op.Part(Probes.layers(model.encode(), visionLayers), Probes.heads(model.encode(), visionLayers), 0, 0);
                Probes.Probed visionAttention = Probes.attentionWeights(stages.encode(), visionLayers, imageTokens, "golden.vision.attn");
                Probes.Probed visionPeaks = Probes.headMeanPeaks(visionAttention.program(), visionLayers, vision, Op.Kept.EACH, imageTokens,
                        "golden.vision.peaks");
                Probes.Probed visionSumPeaks = Probes.headMeanPeaks(visionPeaks.program(), visionLayers, vision, Op.Kept.SUM, imageTokens,
                        "golden.vision.sum_peaks");
                String layers = model.decoderLayers().segment();
                Op.Part decoder = new Op.Part(Probes.layers(model.prefill(), layers), Probes.heads(model.prefill(), layers), 0, 0);
                Probes.Probed attention = Probes.attentionWeights(stages.prefill(), layers, capacity, "golden.dec.attn");
                Probes.Probed attentionSum = Probes.attentionWeights(attention.program(), layers, decoder, true, Op.Kept.SUM, capacity, capacity,
                        "golden.dec.attn_sum");
                Probes.Probed lensFirst = lens(model, attentionSum.program(), model.decoderEmbeddings(), false, "golden.lens_first");
                Probes.Probed lensFirstNormed = lens(model, lensFirst.program(), model.decoderEmbeddings(), true, "golden.lens_first_normed");
                Probes.Probed lens = lens(model, lensFirstNormed.program(), model.decoderLayers(), false, "golden.lens");
                Probes.Probed lensNormed = lens(model, lens.program(), model.decoderLayers(), true, "golden.lens_normed");
                Probes.Knockout knockout = Probes.knockout(new Program("knockout", model.prefill().segments()), layers, capacity);
                return new Taps(stages, visionAttention, visionPeaks, visionSumPeaks, attention, attentionSum, lensFirst, lensFirstNormed, lens,
                        lensNormed, knockout);
            }

            private static Probes.Probed lens(PaliGemma model, Program program, PaliGemma.Stage stage, boolean normed, String name) {
                return Probes.lens(program, stage.segment(), stage.result(), (state, logits) -> model.readOut(state, logits, normed),
                        model.config().text().vocabularySize(), name);
            }

            Program encode() {
                return visionSumPeaks.program();
            }

            Program prefill() {
                return lensNormed.program();
            }
        }

        /** The model with probes, run on what was recorded. */
        private final class Stages implements AutoCloseable {
            private final ModelRun runner;
            private final PaliGemma model;
            private final Taps taps;
            private final RgbImage image;
            private final int layers;
            private final int heads;
            private final int width;
            private final int vocabulary;
            private final int capacity;

            Stages(PaliGemma.Limits limits, RgbImage image) {
                this.image = image;
                GemmaConfig text = directory.config().text();
                layers = text.layers();
                heads = text.heads().queryHeads();
                width = text.hiddenSize();
                vocabulary = text.vocabularySize();
                capacity = limits.promptTokens();
                runner = ModelRun.open(directory, backend, limits, options(false, true), prepared -> {
                    Taps probes = Taps.of(prepared);
                    return List.of(probes.encode(), probes.prefill(), prepared.decode(), probes.knockout().program());
                });
                model = runner.model();
                taps = Taps.of(model);
            }

            void vision() {
                runner.encode(taps.encode(), image);
                floats("vision.embeddings", runner.read(taps.stages().visionEmbeddings().output()), STATES);
                floats("vision.layers", runner.read(taps.stages().visionLayers().output()), STATES);
                floats("vision.post_layernorm", runner.read(taps.stages().visionPostLayernorm().output()), STATES);
                floats("vision.projector", runner.read(taps.stages().projector().output()), STATES);
                floats("vision.attn", runner.read(taps.visionAttention().output()), PROBABILITIES);
                float[] peaks = runner.read(taps.visionPeaks().output());
                floats("map.vision_first", Arrays.copyOf(peaks, directory.config().vision().tokens()), PROBABILITIES);
                floats("map.vision_global", runner.read(taps.visionSumPeaks().output()), MAPS);
            }

            void prompt(int p) {
                PaliGemmaPrompt prompt = prompts.get(p);
                String name = "p" + p + ".";
                int tokens = prompt.length();
                runner.prefill(taps.prefill(), prompt.ids());
                floats(name + "dec.embeddings", part(runner.read(taps.stages().embeddings().output()), 1, capacity, width, tokens, width), STATES);
                floats(name + "dec.layers", part(runner.read(taps.stages().decoderLayers().output()), layers, capacity, width, tokens, width), STATES);
                floats(name + "dec.final_norm", part(runner.read(taps.stages().finalNorm().output()), 1, capacity, width, tokens, width), STATES);
                float[] weights = part(runner.read(taps.attention().output()), layers * heads, capacity, capacity, tokens, tokens);
                floats(name + "dec.attn", weights, PROBABILITIES);
                float[] map = part(runner.read(taps.attentionSum().output()), 1, capacity, capacity, tokens, tokens);
                int imageTokens = directory.config().vision().tokens();
                floats(name + "map.image_rows_text_cols", quadrant(map, tokens, 0, imageTokens, imageTokens, tokens), MAPS);
                floats(name + "map.text_rows_image_cols", quadrant(map, tokens, imageTokens, tokens, 0, imageTokens), MAPS);
                float[] logits = part(runner.read(model.promptLogits()), 1, capacity, vocabulary, tokens, vocabulary);
                floats(name + "prefill_logits_all", logits, logitsTolerance);
                float[] last = Arrays.copyOfRange(logits, (tokens - 1) * vocabulary, tokens * vocabulary);
                floats(name + "prefill_logits", last, logitsTolerance);
                answerTracking(name);
                greedy(p, prompt, last);
            }

            /** Probability of the first token of the answer after each layer. */
            private void answerTracking(String name) {
                if (!values.names().contains(name + "lens_probs")) {
                    return;
                }
                int token = expected.get("knockout").get(0).get("base_token").asInt();
                float[] raw = lensProbabilities(taps.lensFirst(), taps.lens(), token);
                float[] normed = lensProbabilities(taps.lensFirstNormed(), taps.lensNormed(), token);
                // The reference's last state is behind the final norm in any case.
                raw[layers] = normed[layers];
                floats(name + "lens_probs", raw, PROBABILITIES);
                floats(name + "lens_probs_normed", normed, PROBABILITIES);
            }

            private float[] lensProbabilities(Probes.Probed first, Probes.Probed perLayer, int token) {
                float[] probabilities = new float[layers + 1];
                probabilities[0] = (float) Probability.of(runner.read(first.output()), 0, vocabulary, token);
                float[] logits = runner.read(perLayer.output());
                for (int l = 0; l < layers; l++) {
                    probabilities[l + 1] = (float) Probability.of(logits, l * vocabulary, vocabulary, token);
                }
                return probabilities;
            }

            private void greedy(int p, PaliGemmaPrompt prompt, float[] prefillLogits) {
                int[] wanted = ints(expected.get("prompts").get(p).get("greedy"));
                int[] found = new int[wanted.length];
                float[] logits = new float[wanted.length * vocabulary];
                System.arraycopy(prefillLogits, 0, logits, 0, vocabulary);
                found[0] = runner.token();
                for (int s = 1; s < wanted.length; s++) {
                    runner.decode(model.decode(), found[s - 1], prompt.length() + s - 1, prompt.length());
                    System.arraycopy(runner.read(model.nextLogits()), 0, logits, s * vocabulary, vocabulary);
                    found[s] = runner.token();
                }
                floats("p" + p + ".step_logits", logits, logitsTolerance);
                exact("p" + p + ".greedy", found, wanted);
            }

            void knockout() {
                JsonNode experiments = expected.get("knockout");
                if (experiments == null) {
                    return;
                }
                for (JsonNode experiment : experiments) {
                    int token = experiment.get("base_token").asInt();
                    double base = experiment.get("p_base").asDouble();
                    for (String edge : experiment.get("edges").propertyNames()) {
                        JsonNode recorded = experiment.get("edges").get(edge);
                        double worst = 0;
                        double worstPercent = 0;
                        for (int window = 0; window < layers; window++) {
                            double found = knockedOut(recorded.get("blocked"), experiment.get("windows").get(window), token);
                            worst = Math.max(worst, Math.abs(found - recorded.get("p_ko").get(window).asDouble()));
                            worstPercent = Math.max(worstPercent, Math.abs(100 * (found - base) / base
                                    - recorded.get("percent_change").get(window).asDouble()));
                        }
                        String name = "p0.knockout k=" + experiment.get("k").asInt() + " " + edge;
                        report(label(name), worst, PROBABILITIES);
                        report(label(name + " percent"), worstPercent, PERCENT_CHANGE);
                    }
                }
            }

            private double knockedOut(JsonNode blocked, JsonNode window, int token) {
                byte[] mask = new byte[capacity * capacity];
                for (JsonNode block : blocked) {
                    for (int row : ints(block.get("query_rows"))) {
                        for (int column : ints(block.get("key_columns"))) {
                            mask[row * capacity + column] = 1;
                        }
                    }
                }
                int[] flags = new int[layers * heads];
                for (int layer : ints(window)) {
                    Arrays.fill(flags, layer * heads, (layer + 1) * heads, 1);
                }
                runner.write(taps.knockout().blocked(), mask);
                runner.write(taps.knockout().flags(), flags);
                PaliGemmaPrompt prompt = prompts.getFirst();
                runner.prefill(taps.knockout().program(), prompt.ids());
                return Probability.of(runner.read(model.promptLogits()), (prompt.length() - 1) * vocabulary, vocabulary, token);
            }

            @Override
            public void close() {
                runner.close();
            }
        }
    }

    private static int[] ints(JsonNode array) {
        int[] values = new int[array.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = array.get(i).asInt();
        }
        return values;
    }

    /** NaN if one of the values is: Math.max does not lose it. */
    private static double largestError(float[] found, float[] wanted) {
        double largest = 0;
        for (int i = 0; i < found.length; i++) {
            largest = Math.max(largest, Math.abs((double) found[i] - wanted[i]));
        }
        return largest;
    }

    /** The used corner of each plane of [planes, rows, columns]. */
    private static float[] part(float[] all, int planes, int rows, int columns, int usedRows, int usedColumns) {
        float[] used = new float[planes * usedRows * usedColumns];
        for (int plane = 0; plane < planes; plane++) {
            for (int row = 0; row < usedRows; row++) {
                System.arraycopy(all, (plane * rows + row) * columns, used, (plane * usedRows + row) * usedColumns, usedColumns);
            }
        }
        return used;
    }

    private static float[] quadrant(float[] map, int n, int fromRow, int toRow, int fromColumn, int toColumn) {
        int columns = toColumn - fromColumn;
        float[] part = new float[(toRow - fromRow) * columns];
        for (int row = fromRow; row < toRow; row++) {
            System.arraycopy(map, row * n + fromColumn, part, (row - fromRow) * columns, columns);
        }
        return part;
    }
}

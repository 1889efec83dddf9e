package stormsight.verify;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import java.util.Set;
import java.util.stream.IntStream;
import stormsight.backend.Backend;
import stormsight.backend.RunListener;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.JsonRecord;
import stormsight.generate.Generator;
import stormsight.generate.Probability;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Description;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.model.VisionLanguageModel;
import stormsight.model.family.Families;
import stormsight.probe.Probe;
import stormsight.probe.Probes;
import stormsight.probe.StageProbes;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * Compares a checkpoint's every recorded value with what a backend computes. A folder holds the checkpoint, {@code
 * input.png} or {@code input_0.png} and so on, and one or two sets of values: {@code expected.json} and {@code
 * expected.safetensors} as transformers 5 computes, and {@code expected_bv.*} without sliding window. A prompt is a
 * text, or ids alone where the folder has no tokenizer, about some of the images.
 *
 * <p>A folder that holds no model but a mask decoder has the masks that it makes of codes.
 *
 * <p>Where the folder holds {@code adapter}, the values are those of the adapted model, {@code base.*} those without
 * it. {@code NAME.*} are those of {@code adapter-NAME}; one that has none gives the same values as {@code adapter}.
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

    static final double EXACT = 0;
    /** F32 rounding of x/255 and of the normalisation. */
    static final double PIXELS = 1e-5;
    /** Hidden states: F32 sums in another order than the reference's. */
    static final double STATES = 1e-4;
    static final double PROBABILITIES = 1e-5;
    /** Sums of probabilities over the layers, of which the tolerances add up. */
    private static final double MAPS = 1e-4;
    /** In percent of a probability. */
    private static final double PERCENT_CHANGE = 0.01;
    /** F32 sums of a product with few columns. */
    private static final double MERGED = 1e-6;
    private static final String ADAPTER = "adapter";

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
        logitsTolerance = directory.anyModel() instanceof VisionLanguageModel model
                ? model.describe().logitTolerance()
                : STATES;
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
        if (Files.exists(folder.resolve(ModelDirectory.MASK_DECODER)) && !Files.exists(folder.resolve("config.json"))) {
            return MaskCheck.run(folder, backend, stopAtFailure, listener);
        }
        Path adapter = folder.resolve(ADAPTER);
        try (ModelDirectory directory = Files.exists(adapter)
                ? Families.openForIds(folder).withAdapter(adapter)
                : Families.openForIds(folder)) {
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
            JsonRecord expected = JsonRecord.read(json);
            if (!(directory.anyModel() instanceof VisionLanguageModel)) {
                new EncoderCheck(folder, directory, backend, expected, recorded(set, values, "")).run();
                return;
            }
            if (expected.find("prompts").map(JsonRecord::elements).orElse(List.of()).isEmpty()) {
                throw new CheckpointException(json, "no prompts");
            }
            new Comparison(expected, recorded(set, values, slidingWindow ? "" : set + " "), slidingWindow).run();
        } catch (IOException e) {
            throw new CheckpointException(json, "cannot be read: " + e.getMessage(), e);
        } catch (JsonRecord.WrongShapeException e) {
            throw new CheckpointException(json, e.problem(), e);
        }
    }

    private Recorded recorded(String set, Checkpoint values, String prefix) {
        return new Recorded(folder.resolve(set + ".safetensors"), values, prefix, this::report);
    }

    /** The images of a folder, at least one. */
    static List<RgbImage> inputs(Path folder) {
        List<RgbImage> images = new ArrayList<>();
        ImageDecoder decoder = new ImageDecoder();
        Path single = folder.resolve("input.png");
        Path numbered;
        if (Files.exists(single)) {
            images.add(decoder.decode(single));
        }
        while (Files.exists(numbered = folder.resolve("input_" + images.size() + ".png"))) {
            images.add(decoder.decode(numbered));
        }
        if (images.isEmpty()) {
            throw new CheckpointException(single, "no such file");
        }
        return images;
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
        private final JsonRecord expected;
        private final Recorded recorded;
        private final boolean slidingWindow;
        /** The images, cut into views. */
        private final List<Views> images = new ArrayList<>();
        private final List<Prompt> prompts = new ArrayList<>();
        /** The images of each prompt. */
        private final List<List<Integer>> imagesOf = new ArrayList<>();

        Comparison(JsonRecord expected, Recorded recorded, boolean slidingWindow) {
            this.expected = expected;
            this.recorded = recorded;
            this.slidingWindow = slidingWindow;
        }

        void run() {
            images();
            promptIds();
            int promptTokens = Math.max(images.stream().mapToInt(Views::length).max().orElseThrow(),
                    prompts.stream().mapToInt(Prompt::length).max().orElseThrow());
            int newTokens = 1;
            for (JsonRecord prompt : expected.get("prompts").elements()) {
                int tokens = prompt.get("greedy").elements().size();
                if (tokens == 0) {
                    throw prompt.get("greedy").invalid("no tokens");
                }
                newTokens = Math.max(newTokens, tokens);
            }
            int views = Math.max(images.stream().mapToInt(Views::count).max().orElseThrow(),
                    imagesOf.stream().mapToInt(this::views).max().orElseThrow());
            Limits limits = new Limits(promptTokens, newTokens, views);
            try (Stages stages = new Stages(limits)) {
                stages.vision();
                for (int p = 0; p < prompts.size(); p++) {
                    stages.prompt(p);
                }
                stages.imagesAlone();
                stages.knockout();
            }
            if (recorded.has("p0.prefill_logits_capped")) {
                capped(limits);
            }
            if (directory.checkpoint().adapter().isPresent()) {
                adapters(limits);
            }
            recorded.requireAllCompared();
        }

        /** The model without an adapter, and with each of the others. */
        private void adapters(Limits limits) {
            adapted(limits, "base", Optional.empty());
            List<Path> others = new ArrayList<>();
            try (DirectoryStream<Path> found = Files.newDirectoryStream(folder, ADAPTER + "-*")) {
                found.forEach(others::add);
            } catch (IOException e) {
                throw new CheckpointException(folder, "cannot be read: " + e.getMessage(), e);
            }
            others.stream().sorted().forEach(other -> adapted(
                    limits, other.getFileName().toString().substring(ADAPTER.length() + 1), Optional.of(other)));
        }

        private void adapted(Limits limits, String name, Optional<Path> adapter) {
            ModelDirectory base = Families.openForIds(folder);
            try (ModelDirectory chosen = adapter.map(base::withAdapter).orElse(base);
                    Generator generator = Generator.open(
                            chosen, backend, limits, options(false, PromptRows.LAST), RunListener.NONE, List.of())) {
                for (int p = 0; p < prompts.size(); p++) {
                    String logits = "p" + p + ".prefill_logits";
                    String own = name + "." + logits;
                    encode(generator, p);
                    generator.prefill(prompts.get(p));
                    recorded.compare(
                            own,
                            generator.read(generator.passes().prefill().output()),
                            recorded.values(recorded.has(own) ? own : logits),
                            logitsTolerance);
                }
            }
        }

        private int views(List<Integer> chosen) {
            return chosen.stream().mapToInt(image -> images.get(image).count()).sum();
        }

        private void images() {
            inputs(folder).forEach(image -> images.add(directory.processor().views(image)));
            if (recorded.has("resized_u8")) {
                byte[] wanted = recorded.bytes("resized_u8");
                byte[] resized = images.getFirst().view(0).rgb();
                int different = Math.abs(wanted.length - resized.length);
                for (int i = 0; i < Math.min(wanted.length, resized.length); i++) {
                    different += wanted[i] == resized[i] ? 0 : 1;
                }
                recorded.report("resized_u8", different, EXACT);
            }
            List<float[]> all = new ArrayList<>();
            for (int i = 0; i < images.size(); i++) {
                float[] pixels = pixels(images.get(i));
                recorded.floats("pixel_values." + i, pixels, PIXELS);
                all.add(pixels);
            }
            if (recorded.has("pixel_values")) {
                recorded.floats("pixel_values", joined(all), PIXELS);
            }
        }

        /** [views, 3, size, size]. */
        private static float[] pixels(Views image) {
            return joined(IntStream.range(0, image.count()).mapToObj(image::pixels).toList());
        }

        private void promptIds() {
            int imageToken = directory.describe().imageToken();
            for (JsonRecord prompt : expected.get("prompts").elements()) {
                List<Integer> chosen = prompt.find("images")
                        .map(indices -> Arrays.stream(indices.indices(images.size())).boxed().toList())
                        .orElse(List.of(0));
                List<Views> about = chosen.stream().map(images::get).toList();
                int[] ids = prompt.get("ids").indices(Integer.MAX_VALUE);
                if (ids.length == 0) {
                    throw prompt.get("ids").invalid("no tokens");
                }
                Prompt made;
                // A null text is an empty one. Without any, nothing would compare what the tokenizer makes of it.
                boolean hasText = prompt.names().contains("text");
                if (directory.processor().hasTokenizer() && !hasText) {
                    throw prompt.invalid("\"text\" is missing, which the folder's tokenizer is checked with");
                }
                if (hasText) {
                    made = rawPrompt(prompt, about);
                    recorded.exact("p" + prompts.size() + ".ids", made.plainIds(imageToken), ids);
                } else {
                    made = withRows(prompt, ids, about);
                }
                prompts.add(made);
                imagesOf.add(chosen);
            }
        }

        private Prompt rawPrompt(JsonRecord prompt, List<Views> about) {
            String text = prompt.find("text").map(JsonRecord::text).orElse("");
            try {
                return directory.processor().raw().prompt(text, about);
            } catch (IllegalArgumentException e) {
                throw prompt.invalid(e.getMessage());
            }
        }

        /** A prompt that is recorded as ids alone. */
        private Prompt withRows(JsonRecord prompt, int[] ids, List<Views> about) {
            int[] rows = {};
            int first = 0;
            for (Views image : about) {
                rows = IntStream.concat(IntStream.of(rows), IntStream.of(image.ids(first))).toArray();
                first += image.featureRows();
            }
            int[] all = ids.clone();
            int row = 0;
            for (int i = 0; i < all.length; i++) {
                if (all[i] == directory.describe().imageToken()) {
                    if (row == rows.length) {
                        throw prompt.invalid("more places for images than the " + row + " of its images");
                    }
                    all[i] = rows[row++];
                }
            }
            return new Prompt(all, List.of(), directory.describe().causal() ? 0 : all.length);
        }

        /** Dimensions of a recorded tensor, 0 if it is not there. */
        private int recordedRank(String name) {
            return recorded.has(name) ? recorded.info(name).shape().rank() : 0;
        }

        /** [layers, views, ..] of an array [layers, ..] for each view. */
        private static float[] layersFirst(List<float[]> views, int layers) {
            int layer = views.getFirst().length / layers;
            return joined(IntStream.range(0, layers)
                    .boxed()
                    .flatMap(l -> views.stream().map(view -> Arrays.copyOfRange(view, l * layer, (l + 1) * layer)))
                    .toList());
        }

        /**
         * Compares with a recorded tensor of all layers, if it is there. Of a tower of which the last layers are not
         * used, those are not compared.
         *
         * @param found [views, layers, ..]
         */
        private void layers(String name, float[] found, int views, int layers, double tolerance) {
            if (!recorded.has(name)) {
                return;
            }
            float[] wanted = recorded.values(name);
            int layer = found.length / views / layers;
            if (wanted.length <= found.length || wanted.length % (views * layer) != 0) {
                recorded.compare(name, found, wanted, tolerance);
                return;
            }
            int stored = wanted.length / views;
            float[] used = new float[found.length];
            for (int view = 0; view < views; view++) {
                System.arraycopy(wanted, view * stored, used, view * layers * layer, layers * layer);
            }
            recorded.compare(name, found, used, tolerance);
        }

        /** The soft cap changes what prefill computes, so it is a model of its own. */
        private void capped(Limits limits) {
            try (Generator generator =
                    Generator.open(directory, backend, limits, options(true, PromptRows.LAST), RunListener.NONE,
                            List.of())) {
                for (int p = 0; p < prompts.size(); p++) {
                    encode(generator, p);
                    generator.prefill(prompts.get(p));
                    recorded.floats(
                            "p" + p + ".prefill_logits_capped",
                            generator.read(generator.passes().prefill().output()),
                            logitsTolerance);
                }
            }
        }

        /** Makes the features that a prompt is about. */
        private void encode(Generator generator, int p) {
            List<Views> about = imagesOf.get(p).stream().map(images::get).toList();
            if (!about.isEmpty()) {
                generator.encodeViews(about);
            }
        }

        private Options options(boolean finalSoftCap, PromptRows rows) {
            return Options.DEFAULT
                    .withSlidingWindow(slidingWindow)
                    .withFinalSoftCap(finalSoftCap)
                    .withPromptRows(rows);
        }

        /** Probes at every stage that may be recorded. */
        private final class Taps implements Probe {
            private final Description model = directory.describe();
            private Probes.Probed visionAttention;
            private Probes.Probed visionPeaks;
            private Probes.Probed visionSumPeaks;
            /** The attention of stages of encode beside the tower's, by the name under which it is recorded. */
            private final Map<String, Probes.Probed> encodeAttention = new LinkedHashMap<>();
            private Probes.Probed attention;
            private Probes.Probed attentionSum;
            private Tensor lensRow;
            private Probes.Probed lensFirst;
            private Probes.Probed lensFirstNormed;
            private Probes.Probed lens;
            private Probes.Probed lensNormed;

            @Override
            public Program add(Pass pass, Program program, Passes passes) {
                return switch (pass) {
                    case ENCODE -> encode(program, passes);
                    case PREFILL -> prefill(program, passes);
                    case DECODE -> program;
                };
            }

            private Program encode(Program program, Passes passes) {
                String layers = passes.stage(Stage.VISION_LAYERS).segment();
                int rows = model.vision().rows();
                Op.Part part = new Op.Part(Probes.layers(program, layers), Probes.heads(program, layers), 0, 0);
                visionAttention = Probes.attentionWeights(program, layers, rows, "golden.vision.attn");
                visionPeaks = Probes.headMeanPeaks(
                        visionAttention.program(), layers, part, Op.Kept.EACH, rows, "golden.vision.peaks");
                visionSumPeaks = Probes.headMeanPeaks(
                        visionPeaks.program(), layers, part, Op.Kept.SUM, rows, "golden.vision.sum_peaks");
                Program probed = visionSumPeaks.program();
                for (Stage stage : passes.encodeStages()) {
                    String name = stage.name() + "_attn";
                    if (recorded.has(name)) {
                        encodeAttention.put(name, Probes.attentionWeights(probed, stage.segment(), "golden." + name));
                        probed = encodeAttention.get(name).program();
                    }
                }
                return probed;
            }

            private Program prefill(Program program, Passes passes) {
                int capacity = passes.limits().promptTokens();
                Stage layers = passes.stage(Stage.DECODER_LAYERS);
                Stage embeddings = passes.stage(Stage.DECODER_EMBEDDINGS);
                Op.Part part = new Op.Part(
                        Probes.layers(program, layers.segment()), Probes.heads(program, layers.segment()), 0, 0);
                attention = Probes.attentionWeights(program, layers.segment(), capacity, "golden.dec.attn");
                attentionSum = Probes.attentionWeights(
                        attention.program(),
                        layers.segment(),
                        part,
                        true,
                        Op.Kept.SUM,
                        capacity,
                        capacity,
                        "golden.dec.attn_sum");
                lensRow = Probes.lensRow(capacity);
                lensFirst = lens(passes, attentionSum.program(), embeddings, false, "golden.lens_first");
                lensFirstNormed = lens(passes, lensFirst.program(), embeddings, true, "golden.lens_first_normed");
                lens = lens(passes, lensFirstNormed.program(), layers, false, "golden.lens");
                lensNormed = lens(passes, lens.program(), layers, true, "golden.lens_normed");
                return lensNormed.program();
            }

            private Probes.Probed lens(Passes passes, Program program, Stage stage, boolean normed, String name) {
                return Probes.lens(
                        program,
                        stage.segment(),
                        stage.result(),
                        lensRow,
                        (state, logits) -> passes.readOut().ops(state, logits, normed),
                        model.decoder().vocabularySize(),
                        name);
            }

            @Override
            public void read(Pass pass, Outputs outputs) {}
        }

        /** The model with probes, run on what was recorded. */
        private final class Stages implements AutoCloseable {
            private final Generator generator;
            private final Passes passes;
            private final StageProbes stages = new StageProbes();
            /** Stages that are recorded of all images together. */
            private final Set<Stage> together = new HashSet<>();
            private final Taps taps = new Taps();
            private Probes.Knockout knockout;
            private final int layers;
            private final int heads;
            private final int vocabulary;
            private final int capacity;

            Stages(Limits limits) {
                Description.Decoder decoder = directory.describe().decoder();
                layers = decoder.layers();
                heads = decoder.heads().queryHeads();
                vocabulary = decoder.vocabularySize();
                capacity = limits.promptTokens();
                Plain plain = new Plain();
                generator = Generator.open(
                        directory,
                        backend,
                        limits,
                        options(false, PromptRows.LOGITS),
                        RunListener.NONE,
                        List.of(plain, stages, taps),
                        made -> {
                            knockout = Probes.knockout(
                                    new Program("knockout", plain.prefill.segments()),
                                    made.stage(Stage.DECODER_LAYERS).segment(),
                                    capacity);
                            return List.of(knockout.program());
                        });
                passes = generator.passes();
            }

            /** A matrix that an adapter changed. */
            private void merged() {
                generator.weights().forEach((tensor, value) -> {
                    if (tensor.name().endsWith(".self_attn.q_proj.weight")
                            && tensor.name().startsWith("language_model.")) {
                        recorded.floats(
                                "merged.layers.0.q_proj",
                                value.layers().getFirst().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED),
                                MERGED);
                    }
                });
            }

            /** Features of all images, where they are recorded as one. */
            private void features() {
                for (Stage stage : stages.encode().keySet()) {
                    long each = images.getFirst().count() * stage.result().shape().elements();
                    if (stage.name().equals(Stage.PROJECTOR)
                            && images.size() > 1
                            && recorded.has(stage.name())
                            && recorded.info(stage.name()).shape().elements() == images.size() * each) {
                        List<float[]> found = new ArrayList<>();
                        for (Views image : images) {
                            generator.load(image, 0);
                            generator.encodeLoaded(0);
                            found.add(generator.read(stages.encode().get(stage)));
                        }
                        recorded.floats(stage.name(), joined(found), STATES);
                        together.add(stage);
                    }
                }
            }

            /** What the first image's views make. */
            void vision() {
                merged();
                features();
                Views image = images.getFirst();
                Map<Stage, List<float[]>> made = new LinkedHashMap<>();
                List<float[]> weights = new ArrayList<>();
                float[] peaks = {};
                float[] sumPeaks = {};
                for (int view = 0; view < image.count(); view++) {
                    generator.load(image, view);
                    generator.encodeLoaded(view);
                    stages.encode().forEach((stage, output) -> made.computeIfAbsent(stage, _ -> new ArrayList<>())
                            .add(generator.read(output)));
                    weights.add(generator.read(taps.visionAttention.output()));
                    if (view == 0) {
                        peaks = generator.read(taps.visionPeaks.output());
                        sumPeaks = generator.read(taps.visionSumPeaks.output());
                    }
                }
                Description.Vision tower = directory.describe().vision();
                made.forEach((stage, found) -> {
                    if (stage.name().equals(Stage.VISION_LAYERS)) {
                        layers(stage.name(), joined(found), image.count(), tower.layers(), STATES);
                        int width = stage.result().columns();
                        recorded.floats(
                                "vision.selected",
                                joined(found.stream()
                                        .map(all -> patches(lastLayer(all, tower, width), tower, width))
                                        .toList()),
                                STATES);
                    } else if (!together.contains(stage)) {
                        int width = stage.result().columns();
                        boolean withClass = !recorded.has(stage.name())
                                || recorded.info(stage.name()).shape().elements()
                                        == (long) image.count() * tower.rows() * width
                                || stage.result().rows() != tower.rows();
                        recorded.floats(
                                stage.name(),
                                joined(
                                        withClass
                                                ? found
                                                : found.stream()
                                                        .map(all -> patches(all, tower, width))
                                                        .toList()),
                                STATES);
                    }
                });
                if (recordedRank("vision.attn") == 5) {
                    layers("vision.attn", layersFirst(weights, tower.layers()), 1, tower.layers(), PROBABILITIES);
                } else {
                    layers("vision.attn", joined(weights), image.count(), tower.layers(), PROBABILITIES);
                }
                taps.encodeAttention.forEach((name, probed) ->
                        recorded.floats(name, generator.read(probed.output()), PROBABILITIES));
                recorded.floats("map.vision_first", Arrays.copyOf(peaks, tower.rows()), PROBABILITIES);
                recorded.floats("map.vision_global", sumPeaks, MAPS);
            }

            void prompt(int p) {
                Prompt prompt = prompts.get(p);
                String name = "p" + p + ".";
                int tokens = prompt.length();
                encode(generator, p);
                generator.write(taps.lensRow, new int[] {tokens - 1});
                int[] wanted = expected.get("prompts").elements().get(p).get("greedy").indices(vocabulary);
                int[] found = new int[wanted.length];
                float[] steps = new float[wanted.length * vocabulary];
                generator.followAnyhow(prompt, (place, id, logits) -> {
                    float[] last = place == 0 ? prefilled(p) : generator.read(logits);
                    System.arraycopy(last, 0, steps, place * vocabulary, vocabulary);
                    found[place] = id;
                    return place + 1 < wanted.length ? OptionalInt.of(id) : OptionalInt.empty();
                });
                recorded.floats(name + "step_logits", steps, logitsTolerance);
                recorded.exact(name + "greedy", found, wanted);
            }

            /**
             * Compares what a prompt made.
             *
             * @return logits of its last token
             */
            private float[] prefilled(int p) {
                Prompt prompt = prompts.get(p);
                String name = "p" + p + ".";
                int tokens = prompt.length();
                stages.prefill().forEach((stage, output) -> {
                    float[] states = part(
                            generator.read(output),
                            output.layers(),
                            capacity,
                            output.columns(),
                            tokens,
                            output.columns());
                    recorded.floats(name + stage.name(), states, STATES);
                    if (stage.name().equals(Stage.DECODER_EMBEDDINGS)
                            && imagesOf.get(p).size() == 1) {
                        recorded.floats(
                                "features." + imagesOf.get(p).getFirst(),
                                rows(states, prompt.imagePlaces(), output.columns()),
                                STATES);
                    }
                });
                float[] weights = part(
                        generator.read(taps.attention.output()), layers * heads, capacity, capacity, tokens, tokens);
                recorded.floats(name + "dec.attn", weights, PROBABILITIES);
                recorded.floats(name + "dec.attn_head_mean", headMean(weights, layers, heads), PROBABILITIES);
                float[] map = part(generator.read(taps.attentionSum.output()), 1, capacity, capacity, tokens, tokens);
                recorded.floats(
                        name + "map.image_rows_text_cols",
                        quadrant(map, tokens, prompt.imagePlaces(), prompt.textPlaces()),
                        MAPS);
                recorded.floats(
                        name + "map.text_rows_image_cols",
                        quadrant(map, tokens, prompt.textPlaces(), prompt.imagePlaces()),
                        MAPS);
                float[] logits =
                        part(generator.read(passes.prefill().output()), 1, capacity, vocabulary, tokens, vocabulary);
                recorded.floats(name + "prefill_logits_all", logits, logitsTolerance);
                float[] last = Arrays.copyOfRange(logits, (tokens - 1) * vocabulary, tokens * vocabulary);
                recorded.floats(name + "prefill_logits", last, logitsTolerance);
                answerTracking(name);
                return last;
            }

            /** Features of images that are recorded and that no prompt is about alone. */
            void imagesAlone() {
                for (int i = 0; i < images.size(); i++) {
                    String name = "features." + i;
                    if (recorded.has(name) && !recorded.isCompared(name)) {
                        int[] ids = images.get(i).ids(0);
                        generator.encodeViews(List.of(images.get(i)));
                        generator.prefill(new Prompt(ids, List.of(), directory.describe().causal() ? 0 : ids.length));
                        stages.prefill().forEach((stage, output) -> {
                            if (stage.name().equals(Stage.DECODER_EMBEDDINGS)) {
                                recorded.floats(
                                        name,
                                        part(
                                                generator.read(output),
                                                output.layers(),
                                                capacity,
                                                output.columns(),
                                                ids.length,
                                                output.columns()),
                                        STATES);
                            }
                        });
                    }
                }
            }

            /** Probability of the first token of the answer after each layer. */
            private void answerTracking(String name) {
                if (!recorded.has(name + "lens_probs")) {
                    return;
                }
                JsonRecord experiments = expected.get("knockout");
                if (experiments.elements().isEmpty()) {
                    throw experiments.invalid("no experiments, whose token the recorded lens_probs follow");
                }
                int token = experiments.elements().getFirst().get("base_token").index(vocabulary);
                float[] raw = lensProbabilities(taps.lensFirst, taps.lens, token);
                float[] normed = lensProbabilities(taps.lensFirstNormed, taps.lensNormed, token);
                // The reference's last state is behind the final norm in any case.
                raw[layers] = normed[layers];
                recorded.floats(name + "lens_probs", raw, PROBABILITIES);
                recorded.floats(name + "lens_probs_normed", normed, PROBABILITIES);
            }

            private float[] lensProbabilities(Probes.Probed first, Probes.Probed perLayer, int token) {
                float[] probabilities = new float[layers + 1];
                probabilities[0] = (float) Probability.of(generator.read(first.output()), 0, vocabulary, token);
                float[] logits = generator.read(perLayer.output());
                for (int l = 0; l < layers; l++) {
                    probabilities[l + 1] = (float) Probability.of(logits, l * vocabulary, vocabulary, token);
                }
                return probabilities;
            }

            void knockout() {
                List<JsonRecord> experiments = expected.find("knockout").map(JsonRecord::elements).orElse(List.of());
                if (experiments.isEmpty()) {
                    return;
                }
                int p = expected.find("knockout_positions")
                        .flatMap(positions -> positions.find("prompt"))
                        .map(prompt -> prompt.index(prompts.size()))
                        .orElse(0);
                encode(generator, p);
                for (JsonRecord experiment : experiments) {
                    int token = experiment.get("base_token").index(vocabulary);
                    double base = experiment.get("p_base").number();
                    List<JsonRecord> windows = experiment.get("windows").elements(layers);
                    int width = experiment.get("k").index(Integer.MAX_VALUE);
                    for (String edge : experiment.get("edges").names()) {
                        JsonRecord blocking = experiment.get("edges").get(edge);
                        List<JsonRecord> probabilities = blocking.get("p_ko").elements(layers);
                        List<JsonRecord> changes = blocking.get("percent_change").elements(layers);
                        double worst = 0;
                        double worstPercent = 0;
                        for (int window = 0; window < layers; window++) {
                            double probability =
                                    knockedOut(prompts.get(p), blocking.get("blocked"), windows.get(window), token);
                            worst = Math.max(worst, Math.abs(probability - probabilities.get(window).number()));
                            worstPercent = Math.max(worstPercent, Math.abs(100 * (probability - base) / base
                                    - changes.get(window).number()));
                        }
                        String name = "p" + p + ".knockout k=" + width + " " + edge;
                        recorded.report(name, worst, PROBABILITIES);
                        recorded.report(name + " percent", worstPercent, PERCENT_CHANGE);
                    }
                }
            }

            private double knockedOut(Prompt prompt, JsonRecord blocked, JsonRecord window, int token) {
                byte[] mask = new byte[capacity * capacity];
                for (JsonRecord block : blocked.elements()) {
                    for (int row : block.get("query_rows").indices(capacity)) {
                        for (int column : block.get("key_columns").indices(capacity)) {
                            mask[row * capacity + column] = 1;
                        }
                    }
                }
                int[] flags = new int[layers * heads];
                for (int layer : window.indices(layers)) {
                    Arrays.fill(flags, layer * heads, (layer + 1) * heads, 1);
                }
                generator.write(knockout.blocked(), mask);
                generator.write(knockout.flags(), flags);
                generator.prefill(knockout.program(), prompt);
                return Probability.of(
                        generator.read(passes.prefill().output()),
                        (prompt.length() - 1) * vocabulary,
                        vocabulary,
                        token);
            }

            @Override
            public void close() {
                generator.close();
            }
        }
    }

    /** Keeps prefill as it was before others rewrote it. */
    private static final class Plain implements Probe {
        private Program prefill;

        @Override
        public Program add(Pass pass, Program program, Passes passes) {
            if (pass == Pass.PREFILL) {
                prefill = program;
            }
            return program;
        }

        @Override
        public void read(Pass pass, Outputs outputs) {}
    }

    static float[] joined(List<float[]> parts) {
        float[] all = new float[parts.stream().mapToInt(part -> part.length).sum()];
        int at = 0;
        for (float[] part : parts) {
            System.arraycopy(part, 0, all, at, part.length);
            at += part.length;
        }
        return all;
    }

    private static float[] lastLayer(float[] all, Description.Vision tower, int width) {
        return Arrays.copyOfRange(all, all.length - tower.rows() * width, all.length);
    }

    /** Rows without that of a class token. */
    private static float[] patches(float[] rows, Description.Vision tower, int width) {
        return Arrays.copyOfRange(rows, tower.firstPatch() * width, rows.length);
    }

    private static float[] rows(float[] all, List<Integer> chosen, int width) {
        float[] rows = new float[chosen.size() * width];
        for (int i = 0; i < chosen.size(); i++) {
            System.arraycopy(all, chosen.get(i) * width, rows, i * width, width);
        }
        return rows;
    }

    /** [layers x heads, ..] to [layers, ..]. */
    static float[] headMean(float[] weights, int layers, int heads) {
        int plane = weights.length / layers / heads;
        float[] means = new float[layers * plane];
        for (int i = 0; i < weights.length; i++) {
            means[i / plane / heads * plane + i % plane] += weights[i] / heads;
        }
        return means;
    }

    /** The used corner of each plane of [planes, rows, columns]. */
    static float[] part(float[] all, int planes, int rows, int columns, int usedRows, int usedColumns) {
        float[] used = new float[planes * usedRows * usedColumns];
        for (int plane = 0; plane < planes; plane++) {
            for (int row = 0; row < usedRows; row++) {
                System.arraycopy(
                        all, (plane * rows + row) * columns, used, (plane * usedRows + row) * usedColumns, usedColumns);
            }
        }
        return used;
    }

    private static float[] quadrant(float[] map, int n, List<Integer> rows, List<Integer> columns) {
        float[] part = new float[rows.size() * columns.size()];
        for (int row = 0; row < rows.size(); row++) {
            for (int column = 0; column < columns.size(); column++) {
                part[row * columns.size() + column] = map[rows.get(row) * n + columns.get(column)];
            }
        }
        return part;
    }
}

package stormsight.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.bench.Configuration;
import stormsight.image.Resampling;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.EmbeddedModel;
import stormsight.model.family.Families;

/** Options that choose a model and what it follows where references disagree. */
final class ModelMixin {
    /** Names of the resize as users know them. */
    enum Resize {
        BICUBIC(Resampling.BICUBIC),
        BILINEAR(Resampling.BILINEAR_BIG_VISION);

        private final Resampling resampling;

        Resize(Resampling resampling) {
            this.resampling = resampling;
        }

        Resampling resampling() {
            return resampling;
        }

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    @Option(
            names = {"-m", "--model"},
            paramLabel = "DIR",
            description =
                    "A checkpoint directory as Hugging Face publishes it, or a decoder's GGUF file with its vision "
                            + "tower beside it. Default: the small embedded model, which knows drawn shapes.")
    private Path model;

    @Option(
            names = "--adapter",
            paramLabel = "DIR",
            description =
                    "A LoRA adapter as PEFT saves it, for this model: merged into the weights when the model is "
                            + "loaded. The matrices that it changes are copied into memory.")
    private Path adapter;

    @Option(
            names = "--resize",
            paramLabel = "HOW",
            description =
                    "bicubic as transformers resizes, or bilinear as big_vision does. Default: as the checkpoint says.")
    private Resize resize;

    @Option(
            names = "--weights",
            paramLabel = "FORM",
            defaultValue = "stored",
            converter = WeightForm.Converter.class,
            completionCandidates = WeightForm.Names.class,
            description = WeightForm.HELP)
    private WeightForm weights;

    @Option(names = "--sliding-window",
            description = "PaliGemma 2: limit what generated tokens see in every other layer, as transformers 5 does.")
    private boolean slidingWindow;

    @Option(names = "--final-soft-cap", description = "PaliGemma 2: cap the logits, as plain Gemma 2 does.")
    private boolean finalSoftCap;

    @Mixin
    private StrictMixin strict;

    boolean chosen() {
        return model != null;
    }

    ModelDirectory open() {
        return adapted(model == null ? EmbeddedModel.open(resampling()) : named());
    }

    /** The same where images are compared with texts. */
    ModelDirectory openEncoder() {
        return adapted(model == null ? EmbeddedModel.openEncoder(resampling()) : named());
    }

    private ModelDirectory adapted(ModelDirectory directory) {
        return adapter == null ? directory : directory.withAdapter(adapter);
    }

    /** Whether an adapter was named. */
    boolean adapted() {
        return adapter != null;
    }

    private ModelDirectory named() {
        return Families.open(model, resampling(), strict.strictness());
    }

    private Optional<Resampling> resampling() {
        return Optional.ofNullable(resize).map(Resize::resampling);
    }

    /** @throws UsageException naming the option if a text cannot be a prompt of the model */
    void requirePrompt(ModelDirectory directory, String text, String where) {
        requirePrompt(directory, text, 1, where);
    }

    /** @throws UsageException naming the option if a text cannot be a prompt of the model about so many images */
    void requirePrompt(ModelDirectory directory, String text, int images, String where) {
        try {
            directory.processor().check(text, images);
        } catch (IllegalArgumentException e) {
            throw new UsageException(where + ": " + e.getMessage());
        }
    }

    /** What users call it. */
    String name() {
        return with(model == null ? EmbeddedModel.NAME : model.toString());
    }

    /** The same without the directories that lead to model and adapter. */
    String shortName() {
        String name = model == null ? EmbeddedModel.NAME : Configuration.folderName(model.toString());
        return adapter == null ? name : name + " + " + Configuration.folderName(adapter.toString());
    }

    /** The same of what {@link #openEncoder} opens. */
    String encoderName() {
        return with(model == null ? EmbeddedModel.ENCODER_NAME : model.toString());
    }

    private String with(String name) {
        return adapter == null ? name : name + " + " + adapter;
    }

    /** What was chosen beside the model itself, for JSON. */
    Map<String, Object> json() {
        Map<String, Object> chosen = new LinkedHashMap<>();
        if (adapter != null) {
            chosen.put("adapter", adapter.toString());
        }
        chosen.put("weights", weights.toString());
        chosen.put("resize", resize == null ? "as the checkpoint says" : resize.toString());
        chosen.put("sliding_window", slidingWindow);
        chosen.put("final_soft_cap", finalSoftCap);
        return chosen;
    }

    WeightForm weights() {
        return weights;
    }

    Options options() {
        return Options.DEFAULT.withSlidingWindow(slidingWindow).withFinalSoftCap(finalSoftCap)
                .withWeights(weights.type());
    }
}

package stormsight.verify;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import stormsight.backend.Backend;
import stormsight.backend.RunListener;
import stormsight.generate.Generator;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Pass;
import stormsight.model.Prompt;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.probe.StageProbes;
import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * Compares two backends stage by stage on the same input, each stage with all its values: where a backend computes
 * wrongly, the first stage that diverges says where to look. Both decode the tokens of the first one, so that one
 * choice between near equals does not make all later logits differ.
 */
public final class BackendComparison {
    /** F32 sums in another order, through all layers of a model, keep well below; a wrong kernel does not. */
    private static final double MIN_COSINE = 0.99999;
    /** Share of the stage's largest value. */
    private static final double MAX_ERROR = 2e-3;
    /** The same where products round activations to BF16: PaliGemma 3B differs by 5e-3, cosines are above 0.99998. */
    private static final double MIN_COSINE_ROUNDED = 0.9999;

    private static final double MAX_ERROR_ROUNDED = 2e-2;

    /**
     * A stage of both backends.
     *
     * @param error largest absolute difference
     * @param scale largest absolute value of the oracle
     * @param rounded whether one side rounds activations to BF16
     */
    public record Stage(String name, double cosine, double error, double scale, boolean rounded) {
        /** False where a value is not a number, too. */
        public boolean agrees() {
            return cosine >= (rounded ? MIN_COSINE_ROUNDED : MIN_COSINE)
                    && error <= (rounded ? MAX_ERROR_ROUNDED : MAX_ERROR) * scale;
        }

        /** Compares two values of the same length. */
        public static Stage of(String name, float[] oracle, float[] subject, boolean rounded) {
            double product = 0;
            double oracleSquares = 0;
            double subjectSquares = 0;
            double error = 0;
            double scale = 0;
            for (int i = 0; i < oracle.length; i++) {
                product += (double) oracle[i] * subject[i];
                oracleSquares += (double) oracle[i] * oracle[i];
                subjectSquares += (double) subject[i] * subject[i];
                error = Math.max(error, Math.abs((double) oracle[i] - subject[i]));
                scale = Math.max(scale, Math.abs(oracle[i]));
            }
            boolean bothZero = oracleSquares == 0 && subjectSquares == 0;
            return new Stage(
                    name,
                    bothZero ? 1 : product / Math.sqrt(oracleSquares * subjectSquares),
                    error,
                    scale,
                    rounded);
        }
    }

    /**
     * One side: a backend, and the model that it runs.
     *
     * @param directory the same for both sides, unless a difference is to be found
     */
    public record Side(ModelDirectory directory, Backend backend) {}

    /** What one side made. */
    private record Values(List<String> names, List<float[]> values, List<Integer> tokens, boolean rounded) {}

    private BackendComparison() {}

    /**
     * Compares until the first stage that diverges.
     *
     * @param tokens how many tokens are decoded, at least 1
     * @param listener hears each stage as it is compared
     * @return the name of the stage that diverges, or empty if all agree
     */
    public static Optional<String> run(
            Side oracle,
            Side subject,
            Options options,
            RgbImage image,
            String prompt,
            int tokens,
            Consumer<Stage> listener) {
        Values wanted = values(oracle, options, image, prompt, tokens, List.of());
        Values found = values(subject, options, image, prompt, tokens, wanted.tokens());
        for (int i = 0; i < wanted.names().size(); i++) {
            Stage stage = Stage.of(
                    wanted.names().get(i),
                    wanted.values().get(i),
                    found.values().get(i),
                    wanted.rounded() || found.rounded());
            listener.accept(stage);
            if (!stage.agrees()) {
                return Optional.of(stage.name());
            }
        }
        if (!wanted.tokens().equals(found.tokens())) {
            return Optional.of("tokens: " + wanted.tokens() + " and " + found.tokens());
        }
        return Optional.empty();
    }

    /** @param forced tokens to decode; where it has none, the side's own */
    private static Values values(Side side, Options options, RgbImage image, String prompt, int tokens,
            List<Integer> forced) {
        List<Views> images = List.of(side.directory().views(image, "the image"));
        Prompt asked = side.directory().prompt(prompt, images);
        StageProbes stages = new StageProbes();
        Limits limits = new Limits(asked.length(), tokens, images.getFirst().count());
        // What answers without probes; the weights are the same.
        Pass answering = side.directory().unbound(limits, options.withPromptRows(PromptRows.LAST)).prefill();
        Program prefill = new Program("answering prefill", answering.program().segments());
        try (Generator generator = Generator.open(
                side.directory(),
                side.backend(),
                limits,
                options,
                RunListener.NONE,
                List.of(stages),
                _ -> List.of(prefill))) {
            Values made = new Values(
                    new ArrayList<>(), new ArrayList<>(), new ArrayList<>(), generator.roundsActivations());
            generator.encodeViews(images);
            stages.encode().forEach((stage, output) -> add(made, generator, stage.title(), output));
            generator.followAnyhow(asked, (place, id, logits) -> {
                if (place == 0) {
                    stages.prefill().forEach((stage, output) -> add(made, generator, stage.title(), output));
                }
                add(made, generator, place == 0 ? "logits" : "logits of token " + (place + 1), logits);
                made.tokens().add(id);
                if (place + 1 == tokens) {
                    return OptionalInt.empty();
                }
                return OptionalInt.of(forced.isEmpty() ? id : forced.get(place));
            });
            generator.prefill(prefill, asked);
            add(made, generator, "logits without probes", answering.output());
            return made;
        }
    }

    private static void add(Values made, Generator generator, String name, Tensor output) {
        float[] all = generator.read(output);
        int size = all.length / output.layers();
        for (int layer = 0; layer < output.layers(); layer++) {
            made.names().add(output.layers() == 1 ? name : name + " " + layer);
            made.values().add(Arrays.copyOfRange(all, layer * size, (layer + 1) * size));
        }
    }
}

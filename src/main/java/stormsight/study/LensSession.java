package stormsight.study;

import java.util.ArrayList;
import java.util.List;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.RunListener;
import stormsight.generate.Generator;
import stormsight.generate.GreedyAnswer;
import stormsight.generate.Probability;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.probe.Probe;
import stormsight.probe.Probes;
import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * A model prepared to show how an answer forms: the residual stream of a token of the prompt, read after every layer
 * through the model's own head. Prepared once for any number of questions.
 */
public final class LensSession implements Session {
    /** The place of a prompt's last token, which predicts the answer. */
    public static final int LAST = -1;

    /** Reads a row of a prompt at every depth. */
    private static final class Depths implements Probe {
        private Tensor row;
        private Probes.Probed first;
        private Probes.Probed firstNormed;
        private Probes.Probed layers;
        private Probes.Probed layersNormed;

        @Override
        public Program add(Pass pass, Program program, Passes passes) {
            if (pass != Pass.PREFILL) {
                return program;
            }
            row = Probes.lensRow(passes.limits().promptTokens());
            first = lens(program, passes, passes.stage(Stage.DECODER_EMBEDDINGS), false, "lens.first");
            firstNormed =
                    lens(first.program(), passes, passes.stage(Stage.DECODER_EMBEDDINGS), true, "lens.first_normed");
            layers = lens(firstNormed.program(), passes, passes.stage(Stage.DECODER_LAYERS), false, "lens.layers");
            layersNormed =
                    lens(layers.program(), passes, passes.stage(Stage.DECODER_LAYERS), true, "lens.layers_normed");
            return layersNormed.program();
        }

        private Probes.Probed lens(Program program, Passes passes, Stage stage, boolean normed, String name) {
            return Probes.lens(
                    program,
                    stage.segment(),
                    stage.result(),
                    row,
                    (state, logits) -> passes.readOut().ops(state, logits, normed),
                    passes.prefill().output().columns(),
                    name);
        }

        @Override
        public void read(Pass pass, Outputs outputs) {}
    }

    private final Generator generator;
    private final Depths depths;

    private LensSession(Generator generator, Depths depths) {
        this.generator = generator;
        this.depths = depths;
    }

    /** As {@link KnockoutSession#open}. */
    public static LensSession open(ModelDirectory directory, Backend backend, Limits limits, Options options,
            RunListener listener) {
        Depths depths = new Depths();
        // Probabilities are read from the only row of the prompt's logits.
        return new LensSession(
                Generator.open(directory, backend, limits, options.withPromptRows(PromptRows.STATES), listener,
                        List.of(depths)),
                depths);
    }

    /**
     * What the head makes of a token's state at every depth.
     *
     * @param answer the model's own answer
     * @param place where in the prompt the token stands
     * @param raw logits without the final norm, [layers + 1, vocabulary]: the embeddings, then every layer. The last
     *     row is behind the final norm, as in the published curves, whose last state is
     * @param normed the same with the final norm on every row
     */
    public record States(String answer, Place place, float[] raw, float[] normed, int vocabulary) {
        /** Probability of a token at every depth, [layers + 1]. */
        public double[] probability(int token, boolean withNorm) {
            float[] logits = withNorm ? normed : raw;
            double[] probabilities = new double[logits.length / vocabulary];
            for (int depth = 0; depth < probabilities.length; depth++) {
                probabilities[depth] = Probability.of(logits, depth * vocabulary, vocabulary, token);
            }
            return probabilities;
        }

        /** Probability of a token at a depth, with the final norm. */
        double probability(int token, int depth) {
            return Probability.of(normed, depth * vocabulary, vocabulary, token);
        }

        /** The most probable tokens at every depth with the final norm, the first of them first, [layers + 1][most]. */
        public List<int[]> top(int most) {
            List<int[]> top = new ArrayList<>();
            for (int from = 0; from < normed.length; from += vocabulary) {
                int[] best = new int[Math.min(most, vocabulary)];
                int kept = 0;
                for (int id = 0; id < vocabulary; id++) {
                    int at = kept;
                    while (at > 0 && normed[from + id] > normed[from + best[at - 1]]) {
                        at--;
                    }
                    if (at < best.length) {
                        kept = Math.min(kept + 1, best.length);
                        System.arraycopy(best, at, best, at + 1, kept - at - 1);
                        best[at] = id;
                    }
                }
                top.add(best);
            }
            return top;
        }
    }

    /**
     * Asks a question.
     *
     * @param position of the token whose state is read, from 0; negative ones count from the prompt's end, as
     *     {@link #LAST} does
     * @throws stormsight.generate.LimitException if prompt and answer do not fit what the session was opened for
     * @throws IllegalArgumentException if the prompt holds the image token or has no such position
     * @throws BackendException if the device fails or computes something that is not a number
     */
    public States ask(Inquiry inquiry, int position) {
        List<Views> images = List.of(generator.directory().views(inquiry.image(), "the image"));
        Prompt prompt = generator.directory().prompt(inquiry.prompt(), images);
        Place place = Place.numbered(prompt, generator.directory().tokenizer(), position);
        generator.requireFits(prompt, inquiry.maxTokens());
        generator.encodeViews(images);
        generator.write(depths.row, new int[] {place.position()});
        GreedyAnswer answer = GreedyAnswer.of(generator, prompt, inquiry.maxTokens());
        int vocabulary = generator.passes().prefill().output().columns();
        float[] normed =
                joined(generator.read(depths.firstNormed.output()), generator.read(depths.layersNormed.output()));
        float[] raw = joined(generator.read(depths.first.output()), generator.read(depths.layers.output()));
        System.arraycopy(normed, normed.length - vocabulary, raw, raw.length - vocabulary, vocabulary);
        return new States(answer.text(), place, raw, normed, vocabulary);
    }

    private static float[] joined(float[] first, float[] rest) {
        float[] all = new float[first.length + rest.length];
        System.arraycopy(first, 0, all, 0, first.length);
        System.arraycopy(rest, 0, all, first.length, rest.length);
        return all;
    }

    @Override
    public boolean roundsActivations() {
        return generator.roundsActivations();
    }

    @Override
    public void close() {
        generator.close();
    }
}

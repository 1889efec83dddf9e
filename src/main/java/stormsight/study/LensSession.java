package stormsight.study;

import java.util.List;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.RunListener;
import stormsight.generate.GreedyAnswer;
import stormsight.generate.ModelRun;
import stormsight.generate.Probability;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.probe.Probe;
import stormsight.probe.Probes;
import stormsight.program.Program;
import stormsight.tokenizer.PaliGemmaPrompt;

/**
 * A model prepared to show how an answer forms: the residual stream of the prompt's last token, read after every layer through the model's own head.
 * Prepared once for any number of questions.
 */
public final class LensSession implements AutoCloseable {
    /** Reads the last row of a prompt at every depth. */
    private static final class Depths implements Probe {
        private Probes.Probed first;
        private Probes.Probed firstNormed;
        private Probes.Probed layers;
        private Probes.Probed layersNormed;

        @Override
        public Program add(Pass pass, Program program, PaliGemma model) {
            if (pass != Pass.PREFILL) {
                return program;
            }
            first = lens(program, model, model.decoderEmbeddings(), false, "lens.first");
            firstNormed = lens(first.program(), model, model.decoderEmbeddings(), true, "lens.first_normed");
            layers = lens(firstNormed.program(), model, model.decoderLayers(), false, "lens.layers");
            layersNormed = lens(layers.program(), model, model.decoderLayers(), true, "lens.layers_normed");
            return layersNormed.program();
        }

        private static Probes.Probed lens(Program program, PaliGemma model, PaliGemma.Stage stage, boolean normed, String name) {
            return Probes.lens(program, stage.segment(), stage.result(), (state, logits) -> model.readOut(state, logits, normed),
                    model.config().text().vocabularySize(), name);
        }

        @Override
        public void read(Pass pass, Outputs outputs) {}
    }

    private final ModelRun run;
    private final Depths depths;

    private LensSession(ModelRun run, Depths depths) {
        this.run = run;
        this.depths = depths;
    }

    /** As {@link KnockoutSession#open}. */
    public static LensSession open(ModelDirectory directory, Backend backend, PaliGemma.Limits limits, PaliGemma.Options options,
            RunListener listener) {
        Depths depths = new Depths();
        // Probabilities are read from the only row of the prompt's logits.
        return new LensSession(ModelRun.open(directory, backend, limits, options.withEveryRow(false), listener, List.of(depths)), depths);
    }

    /**
     * What the head makes of the last token's state at every depth.
     *
     * @param answer the model's own answer
     * @param raw logits without the final norm, [layers + 1, vocabulary]: the embeddings, then every layer. The last row is behind the final norm, as in
     *     the published curves, whose last state is
     * @param normed the same with the final norm on every row
     */
    public record States(String answer, float[] raw, float[] normed, int vocabulary) {
        /** Probability of a token at every depth, [layers + 1]. */
        public double[] probability(int token, boolean withNorm) {
            float[] logits = withNorm ? normed : raw;
            double[] probabilities = new double[logits.length / vocabulary];
            for (int depth = 0; depth < probabilities.length; depth++) {
                probabilities[depth] = Probability.of(logits, depth * vocabulary, vocabulary, token);
            }
            return probabilities;
        }
    }

    /**
     * Asks a question.
     *
     * @throws LimitException if prompt and answer do not fit what the session was opened for
     * @throws IllegalArgumentException if the prompt holds the image token
     * @throws BackendException if the device fails or computes something that is not a number
     */
    public States ask(Inquiry inquiry) {
        PaliGemmaPrompt prompt = run.directory().prompt(inquiry.prompt());
        run.requireFits(prompt, inquiry.maxTokens());
        run.encode(inquiry.image());
        GreedyAnswer answer = GreedyAnswer.of(run, prompt, inquiry.maxTokens());
        int vocabulary = run.model().config().text().vocabularySize();
        float[] normed = joined(run.read(depths.firstNormed.output()), run.read(depths.layersNormed.output()));
        float[] raw = joined(run.read(depths.first.output()), run.read(depths.layers.output()));
        System.arraycopy(normed, normed.length - vocabulary, raw, raw.length - vocabulary, vocabulary);
        return new States(answer.text(), raw, normed, vocabulary);
    }

    private static float[] joined(float[] first, float[] rest) {
        float[] all = new float[first.length + rest.length];
        System.arraycopy(first, 0, all, 0, first.length);
        System.arraycopy(rest, 0, all, first.length, rest.length);
        return all;
    }

    @Override
    public void close() {
        run.close();
    }
}

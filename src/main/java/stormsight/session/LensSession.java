package stormsight.session;

import java.lang.foreign.Arena;
import java.util.List;
import stormsight.analysis.Probes;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.model.PaliGemma;
import stormsight.program.Program;
import stormsight.tokenizer.PaliGemmaPrompt;

/**
 * A model prepared to show how an answer forms: the residual stream of the prompt's last token, read after every layer through the model's own head.
 * Prepared once for any number of questions.
 */
public final class LensSession implements AutoCloseable {
    private final ModelDirectory directory;
    private final PaliGemma model;
    private final Executor executor;
    private final Arena arena;
    private final ModelRun run;
    private final Probes.Probed first;
    private final Probes.Probed firstNormed;
    private final Probes.Probed layers;
    private final Probes.Probed layersNormed;

    private LensSession(ModelDirectory directory, Backend backend, PaliGemma.Limits limits, PaliGemma.Options options, RunListener listener,
            Arena arena) {
        this.directory = directory;
        this.arena = arena;
        model = directory.bind(arena, limits, options);
        first = lens(model.prefill(), model.decoderEmbeddings(), false, "lens.first");
        firstNormed = lens(first.program(), model.decoderEmbeddings(), true, "lens.first_normed");
        layers = lens(firstNormed.program(), model.decoderLayers(), false, "lens.layers");
        layersNormed = lens(layers.program(), model.decoderLayers(), true, "lens.layers_normed");
        List<Program> programs = List.of(model.encode(), layersNormed.program(), model.decode());
        executor = backend.prepare(model.weights(), programs, listener);
        run = new ModelRun(directory, model, executor, programs);
    }

    private Probes.Probed lens(Program program, PaliGemma.Stage stage, boolean normed, String name) {
        return Probes.lens(program, stage.segment(), stage.result(), (state, logits) -> model.readOut(state, logits, normed), vocabulary(), name);
    }

    private int vocabulary() {
        return directory.config().text().vocabularySize();
    }

    /** As {@link KnockoutSession#open}. */
    public static LensSession open(ModelDirectory directory, Backend backend, PaliGemma.Limits limits, PaliGemma.Options options,
            RunListener listener) {
        // Probabilities are read from the only row of the prompt's logits.
        PaliGemma.Options lastRow = options.withEveryRow(false);
        Session.requireFits(directory, backend, limits, lastRow);
        Arena arena = Arena.ofShared();
        try {
            return new LensSession(directory, backend, limits, lastRow, listener, arena);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
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
        PaliGemmaPrompt prompt = directory.prompt(inquiry.prompt());
        run.requireFits(prompt, inquiry.maxTokens());
        run.encode(inquiry.image());
        GreedyAnswer answer = GreedyAnswer.of(run, prompt, inquiry.maxTokens());
        float[] normed = joined(run.read(firstNormed.output()), run.read(layersNormed.output()));
        float[] raw = joined(run.read(first.output()), run.read(layers.output()));
        System.arraycopy(normed, normed.length - vocabulary(), raw, raw.length - vocabulary(), vocabulary());
        return new States(answer.text(), raw, normed, vocabulary());
    }

    private static float[] joined(float[] first, float[] rest) {
        float[] all = new float[first.length + rest.length];
        System.arraycopy(first, 0, all, 0, first.length);
        System.arraycopy(rest, 0, all, first.length, rest.length);
        return all;
    }

    @Override
    public void close() {
        try {
            executor.close();
        } finally {
            arena.close();
        }
    }
}

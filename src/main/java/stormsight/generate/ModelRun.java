package stormsight.generate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.Function;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.model.PaliGemma;
import stormsight.probe.Probe;
import stormsight.program.DType;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;
import stormsight.tokenizer.PaliGemmaPrompt;

/**
 * Runs a model's programs with probes in them, step by step, and reads what they made: for research, which cares for every value. A {@link Session}
 * is the way to an answer alone. Used by one thread. Closing it frees the executor, not the model's files and not the backend.
 */
public final class ModelRun implements Probe.Outputs, AutoCloseable {
    private final ModelDirectory directory;
    private final PaliGemma model;
    private final Executor executor;
    private final Arena arena;
    private final List<Probe> probes;
    private final Program encode;
    private final Program prefill;
    private final Program decode;

    /** Whether the executor knows which ids may be answered. */
    private boolean answerPartsWritten;

    private ModelRun(ModelDirectory directory, PaliGemma model, Executor executor, Arena arena, List<Probe> probes, List<Program> programs) {
        this.directory = directory;
        this.model = model;
        this.executor = executor;
        this.arena = arena;
        this.probes = probes;
        encode = programs.get(0);
        prefill = programs.get(1);
        decode = programs.get(2);
    }

    /**
     * Prepares a model with probes.
     *
     * @param limits longest prompt and answer of the runs to come
     * @param probes in the order in which they rewrite the programs
     * @throws LimitException if the limits pass the positions that the model knows
     * @throws BackendException if the device cannot hold or compile the model with its probes
     * @throws IllegalArgumentException if a probe asks for what the model does not have
     */
    public static ModelRun open(ModelDirectory directory, Backend backend, PaliGemma.Limits limits, PaliGemma.Options options,
            RunListener listener, List<? extends Probe> probes) {
        return open(directory, backend, limits, options, listener, List.copyOf(probes), model -> List.of(
                probed(model, Probe.Pass.ENCODE, probes), probed(model, Probe.Pass.PREFILL, probes), probed(model, Probe.Pass.DECODE, probes)));
    }

    /**
     * Prepares any programs made from a model's, for comparisons that run several variants of a pass.
     *
     * @param programs encode, prefill and decode, then any others
     */
    public static ModelRun open(ModelDirectory directory, Backend backend, PaliGemma.Limits limits, PaliGemma.Options options,
            Function<PaliGemma, List<Program>> programs) {
        return open(directory, backend, limits, options, RunListener.NONE, List.of(), programs);
    }

    private static ModelRun open(ModelDirectory directory, Backend backend, PaliGemma.Limits limits, PaliGemma.Options options,
            RunListener listener, List<Probe> probes, Function<PaliGemma, List<Program>> programs) {
        Session.requireFits(directory, backend, limits, options);
        Arena arena = Arena.ofShared();
        try {
            PaliGemma model = directory.bind(arena, limits, options);
            List<Program> prepared = programs.apply(model);
            return new ModelRun(directory, model, backend.prepare(model.weights(), prepared, listener), arena, probes, prepared);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    private static Program probed(PaliGemma model, Probe.Pass pass, List<? extends Probe> probes) {
        Program program = switch (pass) {
            case ENCODE -> model.encode();
            case PREFILL -> model.prefill();
            case DECODE -> model.decode();
        };
        for (Probe probe : probes) {
            program = probe.add(pass, program, model);
        }
        return program;
    }

    public PaliGemma model() {
        return model;
    }

    public ModelDirectory directory() {
        return directory;
    }

    /** Makes the features of an image, which stay for the prompts to come. */
    public void encode(RgbImage image) {
        encode(encode, image);
        probes.forEach(probe -> probe.read(Probe.Pass.ENCODE, this));
    }

    /** @param ids as {@link stormsight.program.Op.Embed} takes them; all of them see each other */
    public void prefill(int[] ids) {
        prefill(prefill, ids);
        probes.forEach(probe -> probe.read(Probe.Pass.PREFILL, this));
    }

    /**
     * @param position tokens before this one
     * @param prefixLength tokens of the prompt
     */
    public void decode(int id, int position, int prefixLength) {
        decode(decode, id, position, prefixLength);
        probes.forEach(probe -> probe.read(Probe.Pass.DECODE, this));
    }

    /**
     * Answers a prompt about the image that was encoded last, each time with the most probable token. Every token of the answer is read by decode,
     * the last one too, so that probes see all of them.
     *
     * @param maxTokens most tokens of the answer
     * @return the tokens without the one that ended the answer
     * @throws BackendException if logits are not numbers
     */
    public List<Integer> answer(PaliGemmaPrompt prompt, int maxTokens) {
        List<Integer> answer = new ArrayList<>();
        draw(prompt, maxTokens, (_, id) -> {
            if (!model.config().endIds().contains(id)) {
                answer.add(id);
            }
        });
        return answer;
    }

    /**
     * As {@link #answer}.
     *
     * @param listener hears each token as it is drawn, the one that ended the answer too, with the logits it was drawn from, which can be read then
     */
    public void draw(PaliGemmaPrompt prompt, int maxTokens, BiConsumer<Tensor, Integer> listener) {
        prefill(prompt.ids());
        Tensor logits = model.promptLogits();
        for (int drawn = 0; drawn < maxTokens; drawn++) {
            int id = token();
            if (id < 0) {
                throw new BackendException("logits are not numbers at token " + (drawn + 1)
                        + " of the answer: the weights are damaged or the device computes wrongly");
            }
            listener.accept(logits, id);
            if (model.config().endIds().contains(id)) {
                return;
            }
            decode(id, prompt.length() + drawn, prompt.length());
            logits = model.nextLogits();
        }
    }

    /** @throws LimitException if prompt and answer do not fit what was prepared */
    public void requireFits(PaliGemmaPrompt prompt, int maxTokens) {
        if (prompt.length() > model.limits().promptTokens() || maxTokens > model.limits().newTokens()) {
            throw new LimitException("a prompt of " + prompt.length() + " tokens and an answer of up to " + maxTokens
                    + ", the session takes " + model.limits().promptTokens() + " and " + model.limits().newTokens());
        }
    }

    public void encode(Program program, RgbImage image) {
        try (Arena local = Arena.ofConfined()) {
            MemorySegment patches = local.allocate(model.patches().bytes());
            directory.preprocessing().writePatches(image, directory.config().vision().patchSize(), patches);
            executor.write(model.patches(), patches);
        }
        int tokens = directory.config().vision().tokens();
        executor.run(program, new Step(0, tokens, tokens));
    }

    public void prefill(Program program, int[] ids) {
        if (!answerPartsWritten) {
            executor.write(model.answerParts(), directory.answerParts());
            answerPartsWritten = true;
        }
        write(model.promptIds(), ids);
        executor.run(program, new Step(0, ids.length, ids.length));
    }

    public void decode(Program program, int id, int position, int prefixLength) {
        write(model.nextId(), new int[] {id});
        executor.run(program, new Step(position, 1, prefixLength));
    }

    /** The token that the last prefill or decode chose, -1 if its logits are not numbers. */
    public int token() {
        try (Arena local = Arena.ofConfined()) {
            MemorySegment token = local.allocate(DType.I32.elementBytes());
            executor.read(model.token(), token);
            return token.get(ValueLayout.JAVA_INT, 0);
        }
    }

    @Override
    public float[] read(Tensor output) {
        try (Arena local = Arena.ofConfined()) {
            MemorySegment data = local.allocate(output.bytes());
            executor.read(output, data);
            return data.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    /** Writes an I32 input that a probe added. */
    public void write(Tensor input, int[] values) {
        try (Arena local = Arena.ofConfined()) {
            executor.write(input, local.allocateFrom(ValueLayout.JAVA_INT, values));
        }
    }

    /** Writes a U8 input that a probe added. */
    public void write(Tensor input, byte[] values) {
        try (Arena local = Arena.ofConfined()) {
            executor.write(input, local.allocateFrom(ValueLayout.JAVA_BYTE, values));
        }
    }

    @Override
    public void close() {
        try (arena) {
            executor.close();
        }
    }
}

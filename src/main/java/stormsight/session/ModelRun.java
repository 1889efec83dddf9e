package stormsight.session;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import stormsight.backend.Executor;
import stormsight.image.RgbImage;
import stormsight.model.PaliGemma;
import stormsight.program.DType;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** Runs a model's programs, or rewrites of them, one by one and reads what they made: for comparisons, which care for every value and not for speed. */
final class ModelRun {
    private final Arena arena;
    private final ModelDirectory directory;
    private final PaliGemma model;
    private final Executor executor;

    /** @param arena owns the copies of all inputs */
    ModelRun(Arena arena, ModelDirectory directory, PaliGemma model, Executor executor) {
        this.arena = arena;
        this.directory = directory;
        this.model = model;
        this.executor = executor;
    }

    void encode(Program program, RgbImage image) {
        MemorySegment patches = arena.allocate(model.patches().bytes());
        directory.preprocessing().writePatches(image, directory.config().vision().patchSize(), patches);
        executor.write(model.patches(), patches);
        int tokens = directory.config().vision().tokens();
        executor.run(program, new Step(0, tokens, tokens));
    }

    /** @param ids as {@link stormsight.program.Op.Embed} takes them; all of them see each other */
    void prefill(Program program, int[] ids) {
        write(model.promptIds(), ids);
        executor.run(program, new Step(0, ids.length, ids.length));
    }

    void decode(Program program, int id, int position, int prefixLength) {
        write(model.nextId(), new int[] {id});
        executor.run(program, new Step(position, 1, prefixLength));
    }

    /** The token that the last prefill or decode chose. */
    int token() {
        try (Arena local = Arena.ofConfined()) {
            MemorySegment token = local.allocate(DType.I32.elementBytes());
            executor.read(model.token(), token);
            return token.get(ValueLayout.JAVA_INT, 0);
        }
    }

    /** All values of an F32 output. */
    float[] read(Tensor output) {
        try (Arena local = Arena.ofConfined()) {
            MemorySegment data = local.allocate(output.bytes());
            executor.read(output, data);
            return data.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    void write(Tensor input, int[] values) {
        executor.write(input, arena.allocateFrom(ValueLayout.JAVA_INT, values));
    }

    void write(Tensor input, byte[] values) {
        executor.write(input, arena.allocateFrom(ValueLayout.JAVA_BYTE, values));
    }
}

package stormsight.match;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.backend.StartUp;
import stormsight.checkpoint.HostTensor;
import stormsight.model.Encoding;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * Encodings prepared on a backend, run one image or text at a time. Used by one thread. Closing it does not close the
 * backend.
 */
public final class Towers implements AutoCloseable {
    private final Executor executor;

    /**
     * @param weights bound; must stay valid until this is closed
     * @throws BackendException if the device cannot hold or compile them
     */
    public Towers(Weights weights, List<Encoding> encodings, Backend backend, RunListener listener) {
        List<Program> programs = encodings.stream().map(Encoding::program).toList();
        Set<Tensor> named = new HashSet<>();
        programs.forEach(program -> named.addAll(program.tensors()));
        Map<Tensor, HostTensor> values = weights.values().entrySet().stream()
                .filter(entry -> named.contains(entry.getKey()))
                .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue));
        executor = backend.prepare(values, programs, listener);
    }

    /**
     * What an encoding makes of an image.
     *
     * @param views one
     * @return the columns of its output
     */
    public float[] image(Encoding encoding, Views views) {
        Tensor input = encoding.pass().input();
        try (Arena local = Arena.ofConfined()) {
            MemorySegment patches = local.allocate(input.bytes(), 64);
            views.write(0, patches);
            return patches(encoding, patches);
        }
    }

    /** The same of patches as {@link Views#write} writes them. */
    public float[] patches(Encoding encoding, MemorySegment patches) {
        return run(encoding, patches, encoding.pass().input().rows());
    }

    /** As {@link Executor#roundsActivations}. */
    public boolean roundsActivations() {
        return executor.roundsActivations();
    }

    /** Where the time of preparing the backend went, if it says so. */
    public Optional<StartUp> startUp() {
        return executor.startUp();
    }

    /** What an encoding makes of the ids of a text. */
    public float[] text(Encoding encoding, int[] ids) {
        try (Arena local = Arena.ofConfined()) {
            return run(encoding, local.allocateFrom(ValueLayout.JAVA_INT, ids), ids.length);
        }
    }

    private float[] run(Encoding encoding, MemorySegment input, int rows) {
        executor.write(encoding.pass().input(), input);
        executor.run(encoding.program(), encoding.step(rows));
        return read(encoding.pass().output());
    }

    /** All values of an F32 output, layers of a stack one after the other. */
    public float[] read(Tensor output) {
        try (Arena local = Arena.ofConfined()) {
            MemorySegment data = local.allocate(output.bytes());
            executor.read(output, data);
            return data.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    /**
     * The values themselves.
     *
     * @param what one of them is
     * @throws BackendException if one is not a number
     */
    static float[] checked(float[] values, String what) {
        for (float value : values) {
            if (!Float.isFinite(value)) {
                throw new BackendException(
                        what + " is not a number: the weights are damaged or the device computes wrongly");
            }
        }
        return values;
    }

    @Override
    public void close() {
        executor.close();
    }
}

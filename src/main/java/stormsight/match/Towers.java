package stormsight.match;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
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
 * Encodings prepared on a backend, run for one image or text, or for several in one run. Used by one thread. Closing it
 * does not close the backend.
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

    /**
     * What an encoding makes of images in one run.
     *
     * @param images views of each, one each; at most as many as the encoding takes together
     * @return the columns of each image's row
     */
    public float[][] images(Encoding encoding, List<Views> images) {
        Tensor input = encoding.pass().input();
        long each = input.bytes() / encoding.together();
        try (Arena local = Arena.ofConfined()) {
            MemorySegment patches = local.allocate(input.bytes(), 64);
            for (int i = 0; i < images.size(); i++) {
                images.get(i).write(0, patches.asSlice(i * each, each));
            }
            return rows(encoding, run(encoding, patches, images.size() * encoding.rows()), images.size());
        }
    }

    private static float[][] rows(Encoding encoding, float[] all, int count) {
        int columns = encoding.pass().output().columns();
        return IntStream.range(0, count)
                .mapToObj(i -> Arrays.copyOfRange(all, i * columns, (i + 1) * columns))
                .toArray(float[][]::new);
    }

    /** The same as {@link #image} of patches as {@link Views#write} writes them. */
    public float[] patches(Encoding encoding, MemorySegment patches) {
        return run(encoding, patches, encoding.rows());
    }

    /** As {@link Executor#roundsActivations}. */
    public boolean roundsActivations() {
        return executor.roundsActivations();
    }

    /** Where the time of preparing the backend went, if it says so. */
    public Optional<StartUp> startUp() {
        return executor.startUp();
    }

    /** What an encoding that takes one text makes of its ids. */
    public float[] text(Encoding encoding, int[] ids) {
        try (Arena local = Arena.ofConfined()) {
            return run(encoding, local.allocateFrom(ValueLayout.JAVA_INT, ids), ids.length);
        }
    }

    /**
     * What an encoding makes of the ids of texts in one run.
     *
     * @param texts at most as many as the encoding takes together; of several, each has as many ids as it has rows
     */
    public float[][] texts(Encoding encoding, List<int[]> texts) {
        if (encoding.together() == 1) {
            return texts.stream().map(ids -> text(encoding, ids)).toArray(float[][]::new);
        }
        int[] ids = texts.stream().flatMapToInt(Arrays::stream).toArray();
        try (Arena local = Arena.ofConfined()) {
            MemorySegment input = local.allocate(encoding.pass().input().bytes(), 64);
            MemorySegment.copy(ids, 0, input, ValueLayout.JAVA_INT, 0, ids.length);
            return rows(encoding, run(encoding, input, ids.length), texts.size());
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

package stormsight.generate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.HostTensor;
import stormsight.checkpoint.Npz;
import stormsight.checkpoint.NumpyArray;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * Makes masks of the codes that PaliGemma answers with: the decoder of a VQ-VAE, whose 16 codes are the corners of a
 * picture of 4 x 4 vectors. A residual tower of convolutions works on that, then four transposed ones double its side
 * each.
 *
 * <p>A convolution is a {@link Op.Gather} of each place's neighbours and a product. A transposed one of 4 x 4 with
 * stride 2 reads the same 3 x 3 neighbours and makes four places of each: they stand side by side in a row, and the
 * next gather knows where.
 *
 * <p>Used by one thread.
 *
 * @see <a href="https://github.com/google-research/big_vision">big_vision, vae-oid.npz</a>
 */
public final class MaskDecoder implements AutoCloseable {
    private static final int CODEBOOK = 128;
    /** Of the picture that the codes make. */
    private static final int SIDE = 4;
    private static final int KERNEL = 3;
    private static final int NEIGHBOURS = KERNEL * KERNEL;
    /** Of transposed convolutions. */
    private static final int TRANSPOSED_KERNEL = 4;
    /** Places that a transposed convolution makes of one. */
    private static final int MADE = 4;

    private static final int[] BLOCKS = {2, 3};
    private static final int[] DOUBLING = {4, 6, 8, 10};

    private final Executor executor;
    private final Arena arena;
    private final Program program;
    private final Tensor codes;
    private final Tensor output;

    private MaskDecoder(Executor executor, Arena arena, Program program, Tensor codes, Tensor output) {
        this.executor = executor;
        this.arena = arena;
        this.program = program;
        this.codes = codes;
        this.output = output;
    }

    /**
     * Prepares the decoder on a backend.
     *
     * @throws CheckpointException naming file and array if it is not such a file
     * @throws stormsight.backend.BackendException if the device cannot hold or compile it
     */
    public static MaskDecoder open(Path file, Backend backend) {
        Arena arena = Arena.ofShared();
        try {
            Writer writer = new Writer(arena);
            try (Npz npz = Npz.open(file)) {
                writer.write(npz);
            }
            Executor executor = backend.prepare(writer.weights, List.of(writer.program()), RunListener.NONE);
            writer.places.forEach((tensor, values) -> executor.write(tensor, MemorySegment.ofArray(values)));
            return new MaskDecoder(executor, arena, writer.program(), writer.codes, writer.output);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Looks whether a file is a mask decoder.
     *
     * @throws CheckpointException naming file and array if it is not
     */
    public static void check(Path file) {
        try (Arena arena = Arena.ofConfined(); Npz npz = Npz.open(file)) {
            new Writer(arena).write(npz);
        }
    }

    /**
     * Decodes a mask.
     *
     * @param chosen {@link Detections#CODES} codes, row by row
     * @throws IllegalArgumentException if there are more or fewer, or one is none of the decoder's
     */
    public MaskMap decode(List<Integer> chosen) {
        if (chosen.size() != Detections.CODES || chosen.stream().anyMatch(code -> code < 0 || code >= CODEBOOK)) {
            throw new IllegalArgumentException("codes " + chosen);
        }
        executor.write(codes, MemorySegment.ofArray(chosen.stream().mapToInt(Integer::intValue).toArray()));
        executor.run(program, new Step(0, output.rows(), 0));
        float[] values = new float[MaskMap.SIDE * MaskMap.SIDE];
        executor.read(output, MemorySegment.ofArray(values));
        return new MaskMap(values);
    }

    @Override
    public void close() {
        try (arena) {
            executor.close();
        }
    }

    /** Writes the program, and the weights as its products read them. */
    private static final class Writer {
        private final Arena arena;
        private final Map<Tensor, HostTensor> weights = new LinkedHashMap<>();
        /** Which rows each gather takes. */
        private final Map<Tensor, int[]> places = new LinkedHashMap<>();
        private final List<Op> ops = new ArrayList<>();
        private final Tensor codes =
                new Tensor("masks.codes", DType.I32, Shape.of(Detections.CODES, 1), Tensor.Kind.INPUT, 1);
        private Tensor output;

        Writer(Arena arena) {
            this.arena = arena;
        }

        Program program() {
            return new Program("masks", List.of(Segment.once("masks", ops)));
        }

        void write(Npz npz) {
            NumpyArray codebook = npz.array("_vq_vae._embedding", CODEBOOK, 0);
            int embedded = codebook.shape()[1];
            Tensor x = Tensor.activation("masks.embedded", SIDE * SIDE, embedded);
            ops.add(new Op.Gather(
                    weight("masks._vq_vae._embedding", codebook.values(), CODEBOOK, embedded), codes, x));
            int channels = npz.array("decoder.0.weight", 0, embedded, 1, 1).shape()[0];
            x = convolution(npz, "decoder.0", x, embedded, channels, Op.Activation.RELU, Optional.empty());
            Tensor neighbours = places("masks.neighbours4", SIDE, false, 1);
            for (int block : BLOCKS) {
                String net = "decoder." + block + ".net.";
                Tensor inner = convolution(npz, net + "0", gathered(x, neighbours, channels), channels, channels,
                        Op.Activation.RELU, Optional.empty());
                inner = convolution(npz, net + "2", gathered(inner, neighbours, channels), channels, channels,
                        Op.Activation.RELU, Optional.empty());
                x = convolution(npz, net + "4", inner, channels, channels, Op.Activation.NONE, Optional.of(x));
            }
            int side = SIDE;
            for (int layer : DOUBLING) {
                if (layer != DOUBLING[0]) {
                    neighbours = places("masks.neighbours" + side, side, true, 1);
                }
                x = doubled(npz, "decoder." + layer, gathered(x, neighbours, channels), channels);
                channels = x.columns() / MADE;
                side *= 2;
            }
            Tensor rows = gathered(x, places("masks.rows", side, true, 0), channels);
            convolution(npz, "decoder.12", rows, channels, 1, Op.Activation.NONE, Optional.empty());
        }

        private Tensor gathered(Tensor x, Tensor index, int channels) {
            Tensor out = Tensor.activation(x.name() + ".around", index.rows(), index.columns() * channels);
            ops.add(new Op.Gather(x, index, out));
            return out;
        }

        /** A convolution of as many places as x holds side by side. */
        private Tensor convolution(
                Npz npz, String name, Tensor x, int in, int out, Op.Activation activation, Optional<Tensor> residual) {
            int kernel = x.columns() == in ? 1 : KERNEL;
            float[] stored = npz.array(name + ".weight", out, in, kernel, kernel).values();
            int around = kernel * kernel;
            float[] rows = new float[stored.length];
            for (int o = 0; o < out; o++) {
                for (int i = 0; i < in; i++) {
                    for (int place = 0; place < around; place++) {
                        rows[(o * around + place) * in + i] = stored[(o * in + i) * around + place];
                    }
                }
            }
            return product(name, x, rows, npz.array(name + ".bias", out).values(), activation, residual);
        }

        /**
         * A transposed convolution with stride 2 and padding 1, which makes the places (2 y + a, 2 x + b) of each
         * (y, x): neighbour (y + dy, x + dx) is multiplied with the kernel at (a + 1 - 2 dy, b + 1 - 2 dx).
         *
         * @return four places a row, in the order of a, b
         */
        private Tensor doubled(Npz npz, String name, Tensor x, int in) {
            NumpyArray stored = npz.array(name + ".weight", in, 0, TRANSPOSED_KERNEL, TRANSPOSED_KERNEL);
            int out = stored.shape()[1];
            float[] rows = new float[MADE * out * NEIGHBOURS * in];
            float[] given = npz.array(name + ".bias", out).values();
            float[] bias = new float[MADE * out];
            for (int row = 0; row < MADE * out; row++) {
                int a = row / out / 2;
                int b = row / out % 2;
                int o = row % out;
                bias[row] = given[o];
                for (int place = 0; place < NEIGHBOURS; place++) {
                    int ky = a + 1 - 2 * (place / KERNEL - 1);
                    int kx = b + 1 - 2 * (place % KERNEL - 1);
                    if (ky < 0 || ky >= TRANSPOSED_KERNEL || kx < 0 || kx >= TRANSPOSED_KERNEL) {
                        continue;
                    }
                    for (int i = 0; i < in; i++) {
                        rows[(row * NEIGHBOURS + place) * in + i] = stored.values()[
                                ((i * out + o) * TRANSPOSED_KERNEL + ky) * TRANSPOSED_KERNEL + kx];
                    }
                }
            }
            return product(name, x, rows, bias, Op.Activation.RELU, Optional.empty());
        }

        private Tensor product(String name, Tensor x, float[] rows, float[] bias, Op.Activation activation,
                Optional<Tensor> residual) {
            Tensor out = new Tensor(
                    "masks." + name,
                    DType.F32,
                    Shape.of(x.rows(), bias.length),
                    bias.length == 1 ? Tensor.Kind.OUTPUT : Tensor.Kind.ACTIVATION,
                    1);
            ops.add(new Op.MatMul(
                    x,
                    weight("masks." + name + ".weight", rows, bias.length, x.columns()),
                    Optional.of(weight("masks." + name + ".bias", bias, bias.length)),
                    activation,
                    residual,
                    out));
            output = out;
            return out;
        }

        private Tensor weight(String name, float[] values, int... shape) {
            Tensor tensor = Tensor.weight(name, DType.F32, Shape.of(shape));
            MemorySegment data = arena.allocate(tensor.bytes(), 64);
            MemorySegment.copy(values, 0, data, ValueLayout.JAVA_FLOAT, 0, values.length);
            weights.put(tensor, HostTensor.of(DType.F32, tensor.shape(), data));
            return tensor;
        }

        /**
         * The places around each place of a square picture, -1 for those outside.
         *
         * @param doubled whether four places stand in a row, as {@link #doubled} leaves them
         * @param reach 1 for 3 x 3 places, 0 for the place itself
         */
        private Tensor places(String name, int side, boolean doubled, int reach) {
            int kernel = 2 * reach + 1;
            int[] index = new int[side * side * kernel * kernel];
            for (int i = 0; i < index.length; i++) {
                int place = i / (kernel * kernel);
                int y = place / side + i % (kernel * kernel) / kernel - reach;
                int x = place % side + i % kernel - reach;
                index[i] = y < 0 || y >= side || x < 0 || x >= side ? -1
                        : doubled ? (y / 2 * (side / 2) + x / 2) * MADE + y % 2 * 2 + x % 2 : y * side + x;
            }
            Tensor tensor =
                    new Tensor(name, DType.I32, Shape.of(side * side, kernel * kernel), Tensor.Kind.INPUT, 1);
            places.put(tensor, index);
            return tensor;
        }
    }
}

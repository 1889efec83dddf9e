package stormsight.bench;

import java.io.ByteArrayInputStream;
import java.util.Collection;
import java.util.Optional;
import stormsight.backend.Backend;
import stormsight.backend.StartUp;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Views;
import stormsight.program.DType;
import stormsight.program.OpCost;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * A model on a backend whose parts run one at a time and are timed from outside the backend: until the result is where
 * the host can read it. Everything that a part needs beside its own input is made before its clock starts.
 */
sealed interface Measured extends AutoCloseable permits MeasuredModel, MeasuredEncoder {
    /**
     * The beginning of a first answer or embedding, in nanoseconds.
     *
     * @param open reading the model and preparing the backend, start-up included
     * @param image file to patches
     * @param prefill waiting for the tokenizer included; 0 where there is none
     * @param compilers time that the JVM's compilers took until then, beside the rest and in threads of their own
     * @param first what came out, see {@link Measured#first}
     */
    record Cold(
            long open, Optional<StartUp> startUp, long image, long encode, long prefill, long compilers, int first) {}

    Configuration configuration();

    Backend backend();

    Picture picture();

    /** As people name the model. */
    String family();

    /** Elements of all weights. */
    long parameters();

    /** The type that most bytes of the weights have, as they are held. */
    DType dtype();

    /** Whether products round what they read, so that results are compared less closely. */
    boolean roundsActivations();

    /** The picture, decoded when it is first asked for. */
    RgbImage pixels();

    /** Of the picture, made when they are first asked for. */
    Views views();

    /** The patches of the picture's first view as they are timed, [rows, 3 * patchSize * patchSize]. */
    float[] patches();

    /**
     * Runs a part once.
     *
     * @return nanoseconds
     * @throws stormsight.backend.BackendException if the device fails or computes something that is not a number
     */
    long time(Trial trial);

    /** What a part that runs on the backend computes. */
    float[] result(Trial trial);

    /** Floating-point operations of computing that. */
    double operations(Trial trial);

    /** The same model on another backend, to compare with. */
    Measured on(String otherBackend);

    /** The id of the first token of an answer about the picture, or a checksum of the picture's embedding. */
    int first();

    /** As {@link #first}, part by part, in a process in which nothing ran before. */
    Cold cold();

    @Override
    void close();

    default RgbImage decode() {
        return new ImageDecoder().decode(new ByteArrayInputStream(picture().file()), picture().name());
    }

    static long timed(Runnable part) {
        long start = System.nanoTime();
        part.run();
        return System.nanoTime() - start;
    }

    /** The type that most bytes of weights have. */
    static DType dtype(Collection<Tensor> weights) {
        return weights.stream().map(Tensor::dtype).distinct()
                .max((a, b) -> Long.compare(bytes(weights, a), bytes(weights, b))).orElseThrow();
    }

    private static long bytes(Collection<Tensor> weights, DType dtype) {
        return weights.stream().filter(tensor -> tensor.dtype() == dtype).mapToLong(Tensor::bytes).sum();
    }

    static double operations(Program program, Step step) {
        double operations = 0;
        for (Segment segment : program.segments()) {
            operations += segment.layers()
                    * segment.ops().stream()
                            .mapToDouble(op -> OpCost.of(op, step).operations())
                            .sum();
        }
        return operations;
    }
}

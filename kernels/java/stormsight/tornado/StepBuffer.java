package stormsight.tornado;

import java.util.List;
import stormsight.program.Step;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/**
 * All that changes between two runs of a program, as kernels see it: {@link Step} and the layer that is running. It is
 * sent once a run; its layer counts up on the device.
 */
public final class StepBuffer {
    /** 0 if all rows are of one sequence, 1 if each row is one of its own. */
    private static final int MANY = 0;
    /**
     * {@link Step#rows()}, not limited to any tensor's capacity; 0 while a graph is being compiled: then nothing may be
     * read or written.
     */
    public static final int ROWS = 1;
    /** Index of the running layer into the arrays of stacks. */
    public static final int LAYER = 2;
    /**
     * Index of the running layer in the model; differs from {@link #LAYER} where a stack was split over several arrays.
     */
    public static final int LAYER_NUMBER = 3;
    /** From here on: numbers of each sequence. */
    private static final int FIRST = 4;
    private static final int POSITION = 0;
    private static final int PREFIX = 1;
    private static final int SLOT = 2;
    private static final int TOP_K = 3;
    /** How many of them. */
    private static final int NUMBERS = 4;

    private static final int TEMPERATURE = 0;
    private static final int TOP_P = 1;
    private static final int COIN = 2;

    private final IntArray ints;
    private final FloatArray floats;

    /** @param sequences most sequences of a step */
    StepBuffer(int sequences) {
        ints = new IntArray(FIRST + NUMBERS * sequences);
        floats = new FloatArray(NUMBERS * sequences);
    }

    IntArray ints() {
        return ints;
    }

    FloatArray floats() {
        return floats;
    }

    /** How many sequences there are. */
    public static int sequences(IntArray step) {
        return step.get(MANY) * (step.get(ROWS) - 1) + TornadoMath.min(step.get(ROWS), 1);
    }

    private static int numbers(IntArray step, int row) {
        return FIRST + step.get(MANY) * row * NUMBERS;
    }

    /** Tokens that are in the cache of a row's sequence. */
    public static int position(IntArray step, int row) {
        return step.get(numbers(step, row) + POSITION);
    }

    /** {@link Step#token}: the place of a row in its sequence. */
    public static int token(IntArray step, int row) {
        return step.get(numbers(step, row) + POSITION) + (1 - step.get(MANY)) * row;
    }

    /** Tokens of a row's sequence at the end of the run. */
    public static int tokens(IntArray step, int row) {
        return step.get(numbers(step, row) + POSITION) + step.get(MANY)
                + (1 - step.get(MANY)) * step.get(ROWS);
    }

    /** Tokens that every token of a row's sequence sees. */
    public static int prefix(IntArray step, int row) {
        return step.get(numbers(step, row) + PREFIX);
    }

    /** The slot of a row's sequence. */
    public static int slot(IntArray step, int row) {
        return step.get(numbers(step, row) + SLOT);
    }

    /** The last row of a sequence, of at most {@code capacity} rows. */
    public static int last(IntArray step, int sequence, int capacity) {
        return step.get(MANY) * sequence + (1 - step.get(MANY)) * (TornadoMath.min(step.get(ROWS), capacity) - 1);
    }

    /** {@link stormsight.program.Sampling#topK()}. */
    public static int topK(IntArray step, int sequence) {
        return step.get(FIRST + sequence * NUMBERS + TOP_K);
    }

    /** {@link stormsight.program.Sampling#temperature()} from {@link Tasks#sampling()}; 0 is greedy. */
    public static float temperature(FloatArray sampling, int sequence) {
        return sampling.get(sequence * NUMBERS + TEMPERATURE);
    }

    public static float topP(FloatArray sampling, int sequence) {
        return sampling.get(sequence * NUMBERS + TOP_P);
    }

    public static float coin(FloatArray sampling, int sequence) {
        return sampling.get(sequence * NUMBERS + COIN);
    }

    /** Makes the next run one of no rows, which compiles and does nothing. */
    void clear() {
        ints.clear();
        floats.clear();
    }

    /**
     * @param layer first layer that runs, as {@link #LAYER}
     * @param layerNumber the same as {@link #LAYER_NUMBER}
     */
    void set(Step step, int layer, int layerNumber) {
        List<Step.Sequence> sequences = step.sequences();
        ints.set(MANY, sequences.size() > 1 ? 1 : 0);
        ints.set(ROWS, step.rows());
        ints.set(LAYER, layer);
        ints.set(LAYER_NUMBER, layerNumber);
        for (int i = 0; i < sequences.size(); i++) {
            Step.Sequence sequence = sequences.get(i);
            int numbers = FIRST + i * NUMBERS;
            ints.set(numbers + POSITION, sequence.position());
            ints.set(numbers + PREFIX, sequence.prefixLength());
            ints.set(numbers + SLOT, sequence.slot());
            ints.set(numbers + TOP_K, sequence.sampling().topK());
            floats.set(i * NUMBERS + TEMPERATURE, sequence.sampling().temperature());
            floats.set(i * NUMBERS + TOP_P, sequence.sampling().topP());
            floats.set(i * NUMBERS + COIN, sequence.coin());
        }
    }
}

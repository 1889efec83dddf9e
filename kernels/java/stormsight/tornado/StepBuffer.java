package stormsight.tornado;

import stormsight.program.Step;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/**
 * All that changes between two runs of a program, as kernels see it: {@link Step} and the layer that is running. It is
 * sent once a run; its layer counts up on the device.
 */
public final class StepBuffer {
    /** {@link Step#position()}. */
    public static final int POSITION = 0;
    /**
     * {@link Step#rows()}, not limited to any tensor's capacity; 0 while a graph is being compiled: then nothing may be
     * read or written.
     */
    public static final int ROWS = 1;
    /** {@link Step#prefixLength()}. */
    public static final int PREFIX = 2;
    /** Index of the running layer into the arrays of stacks. */
    public static final int LAYER = 3;
    /**
     * Index of the running layer in the model; differs from {@link #LAYER} where a stack was split over several arrays.
     */
    public static final int LAYER_NUMBER = 4;
    /** {@link stormsight.program.Sampling#topK()}. */
    public static final int TOP_K = 5;
    static final int INTS = 8;

    /** Slots of {@link Tasks#sampling()}; temperature 0 is greedy. */
    public static final int TEMPERATURE = 0;
    public static final int TOP_P = 1;
    public static final int COIN = 2;
    static final int FLOATS = 4;

    private final IntArray ints = new IntArray(INTS);
    private final FloatArray floats = new FloatArray(FLOATS);

    IntArray ints() {
        return ints;
    }

    FloatArray floats() {
        return floats;
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
        ints.set(POSITION, step.position());
        ints.set(ROWS, step.rows());
        ints.set(PREFIX, step.prefixLength());
        ints.set(LAYER, layer);
        ints.set(LAYER_NUMBER, layerNumber);
        ints.set(TOP_K, step.sampling().topK());
        floats.set(TEMPERATURE, step.sampling().temperature());
        floats.set(TOP_P, step.sampling().topP());
        floats.set(COIN, step.coin());
    }
}

package stormsight.tornado.kernel;

import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/** Kernels that compute nothing: what a graph needs beside its operations. */
public final class Control {
    public static final Geometry ONE_ITEM = Geometry.groups(1, 1);

    private Control() {}

    /** Stands in graphs that only send: a graph without a task cannot be built. */
    public static void nothing(KernelContext context, IntArray anchor) {
        if (context.globalIdx == 0) {
            anchor.set(0, 0);
        }
    }

    /**
     * Goes on to the next layer: the one after the running layer while that is below {@code end}, then {@code next}.
     *
     * @param end layer after the last of a loop, as an index into the arrays of stacks
     * @param nextNumber index of the layer {@code next} in the model
     */
    public static void advance(KernelContext context, IntArray step, int end, int next, int nextNumber) {
        if (context.globalIdx == 0) {
            int layer = step.get(StepBuffer.LAYER) + 1;
            int number = step.get(StepBuffer.LAYER_NUMBER) + 1;
            if (layer >= end) {
                layer = next;
                number = nextNumber;
            }
            step.set(StepBuffer.LAYER, layer);
            step.set(StepBuffer.LAYER_NUMBER, number);
        }
    }
}

package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import stormsight.program.Op;
import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/** Rotary position embeddings from a table of angles. */
public final class Rope {
    private static final int GROUP = 64;

    private Rope() {}

    public static void lower(Op.Rope op, Tasks tasks) {
        int pairOffset = op.headDim() / 2;
        int pairs = op.heads() * pairOffset;
        int capacity = op.x().rows();
        tasks.task("rope", Geometry.items(Math.multiplyExact(capacity, pairs), GROUP),
                name -> createPackage(name, Rope::rope, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.floats(op.table()), tasks.stride(op.x()), tasks.stride(op.table()), capacity, pairs,
                        pairOffset));
    }

    /**
     * Rotates the pair (c, c + headDim/2) of a head of row i by the angle of token {@code position + i}. An item
     * handles one pair.
     */
    public static void rope(KernelContext context, IntArray step, FloatArray x, FloatArray table, int xStride,
            int tableStride, int capacity, int pairs, int pairOffset) {
        int item = context.globalIdx;
        int row = item / pairs;
        if (row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int pair = item % pairs;
            int c = pair % pairOffset;
            int layer = step.get(StepBuffer.LAYER);
            int angle = layer * tableStride + StepBuffer.token(step, row) * 2 * pairOffset + c;
            int first = layer * xStride + row * 2 * pairs + pair / pairOffset * 2 * pairOffset + c;
            float cos = table.get(angle);
            float sin = table.get(angle + pairOffset);
            float a = x.get(first);
            float b = x.get(first + pairOffset);
            x.set(first, a * cos - b * sin);
            x.set(first + pairOffset, b * cos + a * sin);
        }
    }
}

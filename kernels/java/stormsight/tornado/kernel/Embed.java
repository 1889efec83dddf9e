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
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/** Rows of a table, or of image features, by id. */
public final class Embed {
    private static final int GROUP = 64;

    private Embed() {}

    public static void lower(Op.Embed op, Tasks tasks) {
        Weight table = Weight.of(op.table(), tasks);
        FloatArray features = op.features().map(tasks::floats).orElse(tasks.none());
        int featuresStride = op.features().map(tasks::stride).orElse(0);
        if (op.positions().filter(positions -> positions.layers() > 1).isPresent()) {
            throw new IllegalArgumentException(op.positions().get() + " differs between layers");
        }
        FloatArray positions = op.positions().map(tasks::floats).orElse(tasks.none());
        int columns = op.out().columns();
        int capacity = op.out().rows();
        tasks.task("embed" + Weight.suffix(op.table().dtype()), Geometry.items(Math.multiplyExact(capacity, columns),
                GROUP),
                name -> createPackage(name, Embed::embed, tasks.context(), tasks.step(), tasks.ints(op.ids()),
                        table.f32(), table.words(), table.factors(), features, positions, tasks.floats(op.out()),
                        table.type(), table.stride(), table.factorStride(), featuresStride, tasks.stride(op.out()),
                        capacity, columns, op.scale(), op.positions().isPresent() ? 1 : 0));
    }

    /**
     * {@code out[i, c] = scale * table[id, c]}, or {@code features[-1 - id, c]} for a negative id,
     * {@code + positions[position + i, c]}. An item handles one element.
     */
    public static void embed(KernelContext context, IntArray step, IntArray ids, FloatArray f32, LongArray words,
            FloatArray factors, FloatArray features, FloatArray positions, FloatArray out, int type, int stride,
            int factorStride, int featuresStride, int outStride, int capacity, int columns, float scale,
            int hasPositions) {
        int item = context.globalIdx;
        int row = item / columns;
        if (row < TornadoMath.min(step.get(StepBuffer.ROWS), capacity)) {
            int column = item % columns;
            int layer = step.get(StepBuffer.LAYER);
            int id = ids.get(row);
            float value;
            if (id < 0) {
                value = features.get(layer * featuresStride + (-1 - id) * columns + column);
            } else {
                int scalesPerRow = Weight.scalesPerRow(type, columns);
                value = scale * Weight.at(type, f32, words, factors, layer * stride + id * columns + column,
                        layer * factorStride + id * scalesPerRow + column / Weight.block(type));
            }
            if (hasPositions == 1) {
                value += positions.get(StepBuffer.token(step, row) * columns + column);
            }
            out.set(layer * outStride + item, value);
        }
    }
}

package stormsight.tornado.kernel;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import java.util.List;
import stormsight.program.Op;
import stormsight.program.Tensor;
import stormsight.tornado.Geometry;
import stormsight.tornado.StepBuffer;
import stormsight.tornado.Tasks;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/** Operations that move rows or change single elements. */
public final class Rows {
    private static final int GROUP = 64;

    private Rows() {}

    public static void lower(Op.Store op, Tasks tasks) {
        int columns = op.x().columns();
        int capacity = op.x().rows();
        tasks.task("store", items(op.x()),
                name -> createPackage(name, Rows::store, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.floats(op.cache()), tasks.stride(op.x()), tasks.stride(op.cache()),
                        tasks.slotStride(op.cache()), capacity, columns));
    }

    public static void lower(Op.Copy op, Tasks tasks) {
        tasks.task("copy", items(op.out()),
                name -> createPackage(name, Rows::copy, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.floats(op.out()), tasks.stride(op.x()), tasks.stride(op.out()), op.rows(),
                        op.out().columns()));
    }

    public static void lower(Op.Gather op, Tasks tasks) {
        if (op.index().layers() > 1) {
            throw new IllegalArgumentException(op.index() + " differs between layers");
        }
        tasks.task("gather", items(op.out()),
                name -> createPackage(name, Rows::gather, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.ints(op.index()), tasks.floats(op.out()), tasks.stride(op.x()), tasks.stride(op.out()),
                        op.out().rows(), op.out().columns(), op.columns()));
    }

    public static void lower(Op.LastRow op, Tasks tasks) {
        tasks.task("lastRow", items(op.out()),
                name -> createPackage(name, Rows::lastRow, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.floats(op.out()), tasks.stride(op.x()), tasks.stride(op.out()), op.x().rows(),
                        op.out().columns()));
    }

    public static void lower(Op.MeanRows op, Tasks tasks) {
        tasks.task("meanRows", items(op.out()),
                name -> createPackage(name, Rows::meanRows, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.floats(op.out()), tasks.stride(op.x()), tasks.stride(op.out()), op.x().rows(),
                        op.out().columns()));
    }

    public static void lower(Op.SoftCap op, Tasks tasks) {
        tasks.task("softCap", items(op.x()),
                name -> createPackage(name, Rows::softCap, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.stride(op.x()), op.x().rows(), op.x().columns(), op.cap()));
    }

    public static void lower(Op.RowMax op, Tasks tasks) {
        tasks.task("rowMax", Geometry.items(op.x().rows(), GROUP),
                name -> createPackage(name, Rows::rowMax, tasks.context(), tasks.step(), tasks.floats(op.x()),
                        tasks.floats(op.out()), tasks.constants(chosen(op)), tasks.stride(op.x()), op.x().rows(),
                        op.x().columns()));
    }

    /** The layers that a probe takes, as {@link Probed} reads them. */
    public static List<Integer> chosen(Op.RowMax op) {
        return Probed.list(op.layers(), List.of());
    }

    private static Geometry items(Tensor tensor) {
        return Geometry.items(Math.multiplyExact(tensor.rows(), tensor.columns()), GROUP);
    }

    /** {@code cache[slot, position + i] = x[i]}. An item handles one element, as in all kernels here. */
    public static void store(KernelContext context, IntArray step, FloatArray x, FloatArray cache, int xStride,
            int cacheStride, int slotStride, int capacity, int columns) {
        int item = context.globalIdx;
        if (item < TornadoMath.min(step.get(StepBuffer.ROWS), capacity) * columns) {
            int layer = step.get(StepBuffer.LAYER);
            int row = item / columns;
            cache.set(layer * cacheStride + StepBuffer.slot(step, row) * slotStride
                    + StepBuffer.token(step, row) * columns + item % columns, x.get(layer * xStride + item));
        }
    }

    /** {@code out[i] = x[i]}. */
    public static void copy(KernelContext context, IntArray step, FloatArray x, FloatArray out, int xStride,
            int outStride, int capacity, int columns) {
        int item = context.globalIdx;
        if (item < TornadoMath.min(step.get(StepBuffer.ROWS), capacity) * columns) {
            int layer = step.get(StepBuffer.LAYER);
            out.set(layer * outStride + item, x.get(layer * xStride + item));
        }
    }

    /** {@code out[i, t] = x[index[i, t]]}, zeros for a negative index. */
    public static void gather(KernelContext context, IntArray step, FloatArray x, IntArray index, FloatArray out,
            int xStride, int outStride, int capacity, int columns, int rowColumns) {
        int item = context.globalIdx;
        if (item < TornadoMath.min(step.get(StepBuffer.ROWS), capacity) * columns) {
            int layer = step.get(StepBuffer.LAYER);
            int row = index.get(item / rowColumns);
            float value = 0;
            if (row >= 0) {
                value = x.get(layer * xStride + row * rowColumns + item % rowColumns);
            }
            out.set(layer * outStride + item, value);
        }
    }

    /** {@code out[0] = x[rows - 1]}. */
    public static void lastRow(KernelContext context, IntArray step, FloatArray x, FloatArray out, int xStride,
            int outStride, int capacity, int columns) {
        int item = context.globalIdx;
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        if (item < columns && rows > 0) {
            int layer = step.get(StepBuffer.LAYER);
            out.set(layer * outStride + item, x.get(layer * xStride + (rows - 1) * columns + item));
        }
    }

    /** {@code out[0, c] = sum over i of x[i, c] / rows}. An item handles one column. */
    public static void meanRows(KernelContext context, IntArray step, FloatArray x, FloatArray out, int xStride,
            int outStride, int capacity, int columns) {
        int column = context.globalIdx;
        int rows = TornadoMath.min(step.get(StepBuffer.ROWS), capacity);
        if (column < columns && rows > 0) {
            int layer = step.get(StepBuffer.LAYER);
            float sum = 0;
            for (int row = 0; row < rows; row++) {
                sum += x.get(layer * xStride + row * columns + column);
            }
            out.set(layer * outStride + column, sum / rows);
        }
    }

    /** {@code x = cap tanh(x / cap)}. */
    public static void softCap(KernelContext context, IntArray step, FloatArray x, int stride, int capacity,
            int columns, float cap) {
        int item = context.globalIdx;
        if (item < TornadoMath.min(step.get(StepBuffer.ROWS), capacity) * columns) {
            int index = step.get(StepBuffer.LAYER) * stride + item;
            x.set(index, cap * TornadoMath.tanh(x.get(index) / cap));
        }
    }

    /** {@code out[p, i] = max over c of x[i, c]} in the p-th of the chosen layers. An item handles one row. */
    public static void rowMax(KernelContext context, IntArray step, FloatArray x, FloatArray out, IntArray chosen,
            int stride, int rows, int columns) {
        int row = context.globalIdx;
        int place = Probed.place(chosen, step.get(StepBuffer.LAYER_NUMBER));
        if (place >= 0 && row < TornadoMath.min(step.get(StepBuffer.ROWS), rows)) {
            int start = step.get(StepBuffer.LAYER) * stride + row * columns;
            float largest = x.get(start);
            for (int c = 1; c < columns; c++) {
                largest = TornadoMath.max(largest, x.get(start + c));
            }
            out.set(place * rows + row, largest);
        }
    }
}

package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.Tensor;

/**
 * Rows of keys or values: what {@link stormsight.program.Op.Store} writes and attentions read, each sequence's in its
 * slot. Nothing else knows how they lie there.
 *
 * @param slotRows rows of a slot
 * @param slotBytes from a slot to the next, 0 where there is one
 */
record Cache(long address, int columns, int slotRows, long slotBytes) {
    static Cache of(Tensor tensor, Binding binding) {
        long slotBytes = tensor.slots() == 1 ? 0 : 4L * tensor.slotRows() * tensor.columns();
        return new Cache(binding.address(tensor), tensor.columns(), tensor.slotRows(), slotBytes);
    }

    long address(int slot, long row, int column) {
        return address + slotBytes * slot + 4 * (row * columns + column);
    }

    /** @param from address of [rows, columns] F32 */
    void write(int slot, int firstRow, int rows, long from) {
        Memory.copy(from, address(slot, firstRow, 0), 4L * rows * columns);
    }

    float at(int slot, int row, int column) {
        return Memory.f32(address(slot, row, column));
    }

    /** Kept apart, so that the scalar path needs no Vector API. */
    static final class Vectors {
        private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
        private static final int LANES = F.length();
        private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

        private Vectors() {}

        /** Copies some columns of some rows into the panel, [row, column]. */
        static void gather(Cache cache, int slot, int firstRow, int rows, int firstColumn, int count, float[] panel) {
            long from = cache.address(slot, firstRow, firstColumn);
            int whole = count - count % LANES;
            for (int r = 0; r < rows; r++) {
                long at = from + 4L * r * cache.columns;
                int to = r * count;
                for (int d = 0; d < whole; d += LANES) {
                    FloatVector.fromMemorySegment(F, ALL, at + 4L * d, LE).intoArray(panel, to + d);
                }
                for (int d = whole; d < count; d++) {
                    panel[to + d] = Memory.f32(at + 4L * d);
                }
            }
        }
    }
}

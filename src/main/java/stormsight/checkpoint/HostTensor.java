package stormsight.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.stream.IntStream;
import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * The value of a weight in host memory, mapped from a file or made at load time; little-endian, row-major, of any
 * alignment.
 *
 * @param shape of one layer
 * @param layers one native segment a layer, each of {@code dtype.bytes(shape)} bytes
 */
public record HostTensor(DType dtype, Shape shape, List<MemorySegment> layers) {
    public HostTensor {
        layers = List.copyOf(layers);
        long bytes = dtype.bytes(shape);
        for (MemorySegment layer : layers) {
            if (layer.byteSize() != bytes) {
                throw new IllegalArgumentException(
                        layer.byteSize() + " bytes for " + dtype + shape + ", which takes " + bytes);
            }
        }
    }

    public static HostTensor of(DType dtype, Shape shape, MemorySegment data) {
        return new HostTensor(dtype, shape, List.of(data));
    }

    /**
     * One of several equal parts of the rows of each layer: in place, but for a blocked type, whose
     * integers and scales are brought together.
     *
     * @param arena where a copy is allocated
     */
    public HostTensor part(int index, int parts, Arena arena) {
        Shape rows = Shape.of(IntStream.range(0, shape.rank())
                .map(i -> i == 0 ? shape.dimension(0) / parts : shape.dimension(i))
                .toArray());
        return new HostTensor(
                dtype, rows, layers.stream().map(layer -> part(layer, rows, index, arena)).toList());
    }

    private MemorySegment part(MemorySegment whole, Shape rows, int index, Arena arena) {
        if (!dtype.isBlocked()) {
            return whole.asSlice(index * dtype.bytes(rows), dtype.bytes(rows));
        }
        MemorySegment part = arena.allocate(dtype.bytes(rows), Float.BYTES);
        long levels = dtype.elementBytes(rows);
        long scales = rows.rows() * dtype.scaleBytes(rows);
        MemorySegment.copy(whole, index * levels, part, 0, levels);
        MemorySegment.copy(
                whole, dtype.scalesOffset(shape) + index * scales, part, dtype.scalesOffset(rows), scales);
        return part;
    }
}

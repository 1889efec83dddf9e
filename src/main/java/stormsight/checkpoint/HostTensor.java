package stormsight.checkpoint;

import java.lang.foreign.MemorySegment;
import java.util.List;
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
}

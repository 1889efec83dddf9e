package stormsight.program;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Dimensions of a tensor, outermost first; row-major.
 *
 * @param dimensions none negative; an empty list is a scalar
 */
public record Shape(List<Integer> dimensions) {
    public Shape {
        dimensions = List.copyOf(dimensions);
        long elements = 1;
        for (int dimension : dimensions) {
            if (dimension < 0) {
                throw new IllegalArgumentException("negative dimension in shape " + dimensions);
            }
            elements = Math.multiplyExact(elements, (long) dimension);
        }
    }

    public static Shape of(int... dimensions) {
        return new Shape(Arrays.stream(dimensions).boxed().toList());
    }

    public int rank() {
        return dimensions.size();
    }

    public int dimension(int index) {
        return dimensions.get(index);
    }

    public long elements() {
        long elements = 1;
        for (int i = 0; i < dimensions.size(); i++) {
            elements *= dimensions.get(i);
        }
        return elements;
    }

    /** Size of the last dimension; 1 for a scalar. */
    public int columns() {
        return rank() == 0 ? 1 : dimensions.get(rank() - 1);
    }

    /** Product of all dimensions but the last. */
    public long rows() {
        long rows = 1;
        for (int i = 0; i < rank() - 1; i++) {
            rows *= dimensions.get(i);
        }
        return rows;
    }

    /** The same elements as a matrix [first dimension, product of the others]; a shape of at most two as it is. */
    public Shape matrix() {
        return rank() <= 2 ? this : of(dimension(0), Math.toIntExact(elements() / Math.max(dimension(0), 1)));
    }

    /** {@code [272, 2048]}. */
    @Override
    public String toString() {
        return dimensions.stream().map(String::valueOf).collect(Collectors.joining(", ", "[", "]"));
    }
}

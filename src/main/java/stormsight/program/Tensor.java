package stormsight.program;

import java.util.Objects;

/**
 * A named, shaped value that operations read and write. It owns no memory: an executor decides where it lies.
 *
 * @param name unique within the programs that are prepared together; a weight carries the checkpoint's name, with
 *     {@code {i}} for the layer in a stack
 * @param shape of one layer; the first dimension of an activation is a capacity, of which a run uses the first rows
 * @param layers 1, or the number of layers in a stack: one tensor of this shape for each layer, picked by the layer
 *     that {@link Segment} is running
 */
public record Tensor(String name, DType dtype, Shape shape, Kind kind, int layers) {
    /** Who writes a tensor, and how long its value lives. */
    public enum Kind {
        /** Given to {@code prepare}, constant from then on. */
        WEIGHT,
        /** Written and read within one run. */
        ACTIVATION,
        /** Survives from run to run, shared by all programs: keys and values, image features. */
        CACHE,
        /** Written by the host before a run. */
        INPUT,
        /** Written by a run, may be read by the host after it. */
        OUTPUT
    }

    public Tensor {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(dtype, "dtype");
        Objects.requireNonNull(shape, "shape");
        Objects.requireNonNull(kind, "kind");
        if (layers < 1) {
            throw new IllegalArgumentException(name + ": " + layers + " layers");
        }
    }

    public static Tensor weight(String name, DType dtype, Shape shape) {
        return new Tensor(name, dtype, shape, Kind.WEIGHT, 1);
    }

    /** An F32 activation of [rows, columns]. */
    public static Tensor activation(String name, int rows, int columns) {
        return new Tensor(name, DType.F32, Shape.of(rows, columns), Kind.ACTIVATION, 1);
    }

    /** The same tensor under another name and kind, for what a rewrite adds. */
    public Tensor as(String otherName, Kind otherKind, int otherLayers) {
        return new Tensor(otherName, dtype, shape, otherKind, otherLayers);
    }

    public int rows() {
        return Math.toIntExact(shape.rows());
    }

    public int columns() {
        return shape.columns();
    }

    /** Sequences that a cache of [slots, tokens, columns] holds; 1 for every other tensor. */
    public int slots() {
        return kind == Kind.CACHE && shape.rank() == 3 ? shape.dimension(0) : 1;
    }

    /** Rows of one slot: tokens that a sequence may have. */
    public int slotRows() {
        return rows() / slots();
    }

    /** Bytes of all layers together. */
    public long bytes() {
        return Math.multiplyExact(dtype.bytes(shape), layers);
    }

    /**
     * Of the name alone, which tells tensors of a model apart: tensors are keys of many maps, and a hash of all fields
     * is dear.
     */
    @Override
    public int hashCode() {
        return name.hashCode();
    }

    @Override
    public String toString() {
        return name + " " + dtype + shape + (layers > 1 ? " x " + layers : "");
    }
}

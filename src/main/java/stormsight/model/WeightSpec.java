package stormsight.model;

import java.util.List;
import stormsight.checkpoint.RequiredTensors;
import stormsight.program.Shape;

/**
 * A weight that a model needs, or a stack of equal ones.
 *
 * @param name as published checkpoints name it, with {@code {i}} for the layer in a stack
 * @param layers 1, or the number of layers of a stack
 * @param stored shape in the file
 */
public record WeightSpec(String name, int layers, Shape stored, Use use) {
    /** How a program reads it. */
    public enum Use {
        /** In the file's type, in place; seen as [first dimension, product of the others]. */
        MATRIX,
        /** As F32. */
        VECTOR,
        /** As F32 plus one: Gemma stores its norms centred at zero. */
        ONE_PLUS
    }

    static WeightSpec matrix(String name, int layers, int... stored) {
        return new WeightSpec(name, layers, Shape.of(stored), Use.MATRIX);
    }

    static WeightSpec vector(String name, int layers, int... stored) {
        return new WeightSpec(name, layers, Shape.of(stored), Use.VECTOR);
    }

    static WeightSpec onePlus(String name, int layers, int... stored) {
        return new WeightSpec(name, layers, Shape.of(stored), Use.ONE_PLUS);
    }

    /** Shape as programs see it. */
    public Shape shape() {
        if (use != Use.MATRIX || stored.rank() <= 2) {
            return stored;
        }
        int rows = stored.dimension(0);
        return Shape.of(rows, Math.toIntExact(stored.elements() / rows));
    }

    private boolean stacked() {
        return name.contains(RequiredTensors.LAYER);
    }

    void addTo(RequiredTensors required) {
        if (stacked()) {
            required.addLayers(name, layers, stored);
        } else {
            required.add(name, stored);
        }
    }

    /** Names of all layers, the first layer's first. */
    public List<String> names() {
        return stacked() ? RequiredTensors.layerNames(name, layers) : List.of(name);
    }

    /** Numbers in all layers. */
    public long parameters() {
        return stored.elements() * layers;
    }
}

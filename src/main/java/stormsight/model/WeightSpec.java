package stormsight.model;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import stormsight.checkpoint.RequiredTensors;
import stormsight.program.Shape;

/**
 * A weight that a model needs, or a stack of equal ones.
 *
 * @param name as published checkpoints name it, with {@code {i}} for the layer in a stack
 * @param layers 1, or the number of layers of a stack
 * @param stored shape in the file
 * @param ofOneTypeWith name of a weight of as many layers that must have the same type in a program
 */
public record WeightSpec(String name, int layers, Shape stored, Use use, Optional<String> ofOneTypeWith) {
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
        return new WeightSpec(name, layers, Shape.of(stored), Use.MATRIX, Optional.empty());
    }

    static WeightSpec vector(String name, int layers, int... stored) {
        return new WeightSpec(name, layers, Shape.of(stored), Use.VECTOR, Optional.empty());
    }

    static WeightSpec onePlus(String name, int layers, int... stored) {
        return new WeightSpec(name, layers, Shape.of(stored), Use.ONE_PLUS, Optional.empty());
    }

    WeightSpec ofOneTypeWith(String other) {
        return new WeightSpec(name, layers, stored, use, Optional.of(other));
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
        return names(name);
    }

    private List<String> names(String pattern) {
        return stacked() ? RequiredTensors.layerNames(pattern, layers) : List.of(pattern);
    }

    /** Names of everything that must have one type in a program. */
    List<String> namesOfOneType() {
        return Stream.concat(names().stream(), ofOneTypeWith.stream().flatMap(other -> names(other).stream())).toList();
    }

    /** Numbers in all layers. */
    public long parameters() {
        return stored.elements() * layers;
    }
}

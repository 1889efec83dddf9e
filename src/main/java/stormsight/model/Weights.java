package stormsight.model;

import java.lang.foreign.Arena;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.HostTensor;
import stormsight.checkpoint.Q8;
import stormsight.program.DType;
import stormsight.program.Tensor;

/** The weights of a model as tensors of its programs, with their values if they come from a checkpoint. */
final class Weights {
    private final Map<String, Tensor> tensors = new LinkedHashMap<>();
    private final Map<Tensor, HostTensor> values = new LinkedHashMap<>();

    private Weights() {}

    /**
     * Weights without values, to look at programs before anything is loaded.
     *
     * @param matrixType type of a matrix, or of a stack of them, by the names of its layers and of what must have the same type
     */
    static Weights unbound(List<WeightSpec> specs, Function<List<String>, DType> matrixType) {
        Weights weights = new Weights();
        for (WeightSpec spec : specs) {
            DType type = spec.use() == WeightSpec.Use.MATRIX ? matrixType.apply(spec.namesOfOneType()) : DType.F32;
            weights.tensors.put(spec.name(),
                    new Tensor(spec.name(), type, spec.shape(), Tensor.Kind.WEIGHT, spec.layers()));
        }
        return weights;
    }

    /**
     * Weights of a checkpoint that was found to hold them all. Vectors become F32.
     *
     * @param quantizeIn where matrices are quantised; without one they are used in place
     */
    static Weights bind(List<WeightSpec> specs, Checkpoint checkpoint, Optional<Arena> quantizeIn) {
        Weights weights = unbound(specs, names -> quantizeIn.isPresent() ? DType.Q8 : checkpoint.weightType(names));
        for (WeightSpec spec : specs) {
            HostTensor stored = switch (spec.use()) {
                case MATRIX -> checkpoint.stack(spec.names(), checkpoint.weightType(spec.namesOfOneType()));
                case VECTOR -> checkpoint.f32(spec.names());
                case ONE_PLUS -> checkpoint.f32(spec.names(), x -> 1 + x);
            };
            HostTensor value = new HostTensor(stored.dtype(), spec.shape(), stored.layers());
            weights.values.put(weights.get(spec.name()), spec.use() == WeightSpec.Use.MATRIX
                    ? quantizeIn.map(arena -> Q8.quantize(value, arena)).orElse(value) : value);
        }
        return weights;
    }

    /** @param name as {@link WeightSpec#name()} has it */
    Tensor get(String name) {
        Tensor tensor = tensors.get(name);
        if (tensor == null) {
            throw new IllegalArgumentException("no weight " + name);
        }
        return tensor;
    }

    Map<Tensor, HostTensor> values() {
        return Collections.unmodifiableMap(values);
    }
}

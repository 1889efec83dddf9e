package stormsight.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.SafetensorsWriter;
import stormsight.checkpoint.StoredType;
import stormsight.checkpoint.Strictness;
import stormsight.program.DType;
import stormsight.program.Shape;
import stormsight.program.Tensor;

class WeightsTest {
    private static final Shape NORM = Shape.of(3);
    private static final Shape MATRIX = Shape.of(4, 3);

    @TempDir
    Path directory;

    @BeforeEach
    void writeShards() {
        List<SafetensorsWriter.Entry> tensors = List.of(
                new SafetensorsWriter.Entry("model.language_model.norm.weight", DType.F32, NORM),
                new SafetensorsWriter.Entry("layers.0.w", DType.F16, MATRIX),
                new SafetensorsWriter.Entry("layers.1.w", DType.BF16, MATRIX),
                new SafetensorsWriter.Entry("ids", StoredType.I64, NORM));
        SafetensorsWriter.write(directory, tensors, 40, (tensor, first, piece) -> {});
    }

    private String problem(Consumer<Weights> asking) {
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            Weights weights = Weights.of(checkpoint, Options.DEFAULT);
            asking.accept(weights);
            return assertThrows(CheckpointException.class, () -> weights.check(Strictness.STRICT))
                    .getMessage()
                    .replace(directory + "/", "");
        }
    }

    private static void askForAll(Weights weights) {
        weights.in("language_model.model.").vector("norm.weight", 3);
        weights.vector("layers.0.w", 4, 3);
        weights.vector("layers.1.w", 4, 3);
        weights.ignore("id*");
    }

    @Test
    void acceptsACompleteModel() {
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            Weights weights = Weights.of(checkpoint, Options.DEFAULT);
            askForAll(weights);
            weights.check(Strictness.STRICT);
            assertEquals(List.of("language_model.model.norm.weight", "layers.0.w", "layers.1.w"),
                    weights.stored().stream().flatMap(stored -> stored.names().stream()).toList());
            assertEquals(27, weights.parameters());
            assertTrue(weights.values().isEmpty());
        }
    }

    @Test
    void aSecondCallGivesTheSameTensor() {
        Weights weights = Weights.declared(DType.BF16);
        Tensor product = weights.matrix("w", 4, 3);
        assertEquals(product, weights.in("").matrix("w", 4, 3));
        assertEquals(1, weights.stored().size());
        assertThrows(IllegalArgumentException.class, () -> weights.matrix("w", 3, 4));
        assertEquals(Tensor.weight("kernel", DType.BF16, Shape.of(4, 12)), weights.matrix("kernel", 4, 3, 2, 2));
    }

    @Test
    void bindsValuesOfEveryUse() {
        try (Arena arena = Arena.ofShared(); Checkpoint checkpoint = Checkpoint.open(directory)) {
            Weights weights = Weights.bound(checkpoint, arena, Options.DEFAULT);
            Tensor norm = weights.onePlus("language_model.model.norm.weight", 3);
            Tensor stack = weights.layers("layers.{i}.", 2).vector("w", 4, 3);
            Tensor sum = weights.computed("sum", Shape.of(1), List.of(norm), values ->
                    new float[] {values.getFirst()[0] + values.getFirst()[1]});
            weights.ignore("ids");
            weights.check(Strictness.LENIENT);
            assertArrayEquals(new float[] {1, 1, 1}, floats(weights, norm));
            assertEquals(2, weights.values().get(stack).layers().size());
            assertArrayEquals(new float[] {2}, floats(weights, sum));
        }
    }

    private static float[] floats(Weights weights, Tensor tensor) {
        return weights.values().get(tensor).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }

    @Test
    void namesMissingTensorsAndCountsTheRest() {
        assertEquals(
                "model.safetensors.index.json: tensor layers.2.w [4, 3] is missing; tensor layers.3.w [4, 3] is "
                        + "missing; and 1 more",
                problem(weights -> {
                    weights.vector("language_model.model.norm.weight", 3);
                    weights.layers("layers.{i}.", 5).matrix("w", 4, 3);
                    weights.ignore("*");
                }));
    }

    @Test
    void aHostileNumberOfLayersEndsAtOnce() {
        assertEquals(
                "model.safetensors.index.json: tensor layers.2.w [4, 3] is missing; tensor layers.3.w [4, 3] is "
                        + "missing; and 1999999996 more",
                problem(weights -> {
                    weights.layers("layers.{i}.", 2_000_000_000).matrix("w", 4, 3);
                    weights.ignore("*");
                }));
    }

    @Test
    void namesWrongShapesAndExtrasWithTheirFiles() {
        assertEquals(
                "model-00001-of-00003.safetensors: tensor language_model.model.norm.weight (stored as "
                        + "model.language_model.norm.weight) is [3], [4] expected; tensor layers.1.w [4, 3] is not "
                        + "part of this model (in model-00002-of-00003.safetensors); tensor ids [3] is not part of "
                        + "this model (in model-00003-of-00003.safetensors)",
                problem(weights -> {
                    weights.vector("language_model.model.norm.weight", 4);
                    weights.matrix("layers.0.w", 4, 3);
                }));
    }

    @Test
    void namesATypeThatIsNotOfWeights() {
        assertEquals(
                "model-00003-of-00003.safetensors: tensor ids is I64, F32, F16, BF16 or F64 expected",
                problem(weights -> {
                    askForAll(weights);
                    weights.vector("ids", 3);
                }));
    }

    @Test
    void aPatternIsTakenLiterallyButForItsStars() {
        assertEquals(
                "model-00003-of-00003.safetensors: tensor ids [3] is not part of this model: not used",
                problem(weights -> {
                    weights.vector("language_model.model.norm.weight", 3);
                    weights.ignore("layers.*.w");
                    weights.ignore("i.s");
                    weights.ignore("id");
                }));
    }
}

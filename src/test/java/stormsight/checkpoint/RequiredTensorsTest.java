package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.program.DType;
import stormsight.program.Shape;

class RequiredTensorsTest {
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

    private String problem(RequiredTensors required) {
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            String message = assertThrows(CheckpointException.class, () -> required.check(checkpoint, Strictness.STRICT)).getMessage();
            return message.replace(directory + "/", "");
        }
    }

    private static RequiredTensors complete() {
        return new RequiredTensors()
                .add("language_model.model.norm.weight", NORM)
                .add("layers.0.w", MATRIX)
                .add("layers.1.w", MATRIX)
                .ignore("id*");
    }

    @Test
    void acceptsACompleteModel() {
        try (Checkpoint checkpoint = Checkpoint.open(directory)) {
            complete().check(checkpoint, Strictness.STRICT);
        }
        assertEquals(
                List.of("language_model.model.norm.weight", "layers.0.w", "layers.1.w"), List.copyOf(complete().shapes().keySet()));
    }

    @Test
    void namesMissingTensorsAndCountsTheRest() {
        assertEquals(
                "model.safetensors.index.json: tensor layers.2.w [4, 3] is missing; tensor layers.3.w [4, 3] is missing; and 1 more",
                problem(new RequiredTensors()
                        .add("language_model.model.norm.weight", NORM)
                        .addLayers("layers.{i}.w", 5, MATRIX)
                        .ignore("*")));
    }

    @Test
    void aHostileNumberOfLayersEndsAtOnce() {
        assertEquals(
                "model.safetensors.index.json: tensor layers.2.w [4, 3] is missing; tensor layers.3.w [4, 3] is missing; and 1999999996 more",
                problem(new RequiredTensors().addLayers("layers.{i}.w", 2_000_000_000, MATRIX).ignore("*")));
    }

    @Test
    void namesWrongShapesAndExtrasWithTheirFiles() {
        assertEquals(
                "model-00001-of-00003.safetensors: tensor language_model.model.norm.weight (stored as model.language_model.norm.weight)"
                        + " is [3], [4] expected; tensor layers.1.w [4, 3] is not part of this model (in model-00002-of-00003.safetensors);"
                        + " tensor ids [3] is not part of this model (in model-00003-of-00003.safetensors)",
                problem(new RequiredTensors().add("language_model.model.norm.weight", Shape.of(4)).add("layers.0.w", MATRIX)));
    }

    @Test
    void namesATypeThatIsNotOfWeights() {
        assertEquals("model-00003-of-00003.safetensors: tensor ids is I64, F32, F16, BF16 or F64 expected", problem(complete().add("ids", NORM)));
    }

    @Test
    void aPatternIsTakenLiterallyButForItsStars() {
        assertEquals(
                "model-00003-of-00003.safetensors: tensor ids [3] is not part of this model: not used",
                problem(new RequiredTensors().add("language_model.model.norm.weight", NORM).ignore("layers.*.w").ignore("i.s").ignore("id")));
    }
}

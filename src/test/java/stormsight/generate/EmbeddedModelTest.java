package stormsight.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.EmbeddedModel;
import stormsight.program.Sampling;
import stormsight.study.Example;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The embedded model answers held-out scenes as transformers does, and as often right as its card says. */
class EmbeddedModelTest {
    private static final Path HELD_OUT = Path.of("models/shapes/heldout");
    private static final int MAX_TOKENS = 64;
    /** The scalar path takes about a second a question. */
    private static final int SCALAR_SCENES = 3;
    /**
     * A share of so many questions strays from the share of all held-out scenes by at most this many standard
     * deviations.
     */
    private static final double DEVIATIONS = 3.5;

    /** How many answers to a task are right. */
    private record Score(int right, int of) {
        Score add(boolean correct) {
            return new Score(right + (correct ? 1 : 0), of + 1);
        }
    }

    @Test
    void answersHeldOutScenesAsTransformersDoes() throws IOException {
        JsonNode record = JsonMapper.shared().readTree(Files.readString(HELD_OUT.resolve("answers.json")));
        Map<String, Score> scores = answer("cpu", record.get("scenes").valueStream().toList());
        assertTrue(record.get("scenes").size() >= 64);
        JsonNode card = JsonMapper.shared()
                .readTree(Files.readString(Path.of("models/shapes/evaluation.json")))
                .get("heldOut");
        assertTrue(scores.keySet().containsAll(Set.of("caption", "color", "shape", "count", "existence", "relation")));
        scores.forEach((task, score) -> {
            if (!task.equals("detect")) {
                assertEquals(record.get("figures").get(task).get("right").asInt(), score.right(), task);
                double share = card.get(task).get("share").asDouble();
                double deviation = Math.sqrt(share * (1 - share) / score.of()) + 1.0 / score.of();
                assertEquals(share, (double) score.right() / score.of(), DEVIATIONS * deviation, task);
            }
        });
    }

    @Test
    void theScalarPathGivesTheSameAnswers() throws IOException {
        JsonNode record = JsonMapper.shared().readTree(Files.readString(HELD_OUT.resolve("answers.json")));
        answer("scalar", record.get("scenes").valueStream().limit(SCALAR_SCENES).toList());
    }

    @Test
    void examplesAreInTheBox() {
        List<EmbeddedModel.Example> examples = EmbeddedModel.examples();
        assertTrue(examples.stream().map(EmbeddedModel.Example::task).toList().containsAll(
                List.of("caption", "color", "shape", "count", "existence", "relation", "detect")));
        examples.forEach(example -> assertTrue(example.decode().width() >= 224));
    }

    private static Map<String, Score> answer(String backendName, List<JsonNode> scenes) {
        Map<String, Score> scores = new TreeMap<>();
        List<String> different = new ArrayList<>();
        try (ModelDirectory directory = EmbeddedModel.open(Optional.empty());
                Backend backend = Backends.open(backendName, BackendOptions.DEFAULT);
                Generator generator = Generator.open(directory, backend, new Limits(350, MAX_TOKENS), Options.DEFAULT,
                        RunListener.NONE, List.of())) {
            for (JsonNode scene : scenes) {
                RgbImage image = new ImageDecoder().decode(HELD_OUT.resolve(scene.get("image").asString()));
                for (JsonNode question : scene.get("questions")) {
                    String prompt = question.get("prompt").asString();
                    Answer answer = generator.answer(
                            new Request(image, prompt, MAX_TOKENS, Sampling.GREEDY, 0), AnswerListener.NONE);
                    List<Integer> ids = answer.tokens().stream().map(Answer.Token::id)
                            .filter(id -> !directory.describe().endIds().contains(id)).toList();
                    List<Integer> wanted = question.get("tokens").valueStream().map(JsonNode::asInt).toList();
                    if (!ids.equals(wanted)) {
                        different.add(scene.get("image").asString() + " " + prompt + ": " + answer.text()
                                + ", transformers: " + question.get("answer").asString());
                    }
                    boolean right = answer.text().equals(question.get("expected").asString());
                    scores.compute(
                            question.get("task").asString(),
                            (_, score) -> (score == null ? new Score(0, 0) : score).add(right));
                }
            }
        }
        assertEquals(List.of(), different);
        return scores;
    }
}

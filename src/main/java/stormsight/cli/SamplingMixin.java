package stormsight.cli;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Option;
import stormsight.generate.LimitException;
import stormsight.generate.Request;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.program.Sampling;

/** Options that say how long an answer is and how its tokens are drawn. */
final class SamplingMixin {
    @Option(names = {"-n", "--max-new-tokens", "--max-tokens"}, paramLabel = "N", defaultValue = "128",
            description = "The longest answer, in tokens. Default: ${DEFAULT-VALUE}.")
    private int maxTokens;

    @Option(names = {"--temp", "--temperature"}, paramLabel = "T", defaultValue = "0",
            description = "0 takes the most probable token, more draws more freely. Default: ${DEFAULT-VALUE}.")
    private float temperature;

    @Option(names = "--top-k", paramLabel = "K", defaultValue = "0",
            description = "Draw among the K most probable tokens; 0 keeps all. Default: ${DEFAULT-VALUE}.")
    private int topK;

    @Option(names = "--top-p", paramLabel = "P", defaultValue = "1",
            description = "Draw among the most probable tokens that sum to P. Default: ${DEFAULT-VALUE}.")
    private float topP;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "0",
            description = "The same seed gives the same answer. Default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(names = {"--repeat-penalty", "--repetition-penalty"}, paramLabel = "P", defaultValue = "1",
            description = "Make tokens that the prompt or the answer holds already less probable, as transformers' "
                    + "repetition_penalty does; 1.1 is a little. Default: ${DEFAULT-VALUE}, none.")
    private float repeatPenalty;

    @Option(names = "--stop", paramLabel = "TEXT",
            description = "End the answer before this text. May be repeated.")
    private List<String> stops = new ArrayList<>();

    /** @throws UsageException naming the option that is wrong, before anything is computed */
    void check() {
        sampling();
        if (stops.contains("")) {
            throw new UsageException("--stop: an empty text cannot end an answer");
        }
        try {
            Request.checkPenalty(repeatPenalty);
        } catch (IllegalArgumentException e) {
            throw new UsageException("--" + e.getMessage());
        }
    }

    private Sampling sampling() {
        if (maxTokens < 1) {
            throw new UsageException("--max-tokens " + maxTokens + " is not positive");
        }
        try {
            return new Sampling(temperature, topK, topP);
        } catch (IllegalArgumentException e) {
            throw new UsageException("--" + e.getMessage());
        }
    }

    int maxTokens() {
        return maxTokens;
    }

    /**
     * Limits of prompts of up to so many tokens about one image, or of as many as the model has room for beside the
     * longest answer.
     *
     * @throws LimitException if not even an image fits beside it
     */
    Limits limits(ModelDirectory directory, int promptTokens) {
        int image = directory.processor().imageTokens();
        int positions = directory.describe().decoder().positions();
        int room = positions - maxTokens;
        if (room <= image) {
            throw new LimitException("an image of up to " + image + " tokens and an answer of up to " + maxTokens
                    + " do not fit into the " + positions + " positions of the model; give a lower --max-tokens");
        }
        return directory.processor().limits(Math.min(promptTokens, room), maxTokens);
    }

    /** About one image. */
    Request request(RgbImage image, String prompt) {
        return request(List.of(image), prompt);
    }

    Request request(List<RgbImage> images, String prompt) {
        return new Request(images, prompt, maxTokens, sampling(), seed, stops, repeatPenalty);
    }

    /** What was chosen, for JSON. */
    Map<String, Object> json() {
        Map<String, Object> chosen = new LinkedHashMap<>();
        chosen.put("max_new_tokens", maxTokens);
        chosen.put("temperature", temperature);
        chosen.put("top_k", topK);
        chosen.put("top_p", topP);
        chosen.put("seed", seed);
        chosen.put("repeat_penalty", repeatPenalty);
        chosen.put("stop", stops);
        return chosen;
    }
}

package stormsight.generate;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import stormsight.model.Prompt;

/**
 * The most probable token after each other.
 *
 * @param ids all that were drawn, the one that ended the answer included
 * @param probability of each token
 * @param text without special tokens
 */
public record GreedyAnswer(List<Integer> ids, List<Double> probability, String text) {
    public GreedyAnswer {
        ids = List.copyOf(ids);
        probability = List.copyOf(probability);
    }

    /**
     * Answers a prompt about the image that was encoded last.
     *
     * @param generator of a model that makes logits of the prompt's last token only
     * @throws stormsight.backend.BackendException if the logits are not numbers
     */
    public static GreedyAnswer of(Generator generator, Prompt prompt, int maxTokens) {
        List<Integer> ids = new ArrayList<>();
        List<Double> probability = new ArrayList<>();
        generator.draw(prompt, maxTokens, (logits, id) -> {
            ids.add(id);
            probability.add(Probability.of(generator.read(logits), 0, logits.columns(), id));
        });
        Set<Integer> ends = generator.directory().describe().endIds();
        int[] shown = ids.stream().filter(id -> !ends.contains(id)).mapToInt(id -> id).toArray();
        return new GreedyAnswer(ids, probability, generator.directory().tokenizer().decode(shown, true));
    }

    /** Probability of the answer as a whole. */
    public double wholeProbability() {
        return probability.stream().reduce(1.0, (a, b) -> a * b);
    }
}

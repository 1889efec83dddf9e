package stormsight.session;

import java.util.ArrayList;
import java.util.List;
import stormsight.backend.BackendException;
import stormsight.model.PaliGemma;
import stormsight.program.Program;
import stormsight.program.Tensor;
import stormsight.tokenizer.PaliGemmaPrompt;

/**
 * The most probable token after each other.
 *
 * @param ids all that were drawn, the one that ended the answer included
 * @param probability of each token
 * @param text without special tokens
 */
record GreedyAnswer(List<Integer> ids, List<Double> probability, String text) {
    GreedyAnswer {
        ids = List.copyOf(ids);
        probability = List.copyOf(probability);
    }

    /**
     * Answers a prompt about the image that was encoded last.
     *
     * @param prefill the model's, or a rewrite of it that leaves its outputs
     * @param decode the same
     * @throws BackendException if the logits are not numbers
     */
    static GreedyAnswer of(ModelRun run, ModelDirectory directory, PaliGemma model, Program prefill, Program decode, PaliGemmaPrompt prompt,
            int maxTokens) {
        List<Integer> ids = new ArrayList<>();
        List<Double> probability = new ArrayList<>();
        run.prefill(prefill, prompt.ids());
        Tensor logits = model.promptLogits();
        while (true) {
            int id = run.token();
            if (id < 0) {
                throw new BackendException("the answer's token " + (ids.size() + 1)
                        + " has logits that are not numbers: the weights are damaged or the device computes wrongly");
            }
            ids.add(id);
            probability.add(Probability.of(run.read(logits), 0, logits.columns(), id));
            if (directory.config().endIds().contains(id) || ids.size() == maxTokens) {
                break;
            }
            run.decode(decode, id, prompt.length() + ids.size() - 1, prompt.length());
            logits = model.nextLogits();
        }
        int[] shown = ids.stream().filter(id -> !directory.config().endIds().contains(id)).mapToInt(id -> id).toArray();
        return new GreedyAnswer(ids, probability, directory.tokenizer().decode(shown, true));
    }

    /** Probability of the answer as a whole. */
    double wholeProbability() {
        return probability.stream().reduce(1.0, (a, b) -> a * b);
    }
}

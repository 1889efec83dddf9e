package stormsight.model;

import java.util.Set;
import stormsight.program.Op.Heads;

/**
 * What others need to know of a model before it is built.
 *
 * @param family such as {@code PaliGemma 2, 224 px}
 * @param imageToken id that stands for a row of an image where a prompt is written in ids alone; -1 if no id does
 * @param padToken id that pads a batch; no text has it
 * @param causal whether a token of the prompt sees only what comes before it
 * @param endIds ids that end an answer
 * @param logitTolerance largest error of a logit in F32 against the reference, in other orders of summing: 1e-4, or
 *     what its golden folders show
 */
public record Description(String family, Vision vision, Decoder decoder, int imageToken, int padToken, boolean causal,
        Set<Integer> endIds, double logitTolerance) {
    /**
     * The vision tower.
     *
     * @param layers that run
     * @param rows that attend to each other: patches of a view, and a class token
     * @param firstPatch rows before that of the first patch
     * @param gridRows rows of patches of a view
     * @param gridColumns patches in a row
     * @param positions name of the stored position embeddings, one a row of the tower
     */
    public record Vision(
            int layers, int heads, int rows, int firstPatch, int gridRows, int gridColumns, String positions) {
        /** Patches of a view. */
        public int patches() {
            return gridRows * gridColumns;
        }

        /** Whether a row that stands for the whole image comes before the patches. */
        public boolean hasClassToken() {
            return firstPatch > 0;
        }
    }

    /**
     * The decoder.
     *
     * @param vocabularySize columns of the logits
     * @param positions most tokens of prompt and answer together
     * @param tied whether the embedding table is the head
     */
    public record Decoder(int layers, Heads heads, int hiddenSize, int vocabularySize, int positions, boolean tied) {}

    public Description {
        endIds = Set.copyOf(endIds);
    }
}

package stormsight.model;

import java.util.Optional;
import stormsight.program.DType;

/**
 * Choices that change what is computed. A family takes those that its models have.
 *
 * @param slidingWindow Gemma 2: limit what generated tokens see in the layers that have a window, as transformers 5
 *     does; big_vision does not
 * @param finalSoftCap Gemma 2: cap the logits as the decoder's own recipe does; neither big_vision nor transformers do
 *     so for PaliGemma
 * @param promptRows what prefill computes of a prompt's tokens
 * @param firstPosition position of the first token: transformers counts PaliGemma's from 1, big_vision from 0; answers
 *     do not depend on it but for rounding
 * @param weights the {@link DType#isBlocked blocked} type that matrices are turned into when they are bound; empty
 *     where they are used in place
 */
public record Options(
        boolean slidingWindow,
        boolean finalSoftCap,
        PromptRows promptRows,
        int firstPosition,
        Optional<DType> weights) {
    public static final Options DEFAULT = new Options(false, false, PromptRows.LAST, 1, Optional.empty());

    /** What is computed of a prompt's tokens, besides their keys and values in all layers. */
    public enum PromptRows {
        /** What the next token follows from: behind the last layer's attention the last token goes on alone. */
        LAST,
        /** The state of every token behind every layer, and the last one's logits. */
        STATES,
        /** The logits of every token, too. */
        LOGITS;

        /** The larger one of both. */
        public PromptRows or(PromptRows other) {
            return compareTo(other) < 0 ? other : this;
        }
    }

    /**
     * What answers depend on, for files of results. Which rows of a prompt are computed is no part of it: each
     * experiment has those that it reads.
     */
    public String recorded() {
        return "Options[slidingWindow=" + slidingWindow + ", finalSoftCap=" + finalSoftCap + ", firstPosition="
                + firstPosition + ", weights=" + weights + "]";
    }

    public Options withSlidingWindow(boolean chosen) {
        return new Options(chosen, finalSoftCap, promptRows, firstPosition, weights);
    }

    public Options withFinalSoftCap(boolean chosen) {
        return new Options(slidingWindow, chosen, promptRows, firstPosition, weights);
    }

    public Options withPromptRows(PromptRows chosen) {
        return new Options(slidingWindow, finalSoftCap, chosen, firstPosition, weights);
    }

    public Options withFirstPosition(int chosen) {
        return new Options(slidingWindow, finalSoftCap, promptRows, chosen, weights);
    }

    public Options withWeights(Optional<DType> chosen) {
        return new Options(slidingWindow, finalSoftCap, promptRows, firstPosition, chosen);
    }
}

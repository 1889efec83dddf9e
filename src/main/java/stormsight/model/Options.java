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
 * @param everyRow prefill computes the logits of all prompt tokens, not of the last one alone
 * @param firstPosition position of the first token: transformers counts PaliGemma's from 1, big_vision from 0; answers
 *     do not depend on it but for rounding
 * @param weights the {@link DType#isBlocked blocked} type that matrices are turned into when they are bound; empty
 *     where they are used in place
 */
public record Options(
        boolean slidingWindow, boolean finalSoftCap, boolean everyRow, int firstPosition, Optional<DType> weights) {
    public static final Options DEFAULT = new Options(false, false, false, 1, Optional.empty());

    public Options withSlidingWindow(boolean chosen) {
        return new Options(chosen, finalSoftCap, everyRow, firstPosition, weights);
    }

    public Options withFinalSoftCap(boolean chosen) {
        return new Options(slidingWindow, chosen, everyRow, firstPosition, weights);
    }

    public Options withEveryRow(boolean chosen) {
        return new Options(slidingWindow, finalSoftCap, chosen, firstPosition, weights);
    }

    public Options withFirstPosition(int chosen) {
        return new Options(slidingWindow, finalSoftCap, everyRow, chosen, weights);
    }

    public Options withWeights(Optional<DType> chosen) {
        return new Options(slidingWindow, finalSoftCap, everyRow, firstPosition, chosen);
    }
}

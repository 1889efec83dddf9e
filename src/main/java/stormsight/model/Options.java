package stormsight.model;

/**
 * Choices that change what is computed. A family takes those that its models have.
 *
 * @param slidingWindow Gemma 2: limit generated tokens in every other layer, as transformers 5 does; big_vision does
 *     not
 * @param finalSoftCap Gemma 2: cap the logits as the decoder's own recipe does; neither big_vision nor transformers do
 *     so for PaliGemma
 * @param everyRow prefill computes the logits of all prompt tokens, not of the last one alone
 * @param firstPosition position of the first token: transformers counts PaliGemma's from 1, big_vision from 0; answers
 *     do not depend on it but for rounding
 * @param quantized matrices are turned into Q8 when they are bound, instead of used in place
 */
public record Options(
        boolean slidingWindow, boolean finalSoftCap, boolean everyRow, int firstPosition, boolean quantized) {
    public static final Options DEFAULT = new Options(false, false, false, 1, false);

    public Options withSlidingWindow(boolean chosen) {
        return new Options(chosen, finalSoftCap, everyRow, firstPosition, quantized);
    }

    public Options withFinalSoftCap(boolean chosen) {
        return new Options(slidingWindow, chosen, everyRow, firstPosition, quantized);
    }

    public Options withEveryRow(boolean chosen) {
        return new Options(slidingWindow, finalSoftCap, chosen, firstPosition, quantized);
    }

    public Options withFirstPosition(int chosen) {
        return new Options(slidingWindow, finalSoftCap, everyRow, chosen, quantized);
    }

    public Options withQuantized(boolean chosen) {
        return new Options(slidingWindow, finalSoftCap, everyRow, firstPosition, chosen);
    }
}

package stormsight.generate;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What a model answered.
 *
 * @param text without special tokens; {@code <loc>} and {@code <seg>} tokens stay
 * @param tokens all that were drawn, the one that ended the answer included
 * @param promptTokens image tokens included
 * @param masks what the mask decoder made of codes in the text, by the codes; empty without a decoder
 */
public record Answer(
        String text,
        List<Token> tokens,
        Stop stop,
        int promptTokens,
        Timings timings,
        Map<List<Integer>, MaskMap> masks) {
    /**
     * @param logProbability natural logarithm of the token's probability under softmax(logits), whatever the sampling
     */
    public record Token(int id, String text, double logProbability) {
        private Map<String, Object> json() {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("id", id);
            object.put("text", text);
            object.put("log_probability", logProbability);
            return object;
        }
    }

    public enum Stop {
        /** The model ended its answer. */
        END,
        /** As many tokens as were asked for. */
        LENGTH,
        /** A text that was to end it; it is not part of the answer. */
        TEXT
    }

    /**
     * How long the parts took, in nanoseconds.
     *
     * @param image resize and patches
     * @param prefill until the first token was known
     * @param decode all tokens after the first
     * @param firstToken from the call until the first token was known
     */
    public record Timings(long image, long encode, long prefill, long firstToken, long decode) {}

    public Answer {
        tokens = List.copyOf(tokens);
        masks = Map.copyOf(masks);
    }

    /** Answer, tokens and what ended them, for JSON. */
    public Map<String, Object> json() {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("answer", text);
        object.put("stop", stop.name().toLowerCase(Locale.ROOT));
        object.put("prompt_tokens", promptTokens);
        object.put("tokens", tokens.stream().map(Token::json).toList());
        return object;
    }
}

package stormsight.study;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.model.ModelDirectory;
import stormsight.tokenizer.Tokenizer;

/**
 * How the answer to one example forms.
 *
 * @param place whose state was read, if it was asked for; else that of the prompt's last token was
 * @param tokens by name of the curve, the token whose probability it is
 * @param raw by name of the curve, the probability without the final norm, [layers + 1]; the last one is behind it
 * @param normed the same with the final norm
 * @param top the most probable tokens with the final norm, [layers + 1]
 */
public record LensResult(
        int line,
        String image,
        String question,
        Optional<String> dropped,
        Optional<String> detail,
        Optional<String> prediction,
        Optional<Place> place,
        Map<String, String> tokens,
        Map<String, double[]> raw,
        Map<String, double[]> normed,
        List<List<Top>> top)
        implements ExampleResult {
    /** A token that the head finds probable. */
    public record Top(String token, double probability) {}

    /** Names of the curves that every example has. */
    public static final String LOWER_CASE = "answer in lower case";
    public static final String CAPITALISED = "answer capitalised";

    /**
     * Reads the probabilities of tokens on one example. It is kept if the model's whole answer is the right one.
     *
     * @param prompt what the model is asked
     * @param position of the token whose state is read, as {@link LensSession#ask} takes it; the last one's if absent
     * @param most how many of the most probable tokens are kept for each depth
     * @param texts texts of which the first token is followed, each a curve, beside the answer in lower case and
     *     capitalised
     * @throws IllegalArgumentException if the prompt has no such position
     */
    public static LensResult of(
            LensSession session,
            ModelDirectory directory,
            Example example,
            String prompt,
            int maxTokens,
            Optional<Integer> position,
            int most,
            List<String> texts) {
        LensSession.States states;
        try {
            states = session.ask(
                    new Inquiry(
                            new ImageDecoder().decode(example.image()),
                            prompt,
                            example.question(),
                            Optional.empty(),
                            maxTokens),
                    position.orElse(LensSession.LAST));
        } catch (ImageException e) {
            return dropped(example, Reason.UNREADABLE, Optional.of(e.getMessage()), Optional.empty());
        }
        if (!example.isRight(states.answer())) {
            return dropped(example, Reason.WRONG, Optional.empty(), Optional.of(states.answer()));
        }
        String answer = example.answer().orElse(states.answer()).strip();
        Map<String, Integer> ids = new LinkedHashMap<>();
        if (!answer.isEmpty()) {
            String lower = answer.toLowerCase(Locale.ROOT);
            int first = lower.offsetByCodePoints(0, 1);
            ids.put(LOWER_CASE, firstToken(directory.tokenizer(), lower));
            ids.put(
                    CAPITALISED,
                    firstToken(
                            directory.tokenizer(),
                            lower.substring(0, first).toUpperCase(Locale.ROOT) + lower.substring(first)));
        }
        texts.forEach(text -> ids.put(text, firstToken(directory.tokenizer(), text)));
        Map<String, String> tokens = new LinkedHashMap<>();
        Map<String, double[]> raw = new LinkedHashMap<>();
        Map<String, double[]> normed = new LinkedHashMap<>();
        ids.forEach((name, id) -> {
            tokens.put(name, directory.tokenizer().token(id));
            raw.put(name, states.probability(id, false));
            normed.put(name, states.probability(id, true));
        });
        List<List<Top>> top = new ArrayList<>();
        for (int[] best : states.top(most)) {
            int depth = top.size();
            top.add(Arrays.stream(best)
                    .mapToObj(id -> new Top(directory.tokenizer().token(id), states.probability(id, depth)))
                    .toList());
        }
        return new LensResult(example.line(), example.name(), example.question(), Optional.empty(), Optional.empty(),
                Optional.of(states.answer()), position.map(_ -> states.place()), tokens, raw, normed, top);
    }

    private static int firstToken(Tokenizer tokenizer, String text) {
        int[] ids = tokenizer.encode(text);
        if (ids.length == 0) {
            throw new IllegalArgumentException("a token of an empty text");
        }
        return ids[0];
    }

    private static LensResult dropped(
            Example example, Reason reason, Optional<String> detail, Optional<String> prediction) {
        return new LensResult(
                example.line(),
                example.name(),
                example.question(),
                Optional.of(reason.words),
                detail,
                prediction,
                Optional.empty(),
                Map.of(),
                Map.of(),
                Map.of(),
                List.of());
    }
}

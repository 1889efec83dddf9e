package stormsight.study;

import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import stormsight.model.Prompt;
import stormsight.tokenizer.Tokenizer;

/**
 * A place of a prompt and what stands there.
 *
 * @param position from 0, rows of images included
 * @param token as the tokenizer spells it; absent if a row of an image stands there
 * @param imageRow which of the prompt's image rows it is, from 0; absent if a token stands there
 */
public record Place(int position, Optional<String> token, Optional<Integer> imageRow) {
    /** How many texts a list shows of either end of a prompt. */
    private static final int LISTED = 12;

    static Place of(Prompt prompt, Tokenizer tokenizer, int position) {
        return prompt.isImage(position)
                ? new Place(position, Optional.empty(), Optional.of(prompt.imagePlaces().indexOf(position)))
                : new Place(position, Optional.of(tokenizer.token(prompt.ids()[position])), Optional.empty());
    }

    /**
     * The place that a number means.
     *
     * @param number from 0; negative ones count from the end, -1 is the last place
     * @throws IllegalArgumentException telling what stands where if the prompt has no such place
     */
    static Place numbered(Prompt prompt, Tokenizer tokenizer, int number) {
        int position = number < 0 ? prompt.length() + number : number;
        if (position < 0 || position >= prompt.length()) {
            throw new IllegalArgumentException("position " + number + ": this prompt has 0 to " + (prompt.length() - 1)
                    + ", or -1 to -" + prompt.length() + " from its end: " + contents(prompt, tokenizer));
        }
        return of(prompt, tokenizer, position);
    }

    /** {@code 0 to 255 the image, 256 '<bos>', 257 'caption'}. */
    private static String contents(Prompt prompt, Tokenizer tokenizer) {
        List<Integer> starts = IntStream.range(0, prompt.length())
                .filter(place -> place == 0 || !prompt.isImage(place) || !prompt.isImage(place - 1))
                .boxed()
                .toList();
        return IntStream.range(0, starts.size())
                .filter(i -> i <= LISTED || i >= starts.size() - LISTED)
                .mapToObj(i -> {
                    int from = starts.get(i);
                    int last = (i + 1 < starts.size() ? starts.get(i + 1) : prompt.length()) - 1;
                    boolean gap = i == LISTED && i + 1 < starts.size() - LISTED;
                    return (prompt.isImage(from)
                            ? (from == last ? from : from + " to " + last) + " image"
                            : from + " " + of(prompt, tokenizer, from).shown()) + (gap ? ", .." : "");
                })
                .collect(Collectors.joining(", "));
    }

    /** {@code 'star'}, or {@code row 17 of the image}. */
    public String shown() {
        return token.map(Place::shown).orElseGet(() -> "row " + imageRow.orElseThrow() + " of the image");
    }

    /** A token in quotes, on one line. */
    static String shown(String token) {
        return "'" + token.replace("\n", "\\n").replace("\t", "\\t") + "'";
    }
}

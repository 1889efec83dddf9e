package stormsight.probe;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import stormsight.model.Prompt;
import stormsight.model.Span;
import stormsight.program.Op;

/**
 * What the tokens of a sequence are: those of a prompt, then what was generated and is read again.
 *
 * <p>Parts of it have names: {@code image}, all rows of images; {@code base}, {@code tiles} and {@code newlines}, parts
 * of them where an image has several; {@code question}, the tokens of the question and nothing else of the prompt;
 * {@code last}, the prompt's last token, which predicts the answer; {@code generated}; {@code object}, the patches that
 * show an object, and {@code other}, all other patches; and any tokens {@code a-b}, both included, or {@code a}.
 *
 * @param question places of the question's tokens
 * @param object places of patches that show the object, absent if nothing says which
 * @param generated tokens after the prompt
 */
public record TokenLayout(Prompt prompt, List<Integer> question, Optional<List<Integer>> object, int generated) {
    public static final String IMAGE = "image";
    private static final String BASE = "base";
    private static final String TILES = "tiles";
    private static final String NEWLINES = "newlines";
    public static final String QUESTION = "question";
    public static final String LAST = "last";
    public static final String GENERATED = "generated";
    public static final String OBJECT = "object";
    public static final String OTHER = "other";

    private static final Set<String> NAMES =
            Set.of(IMAGE, BASE, TILES, NEWLINES, QUESTION, LAST, GENERATED, OBJECT, OTHER);
    private static final Pattern RANGE = Pattern.compile("(\\d{1,9})(?:-(\\d{1,9}))?");

    public TokenLayout {
        question = List.copyOf(question);
        object = object.map(List::copyOf);
        if (generated < 0) {
            throw new IllegalArgumentException(generated + " generated");
        }
    }

    /** @throws IllegalArgumentException if no layout has a span of that name */
    static void requireName(String name) {
        Matcher range = RANGE.matcher(name);
        if (!NAMES.contains(name) && !range.matches()) {
            throw new IllegalArgumentException("'" + name
                    + "' is no span: there are image, question, last, generated, object, other, base, tiles, "
                    + "newlines, and tokens such as 12-15");
        }
        if (range.matches()
                && range.group(2) != null
                && Integer.parseInt(range.group(1)) > Integer.parseInt(range.group(2))) {
            throw new IllegalArgumentException("span '" + name + "' ends before it begins");
        }
    }

    public int tokens() {
        return prompt.length() + generated;
    }

    /** Why a span has no tokens here; empty if it has some. */
    public Optional<String> lacks(String name) {
        requireName(name);
        return switch (name) {
            case IMAGE -> because(span(name).isEmpty(), "there is no image");
            case BASE, TILES, NEWLINES -> because(span(name).isEmpty(), "the image has no such part");
            case QUESTION -> because(question.isEmpty(), "the prompt has no question");
            case LAST -> Optional.empty();
            case GENERATED -> because(generated == 0, "nothing is generated before the token that counts");
            case OBJECT, OTHER ->
                object.isEmpty()
                        ? Optional.of("no box or mask marks the object")
                        : because(
                                span(name).isEmpty(),
                                name.equals(OBJECT) ? "no patch shows the object" : "the object is on every patch");
            default -> because(range(name, 2) >= tokens(), "the last token is " + (tokens() - 1));
        };
    }

    private static Optional<String> because(boolean lacks, String reason) {
        return lacks ? Optional.of(reason) : Optional.empty();
    }

    private List<Integer> span(String name) {
        return switch (name) {
            case IMAGE -> prompt.imagePlaces();
            case BASE, TILES -> cells(span -> span.name().equals(name));
            case NEWLINES -> {
                List<Integer> cells = cells(_ -> true);
                // Rows that belong to no place of an image at all are no newlines.
                yield cells.isEmpty()
                        ? List.of()
                        : prompt.imagePlaces().stream().filter(place -> !cells.contains(place)).toList();
            }
            case QUESTION -> question;
            case LAST -> List.of(prompt.length() - 1);
            case GENERATED -> range(prompt.length(), tokens());
            case OBJECT -> object.orElse(List.of());
            case OTHER -> cells(_ -> true).stream().filter(token -> !object.orElse(List.of()).contains(token)).toList();
            default -> range(range(name, 1), range(name, 2) + 1);
        };
    }

    /** Places of the patches of some parts of images. */
    private List<Integer> cells(Predicate<Span.Image> part) {
        return prompt.images().stream()
                .filter(part)
                .flatMap(span -> span.grid().stream()
                        .flatMapToInt(grid -> IntStream.range(0, grid.cells()).map(span::place))
                        .boxed())
                .toList();
    }

    private static List<Integer> range(int from, int to) {
        return IntStream.range(from, to).boxed().toList();
    }

    private static int range(String name, int end) {
        Matcher range = RANGE.matcher(name);
        if (!range.matches()) {
            throw new IllegalStateException(name);
        }
        return Integer.parseInt(range.group(end) == null ? range.group(1) : range.group(end));
    }

    /**
     * Places of a span's tokens, from 0.
     *
     * @throws IllegalArgumentException naming the span if there is none of that name or it has no tokens here
     */
    public List<Integer> tokens(String name) {
        lacks(name).ifPresent(reason -> {
            throw new IllegalArgumentException("span '" + name + "': " + reason);
        });
        return span(name);
    }

    /**
     * The mask of a flow's edges, as {@link Op.BlockedAttention} takes it. What the model's own mask hides stays
     * hidden; this only adds to it.
     *
     * @param capacity rows and columns of the mask, at least {@link #tokens()}
     * @return [capacity, capacity], 1 where a query (row) must not see a key (column)
     * @throws IllegalArgumentException naming the span if it has no tokens here
     */
    public byte[] mask(Flow flow, int capacity) {
        if (capacity < tokens()) {
            throw new IllegalArgumentException("a mask of " + capacity + " for " + tokens() + " tokens");
        }
        byte[] mask = new byte[Math.multiplyExact(capacity, capacity)];
        for (Edge edge : flow.edges()) {
            List<Integer> keys = tokens(edge.source());
            for (int query : tokens(edge.target())) {
                for (int key : keys) {
                    mask[query * capacity + key] = 1;
                }
            }
        }
        return mask;
    }

    /**
     * The first token that a mask leaves nothing to see.
     *
     * @param mask as {@link #mask} gives it
     * @param window how many tokens a generated one sees, if not all
     */
    public OptionalInt blind(byte[] mask, int capacity, OptionalInt window) {
        return IntStream.range(0, tokens())
                .filter(query -> {
                    int prefixTokens = prompt.prefixLength();
                    int from = window.isEmpty() || query < prefixTokens
                            ? 0
                            : Math.max(0, query - window.getAsInt() + 1);
                    return IntStream.range(from, Math.max(prefixTokens, query + 1))
                            .allMatch(key -> mask[query * capacity + key] != 0);
                })
                .findFirst();
    }
}

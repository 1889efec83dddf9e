package stormsight.probe;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import stormsight.program.Op;

/**
 * What the tokens of a sequence are: first those of the image, then the prompt's text, then what was generated and is read again.
 *
 * <p>Parts of it have names: {@code image}; {@code question}, the tokens of the question and nothing else of the prompt; {@code last}, the prompt's last
 * token, which predicts the answer; {@code generated}; {@code object}, the patches that show an object, and {@code other}, all other patches; and
 * any tokens {@code a-b}, both included, or {@code a}.
 *
 * @param imageTokens tokens of the image, which come first
 * @param promptTokens tokens of the prompt, image included
 * @param prefixTokens tokens that every token sees: all of the prompt, or 0 in a causal model
 * @param question places of the question's tokens
 * @param object patches that show the object, absent if nothing says which
 * @param generated tokens after the prompt
 */
public record TokenLayout(int imageTokens, int promptTokens, int prefixTokens, List<Integer> question, Optional<List<Integer>> object,
        int generated) {
    public static final String IMAGE = "image";
    public static final String QUESTION = "question";
    public static final String LAST = "last";
    public static final String GENERATED = "generated";
    public static final String OBJECT = "object";
    public static final String OTHER = "other";

    private static final Set<String> NAMES = Set.of(IMAGE, QUESTION, LAST, GENERATED, OBJECT, OTHER);
    private static final Pattern RANGE = Pattern.compile("(\\d{1,9})(?:-(\\d{1,9}))?");

    public TokenLayout {
        question = List.copyOf(question);
        object = object.map(List::copyOf);
        if (imageTokens < 0 || promptTokens <= imageTokens || prefixTokens < 0 || prefixTokens > promptTokens || generated < 0) {
            throw new IllegalArgumentException(imageTokens + " image tokens, " + promptTokens + " of the prompt, " + prefixTokens
                    + " of the prefix, " + generated + " generated");
        }
    }

    /** @throws IllegalArgumentException if no layout has a span of that name */
    static void requireName(String name) {
        Matcher range = RANGE.matcher(name);
        if (!NAMES.contains(name) && !range.matches()) {
            throw new IllegalArgumentException("'" + name + "' is no span: there are image, question, last, generated, object, other, and tokens such as "
                    + "12-15");
        }
        if (range.matches() && range.group(2) != null && Integer.parseInt(range.group(1)) > Integer.parseInt(range.group(2))) {
            throw new IllegalArgumentException("span '" + name + "' ends before it begins");
        }
    }

    public int tokens() {
        return promptTokens + generated;
    }

    /** Why a span has no tokens here; empty if it has some. */
    public Optional<String> lacks(String name) {
        requireName(name);
        return switch (name) {
            case IMAGE -> because(imageTokens == 0, "there is no image");
            case QUESTION -> because(question.isEmpty(), "the prompt has no question");
            case LAST -> Optional.empty();
            case GENERATED -> because(generated == 0, "nothing is generated before the token that counts");
            case OBJECT, OTHER -> object.isEmpty() ? Optional.of("no box or mask says where the object is")
                    : because(span(name).isEmpty(), name.equals(OBJECT) ? "no patch shows the object" : "the object is on every patch");
            default -> because(range(name, 2) >= tokens(), "the last token is " + (tokens() - 1));
        };
    }

    private static Optional<String> because(boolean lacks, String reason) {
        return lacks ? Optional.of(reason) : Optional.empty();
    }

    private List<Integer> span(String name) {
        return switch (name) {
            case IMAGE -> range(0, imageTokens);
            case QUESTION -> question;
            case LAST -> List.of(promptTokens - 1);
            case GENERATED -> range(promptTokens, tokens());
            case OBJECT -> object.orElse(List.of());
            case OTHER -> range(0, imageTokens).stream().filter(token -> !object.orElse(List.of()).contains(token)).toList();
            default -> range(range(name, 1), range(name, 2) + 1);
        };
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
     * The mask of a flow's edges, as {@link Op.BlockedAttention} takes it. What the model's own mask hides stays hidden; this only adds to it.
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
     * @param window what limits generated tokens
     */
    public OptionalInt blind(byte[] mask, int capacity, Optional<Op.SlidingWindow> window) {
        return IntStream.range(0, tokens()).filter(query -> {
            int from = window.isEmpty() || query < prefixTokens ? 0 : Math.max(0, query - window.get().size() + 1);
            return IntStream.range(from, Math.max(prefixTokens, query + 1)).allMatch(key -> mask[query * capacity + key] != 0);
        }).findFirst();
    }
}

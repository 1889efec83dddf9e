package stormsight.probe;

import java.util.regex.Pattern;

/**
 * A flow of information that can be blocked: queries in {@code target} read keys in {@code source}. Written {@code
 * source->target}.
 *
 * @param source name of a span of {@link TokenLayout}
 * @param target name of a span
 * @see <a href="https://arxiv.org/abs/2411.18620">Cross-modal Information Flow in Multimodal Large Language Models</a>,
 * whose notation this is
 */
public record Edge(String source, String target) {
    private static final Pattern ARROW = Pattern.compile("\\s*->\\s*");

    /** @throws IllegalArgumentException if a name is none of a span */
    public Edge {
        TokenLayout.requireName(source);
        TokenLayout.requireName(target);
    }

    /** @throws IllegalArgumentException if the text is not {@code source->target} */
    public static Edge parse(String text) {
        String[] ends = ARROW.split(text.strip(), -1);
        if (ends.length != 2) {
            throw new IllegalArgumentException("'" + text + "' is not an edge such as image->last");
        }
        return new Edge(ends[0], ends[1]);
    }

    @Override
    public String toString() {
        return source + "->" + target;
    }
}

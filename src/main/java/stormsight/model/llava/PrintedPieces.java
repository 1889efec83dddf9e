package stormsight.model.llava;

import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a chat template of Jinja prints, in its order and whatever its conditions: enough to tell known templates from
 * others without running them.
 */
final class PrintedPieces {
    /** Stands for the text of a message. */
    static final String TEXT = "\uE000";
    /** Stands for the role of a message in capitals. */
    static final String ROLE = "\uE001";
    /** Stands behind each piece. */
    static final String END = "\uE002";

    /** The end of a text as the name of its token: what all tokenizers here spell so. */
    private static final Map<String, String> NAMED = Map.of("eos_token", "</s>");

    private static final Pattern TAG = Pattern.compile("\\{\\{(.*?)}}|\\{%.*?%}|\\{#.*?#}", Pattern.DOTALL);

    /** A string, what stands between the choices of a condition, a reference, or any other character. */
    private static final Pattern TOKEN = Pattern.compile(
            "'((?:\\\\.|[^'\\\\])*)'|\"((?:\\\\.|[^\"\\\\])*)\"|\\bif\\b.*?\\belse\\b"
                    + "|\\w+(?:\\[[^\\]]*]|\\([^)]*\\)|\\.\\w+)*|\\S",
            Pattern.DOTALL);

    private static final Pattern SPOKEN = Pattern.compile(
            "\\w+(\\[['\"]content['\"]](\\[0])?|\\.content(\\[0])?)?(\\[['\"]text['\"]]|\\.text)"
                    + "|message(\\[['\"]content['\"]]|\\.content)");
    private static final Pattern SPEAKER = Pattern.compile("\\w+(\\[['\"]role['\"]]|\\.role)\\.upper\\(\\)");

    /** Writes nothing, or what stands in front of each prompt anyway. */
    private static final Pattern SILENT = Pattern.compile("raise_exception\\(.*|bos_token", Pattern.DOTALL);

    private PrintedPieces() {}

    /** The pieces of a template, with {@link #END} behind each. */
    static String of(String template) {
        StringBuilder pieces = new StringBuilder();
        Matcher tag = TAG.matcher(template);
        int from = 0;
        String before = "";
        while (tag.find()) {
            add(pieces, literal(before, template.substring(from, tag.start()), tag.group()));
            if (tag.group(1) != null) {
                expression(pieces, tag.group(1).replaceAll("^-|-$", ""));
            }
            before = tag.group();
            from = tag.end();
        }
        // Jinja drops one line end at the end.
        add(pieces, literal(before, template.substring(from), "").replaceFirst("\n\\z", ""));
        return pieces.toString();
    }

    /** Text between two tags as transformers has Jinja trim it: blocks take a line end behind, spaces before them. */
    private static String literal(String before, String text, String after) {
        String literal = text;
        if (before.endsWith("-}}") || before.endsWith("-%}") || before.endsWith("-#}")) {
            literal = literal.stripLeading();
        } else if (before.endsWith("%}") || before.endsWith("#}")) {
            literal = literal.replaceFirst("\\A\n", "");
        }
        if (after.startsWith("-", 2)) {
            return literal.stripTrailing();
        }
        boolean block = after.startsWith("{%") || after.startsWith("{#");
        boolean lineBegins = before.isEmpty() || text.contains("\n");
        return block && lineBegins ? literal.replaceFirst("(?m)^[ \t]+\\z", "") : literal;
    }

    private static void expression(StringBuilder pieces, String expression) {
        Matcher token = TOKEN.matcher(expression);
        while (token.find()) {
            String string = token.group(1) != null ? token.group(1) : token.group(2);
            String read = token.group();
            if (string != null) {
                add(pieces, string.replace("\\n", "\n").replaceAll("\\\\(.)", "$1"));
            } else if (SPOKEN.matcher(read).matches()) {
                add(pieces, TEXT);
            } else if (SPEAKER.matcher(read).matches()) {
                add(pieces, ROLE);
            } else if (!List.of("+", "~").contains(read) && !read.startsWith("if")
                    && !SILENT.matcher(read).matches()) {
                add(pieces, NAMED.getOrDefault(read, read));
            }
        }
    }

    private static void add(StringBuilder pieces, String piece) {
        if (!piece.isEmpty()) {
            pieces.append(piece).append(END);
        }
    }
}

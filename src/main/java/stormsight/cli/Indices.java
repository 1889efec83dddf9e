package stormsight.cli;

import java.util.List;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Lists of layers and heads as users write them: {@code 0,3-5}. */
final class Indices {
    private static final Pattern RANGE = Pattern.compile("(\\d{1,4})(?:-(\\d{1,4}))?");

    private Indices() {}

    /**
     * Rising indices, each once.
     *
     * @throws UsageException naming the option if the text is no such list
     */
    static List<Integer> parse(String option, String text) {
        TreeSet<Integer> indices = new TreeSet<>();
        for (String part : text.split(",", -1)) {
            Matcher range = RANGE.matcher(part.strip());
            if (!range.matches()) {
                throw new UsageException(
                        option + " " + text + ": '" + part + "' is neither an index nor a range such as 3-5");
            }
            int from = Integer.parseInt(range.group(1));
            int to = range.group(2) == null ? from : Integer.parseInt(range.group(2));
            if (to < from) {
                throw new UsageException(option + " " + text + ": " + part + " runs backwards");
            }
            for (int i = from; i <= to; i++) {
                indices.add(i);
            }
        }
        return List.copyOf(indices);
    }
}

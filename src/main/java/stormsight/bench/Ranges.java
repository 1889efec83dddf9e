package stormsight.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Lists of numbers as llama-bench takes them: {@code 64,128}, {@code 16-64*2} (16, 32, 64), {@code 1-7+2} (1, 3, 5, 7),
 * {@code 1-4} (1, 2, 3, 4).
 */
public final class Ranges {
    private static final Pattern ITEM = Pattern.compile("(\\d{1,9})(?:-(\\d{1,9})(?:([+*])(\\d{1,9}))?)?");
    /** More would be a mistake: every number is measured. */
    private static final int MOST = 1000;

    private Ranges() {}

    /**
     * The numbers in the order in which they are written, each once.
     *
     * @throws IllegalArgumentException if the text is no such list, a range does not grow, or it has more than a
     *     thousand numbers
     */
    public static List<Integer> parse(String text) {
        List<Integer> numbers = new ArrayList<>();
        for (String item : text.split(",", -1)) {
            Matcher matcher = ITEM.matcher(item.strip());
            if (!matcher.matches()) {
                throw new IllegalArgumentException("'" + text + "' is not a list such as 64,128 or 16-64*2 or 1-4+1");
            }
            long first = Long.parseLong(matcher.group(1));
            long last = matcher.group(2) == null ? first : Long.parseLong(matcher.group(2));
            boolean times = "*".equals(matcher.group(3));
            long step = matcher.group(4) == null ? 1 : Long.parseLong(matcher.group(4));
            if (last < first || step < 1 || times && (step < 2 || first < 1)) {
                throw new IllegalArgumentException(
                        "'" + item.strip() + "' does not grow from its first number to its last");
            }
            for (long number = first; number <= last; number = times ? number * step : number + step) {
                if (numbers.size() == MOST) {
                    throw new IllegalArgumentException("'" + text + "' has more than " + MOST + " numbers");
                }
                if (!numbers.contains((int) number)) {
                    numbers.add((int) number);
                }
            }
        }
        return numbers;
    }
}

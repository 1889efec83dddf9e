package stormsight.study;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import stormsight.probe.AttentionReading.Direction;
import stormsight.probe.AttentionReading;
import stormsight.probe.Word;

/** How much the maps of words change from one prompt about an image to another. */
public final class PromptComparison {
    /** What {@link Change#cosineDistance} and {@link Change#totalVariation} are, for those who read the numbers. */
    public static final String COSINE_DISTANCE =
            "1 - cosine of the two maps: 0 for the same pattern, 1 for patterns without a common patch";

    public static final String TOTAL_VARIATION =
            "half the sum of absolute differences of the two maps, each divided by its sum: the share of the word's "
                    + "map that has moved";

    /**
     * A word that two prompts share: the same token, the same time it occurs.
     *
     * @param occurrence 1 for the first in its prompt
     * @param firstPrompt index of a prompt
     * @param secondPrompt index of a later one
     * @param firstShare {@link AttentionReading#share} under the first prompt
     */
    public record Change(
            Direction direction,
            String word,
            int tokenId,
            int occurrence,
            int firstPrompt,
            int secondPrompt,
            double cosineDistance,
            double totalVariation,
            double firstShare,
            double secondShare) {}

    private PromptComparison() {}

    /**
     * Compares all pairs of prompts. Generated words are left out: they depend on the prompt in more than their
     * attention.
     *
     * @param readings of prompts about one image
     */
    public static List<Change> of(List<AttentionReading> readings) {
        List<Change> changes = new ArrayList<>();
        for (Direction direction : Direction.values()) {
            for (int first = 0; first < readings.size(); first++) {
                for (int second = first + 1; second < readings.size(); second++) {
                    compare(direction, readings, first, second, changes);
                }
            }
        }
        return changes;
    }

    /** A token and how often it occurred before in its prompt. */
    private record Occurrence(int tokenId, int number) {}

    private static Map<Occurrence, Word> occurrences(AttentionReading reading, Direction direction) {
        Map<Occurrence, Word> occurrences = new HashMap<>();
        for (Word word : reading.words(direction)) {
            if (!word.generated()) {
                int number = 1;
                while (occurrences.putIfAbsent(new Occurrence(word.tokenId(), number), word) != null) {
                    number++;
                }
            }
        }
        return occurrences;
    }

    private static void compare(
            Direction direction, List<AttentionReading> readings, int first, int second, List<Change> changes) {
        AttentionReading a = readings.get(first);
        AttentionReading b = readings.get(second);
        Map<Occurrence, Word> others = occurrences(b, direction);
        Map<Word, Occurrence> own = new HashMap<>();
        occurrences(a, direction).forEach((occurrence, word) -> own.put(word, occurrence));
        for (Word word : a.words(direction)) {
            Occurrence occurrence = own.get(word);
            Word other = occurrence == null ? null : others.get(occurrence);
            if (other != null && (a.isShown(direction, word) || b.isShown(direction, other))) {
                float[] p = a.map(direction, word);
                float[] q = b.map(direction, other);
                changes.add(new Change(
                        direction,
                        word.text(),
                        word.tokenId(),
                        occurrence.number(),
                        first,
                        second,
                        cosineDistance(p, q),
                        totalVariation(p, q),
                        a.share(direction, word),
                        b.share(direction, other)));
            }
        }
    }

    /** @see #COSINE_DISTANCE */
    static double cosineDistance(float[] p, float[] q) {
        double product = 0;
        double squaresP = 0;
        double squaresQ = 0;
        for (int i = 0; i < p.length; i++) {
            product += (double) p[i] * q[i];
            squaresP += (double) p[i] * p[i];
            squaresQ += (double) q[i] * q[i];
        }
        // One root of both, so that equal maps have a distance of exactly 0.
        return squaresP == 0 || squaresQ == 0
                ? squaresP == squaresQ ? 0 : 1
                : Math.max(0, 1 - product / Math.sqrt(squaresP * squaresQ));
    }

    /** @see #TOTAL_VARIATION */
    static double totalVariation(float[] p, float[] q) {
        double sumP = 0;
        double sumQ = 0;
        for (int i = 0; i < p.length; i++) {
            sumP += p[i];
            sumQ += q[i];
        }
        if (sumP == 0 || sumQ == 0) {
            return sumP == sumQ ? 0 : 1;
        }
        double difference = 0;
        for (int i = 0; i < p.length; i++) {
            difference += Math.abs(p[i] / sumP - q[i] / sumQ);
        }
        return difference / 2;
    }
}

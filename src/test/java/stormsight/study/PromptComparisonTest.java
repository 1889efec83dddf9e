package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;
import stormsight.image.Box;
import stormsight.model.Span;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionReading.Direction;
import stormsight.probe.AttentionReading;
import stormsight.probe.Word;
import stormsight.study.PromptComparison.Change;

class PromptComparisonTest {
    /** F32 values, sums in double precision. */
    private static final double ROUNDING = 1e-6;

    @Test
    void distances() {
        float[] left = {1, 0, 0, 0};
        float[] right = {0, 0, 0, 2};
        float[] both = {0.5f, 0, 0, 0.5f};
        assertEquals(0, PromptComparison.cosineDistance(left, left));
        assertEquals(1, PromptComparison.cosineDistance(left, right));
        assertEquals(1 - Math.sqrt(0.5), PromptComparison.cosineDistance(left, both), ROUNDING);
        assertEquals(0, PromptComparison.totalVariation(right, right));
        assertEquals(1, PromptComparison.totalVariation(left, right));
        assertEquals(0.5, PromptComparison.totalVariation(left, both), ROUNDING);
        // Strength is no difference in pattern.
        assertEquals(0, PromptComparison.totalVariation(new float[] {1, 3}, new float[] {2, 6}), ROUNDING);
        assertEquals(1, PromptComparison.totalVariation(new float[2], new float[] {1, 1}));
        assertEquals(0, PromptComparison.cosineDistance(new float[2], new float[2]));
    }

    /** "a cat a", then "dog a a": each a finds its own, cat and the generated word find none. */
    @Test
    void wordsArePairedByTokenAndOccurrence() {
        AttentionReading first = reading(
                List.of(
                        word(0, 7, "a", false),
                        word(1, 8, "cat", false),
                        word(2, 7, "a", false),
                        word(3, 9, "yes", true)),
                1,
                0,
                0,
                1,
                0,
                1,
                1,
                0);
        AttentionReading second = reading(
                List.of(
                        word(0, 5, "dog", false),
                        word(1, 7, "a", false),
                        word(2, 7, "a", false),
                        word(3, 9, "yes", true)),
                1,
                0,
                0.5f,
                0,
                1,
                0,
                0,
                1);
        List<Change> changes = PromptComparison.of(List.of(first, second));
        assertEquals(
                List.of(Direction.WORD_TO_IMAGE, Direction.WORD_TO_IMAGE),
                changes.stream().map(Change::direction).toList());
        assertEquals(List.of(1, 2), changes.stream().map(Change::occurrence).toList());
        assertEquals(List.of(0.0, 1.0), changes.stream().map(Change::totalVariation).toList());
        assertEquals(List.of(0.0, 1.0), changes.stream().map(Change::cosineDistance).toList());
        assertEquals(1, changes.get(0).firstShare(), ROUNDING);
        assertEquals(0.5, changes.get(0).secondShare(), ROUNDING);
    }

    private static Word word(int index, int id, String text, boolean generated) {
        return new Word(index, id, text, generated);
    }

    /** Two patches in a column, one layer. */
    private static AttentionReading reading(List<Word> words, float... values) {
        List<String> labels = words.stream().map(Word::text).toList();
        return new AttentionReading(
                words,
                List.of(0),
                new Span.Grid(1, 2, 2, new Box(0, 0, 2, 1)),
                List.of(new AttentionMap(
                        AttentionMap.WORD_TO_IMAGE_SUM,
                        "a test",
                        List.of(new AttentionMap.Axis("word", labels), AttentionMap.Axis.counted("patch", 2)),
                        values)),
                0,
                words.size());
    }
}

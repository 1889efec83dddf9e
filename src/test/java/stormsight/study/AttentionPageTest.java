package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import stormsight.image.Box;
import stormsight.image.RgbImage;
import stormsight.model.Span;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionMap.Axis;
import stormsight.probe.AttentionReading;
import stormsight.probe.Word;
import stormsight.report.AttentionData;

class AttentionPageTest {
    private static final List<Axis> WORDS =
            List.of(Axis.counted("word", 3), Axis.counted("row", 2), Axis.counted("column", 1));

    /** Two layers and heads, in which the word in the middle reads nothing. */
    private static List<AttentionData> page(float[] each, float[] sum) {
        AttentionMap words = new AttentionMap(
                AttentionMap.WORD_TO_IMAGE,
                "a test",
                List.of(Axis.counted("layer", 2), Axis.counted("head", 2), WORDS.get(0), WORDS.get(1), WORDS.get(2)),
                each);
        AttentionReading reading = new AttentionReading(
                IntStream.range(0, 3).mapToObj(i -> new Word(i, i, "word" + i, i == 2)).toList(),
                List.of(0, 1),
                new Span.Grid(2, 1, 1, new Box(0, 0, 1, 2)),
                List.of(words, new AttentionMap(AttentionMap.WORD_TO_IMAGE_SUM, "a test", WORDS, sum)),
                0,
                3);
        AttentionPage page = new AttentionPage();
        page.add(Path.of("a.png"), new RgbImage(1, 2, new byte[6]), List.of(), "a", "b", reading, List.of());
        return page.page(List.of()).attention();
    }

    @Test
    void mapsOfZerosAreNotOffered() {
        AttentionData.Direction direction = page(
                        new float[] {1, 2, 0, 0, 3, 4, 5, 6, 0, 0, 7, 8, 1, 2, 0, 0, 3, 4, 5, 6, 0, 0, 7, 8},
                        new float[] {6, 8, 0, 0, 10, 12})
                .getFirst()
                .directions()
                .getFirst();
        assertEquals(List.of("word0", "+ word2"), direction.words());
        assertEquals(1, direction.prompted());
        assertEquals(
                "a test; 1 word reads nothing of the image in these layers, so there is no picture of these",
                direction.meaning());
        assertArrayEquals(
                new float[] {1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}, direction.values().orElseThrow());
        assertArrayEquals(new float[] {3, 4, 5, 6, 3, 4, 5, 6}, direction.mean());
        assertArrayEquals(new float[] {6, 8, 10, 12}, direction.sum().orElseThrow());
        assertEquals(List.of(), page(new float[24], new float[6]));
    }
}

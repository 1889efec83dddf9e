package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import stormsight.image.Box;
import stormsight.image.RgbImage;
import stormsight.model.Span;
import stormsight.probe.AttentionMap;
import stormsight.probe.AttentionReading;
import stormsight.probe.Word;

class AttentionFilesTest {
    @Test
    void layersThatFollowEachOtherAreRanges() {
        assertEquals("0, 3-5", AttentionFiles.ranges(List.of(0, 3, 4, 5)));
        assertEquals("7", AttentionFiles.ranges(List.of(7)));
    }

    /** What LLaVA-1.5 sees of a wide image is its middle; tiles may reach beyond an image. */
    @Test
    void picturesShowWhatTheModelSees() {
        byte[] samples = new byte[3 * 5 * 2];
        for (int i = 0; i < samples.length; i++) {
            samples[i] = (byte) (i + 1);
        }
        RgbImage image = new RgbImage(5, 2, samples);
        assertSame(image, AttentionFiles.covered(image, new Box(0, 0, 5, 2)));
        RgbImage middle = AttentionFiles.covered(image, new Box(1.4, 0, 2.2, 2));
        assertEquals(List.of(3, 2), List.of(middle.width(), middle.height()));
        assertEquals(image.sample(1, 1, 2), middle.sample(0, 1, 2));
        RgbImage beyond = AttentionFiles.covered(image, new Box(-1, -0.6, 6, 4));
        assertEquals(List.of(6, 4), List.of(beyond.width(), beyond.height()));
        assertEquals(0, beyond.sample(0, 1, 0));
        assertEquals(image.sample(4, 1, 0), beyond.sample(5, 2, 0));
        assertEquals(0, beyond.sample(5, 3, 0));
    }

    private static AttentionReading reading(int firstSeeing) {
        List<Word> words = IntStream.range(0, 4).mapToObj(i -> new Word(i, i, "word" + i, i == 3)).toList();
        AttentionMap sum = new AttentionMap(
                AttentionMap.WORD_TO_IMAGE_SUM,
                "a test",
                List.of(
                        AttentionMap.Axis.counted("word", 4),
                        AttentionMap.Axis.counted("row", 2),
                        AttentionMap.Axis.counted("column", 1)),
                new float[] {0, 0, 0.5f, 0, 0, 0, 0, 0.25f});
        return new AttentionReading(
                words, List.of(0), new Span.Grid(2, 1, 1, new Box(0, 0, 1, 2)), List.of(sum), firstSeeing, 4);
    }

    /** A window of Gemma 2 makes maps of zeros, too, of words that stand where they could see the image. */
    @Test
    void whyAWordHasNoPicture() {
        assertEquals(
                "2 words read nothing of the image in these layers, so there is no picture of these",
                AttentionFiles.notShown(reading(0)).orElseThrow());
        assertEquals(
                "1 word before the image cannot see it: no token of this model sees a later one; 1 word reads nothing "
                        + "of the image in these layers, so there is no picture of these",
                AttentionFiles.notShown(reading(1)).orElseThrow());
    }
}

package stormsight.probe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.image.Box;
import stormsight.image.RgbImage;
import stormsight.model.Preset;
import stormsight.model.Processor;
import stormsight.model.VisionLanguageModel;
import stormsight.model.family.Families;
import tools.jackson.databind.json.JsonMapper;

class ObjectPatchesTest {
    private static final int SIZE = 56;
    private static final int PATCH = 14;
    private static final Processor PROCESSOR = processor();

    /** Of the tiny preset, whose images have that size and patches. */
    private static Processor processor() {
        Preset tiny = Families.presets().stream()
                .filter(preset -> preset.name().equals("tiny"))
                .findFirst()
                .orElseThrow();
        try {
            Path folder = Files.createTempDirectory("stormsight-test-");
            Path config = folder.resolve("config.json");
            Files.writeString(config, JsonMapper.shared().writeValueAsString(tiny.files("float32").get("config.json")));
            try {
                return ((VisionLanguageModel) Families.configured(folder)).processor();
            } finally {
                Files.delete(config);
                Files.delete(folder);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static RgbImage image(int width, int height) {
        return new RgbImage(width, height, new byte[3 * width * height]);
    }

    private static List<Integer> patches(RgbImage image, Box... boxes) {
        return ObjectPatches.of(PROCESSOR, image, List.of(boxes));
    }

    @Test
    void aPixelIsEnoughWhereNothingIsResized() {
        RgbImage image = image(SIZE, SIZE);
        assertEquals(List.of(0), patches(image, new Box(13, 13, 1, 1)));
        assertEquals(List.of(0, 1, 4, 5), patches(image, new Box(13, 13, 2, 2)));
        assertEquals(List.of(5, 15), patches(image, new Box(14, 14, 14, 14), new Box(55, 55, 100, 100)));
        assertEquals(IntStream.range(0, 16).boxed().toList(), patches(image, new Box(-5, -5, 1000, 1000)));
        assertEquals(List.of(0), patches(image, new Box(0.4, 0.4, 0.2, 0.2)));
    }

    /** Each side is resized by itself, so a patch is 30 x 20 pixels of this image. */
    @Test
    void followsTheResize() {
        RgbImage image = image(120, 80);
        assertEquals(List.of(6), patches(image, new Box(63, 23, 24, 14)));
        assertEquals(List.of(8, 9, 10, 11), patches(image, new Box(0, 42, 120, 16)));
    }

    /**
     * A pixel of the resized image that is only partly the object's does not count: the border between two patches
     * belongs to neither.
     */
    @Test
    void partOfAPixelIsNotEnough() {
        RgbImage large = image(SIZE * 20, SIZE * 20);
        assertEquals(List.of(), patches(large, new Box(20 * 7, 20 * 7, 15, 15)));
        assertEquals(List.of(0), patches(large, new Box(20 * 5, 20 * 5, 100, 100)));
    }

    @Test
    void aMaskMarksAsBoxesDo() {
        RgbImage mask = image(120, 80);
        for (int y = 23; y < 37; y++) {
            for (int x = 63; x < 87; x++) {
                mask.rgb()[3 * (y * 120 + x) + 2] = 1;
            }
        }
        assertEquals(
                patches(image(120, 80), new Box(63, 23, 24, 14)), ObjectPatches.of(PROCESSOR, image(120, 80), mask));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> ObjectPatches.of(PROCESSOR, image(80, 120), mask))
                .getMessage()
                .contains("a mask of 120 x 80 for an image of 80 x 120"));
    }

    /** Patches do not overlap, so those of all single pixels together are all patches. */
    @Test
    void everyPixelBelongsToOnePatch() {
        RgbImage image = image(SIZE, SIZE);
        List<Integer> seen = new ArrayList<>();
        for (int y = 0; y < SIZE; y += 7) {
            for (int x = 0; x < SIZE; x += 7) {
                List<Integer> patches = patches(image, new Box(x, y, 1, 1));
                assertEquals(List.of(y / PATCH * 4 + x / PATCH), patches);
                seen.addAll(patches);
            }
        }
        assertEquals(16, seen.stream().distinct().count());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "1,2,3", "1,2,3,4,5", "a,2,3,4", "1,2,0,4", "1,2,3,-4", "NaN,2,3,4", "1e400,2,3,4"})
    void refusesWhatIsNoBox(String text) {
        assertThrows(IllegalArgumentException.class, () -> Box.parse(text));
    }

    @Test
    void refusesABoxOutsideOfTheImage() {
        assertEquals(new Box(56, 0, 4, 4), Box.parse("56,0,4,4"));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> patches(image(SIZE, SIZE), Box.parse("56,0,4,4")))
                .getMessage()
                .contains("outside of the image of 56 x 56"));
    }
}

package stormsight.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class PatchesTest {
    private static final Path GOLDENS = Path.of("src/test/resources/goldens");

    /** One step of F32 near 1 is 1e-7. */
    private static final float F32 = 1e-6f;

    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    @ParameterizedTest
    @ValueSource(strings = {"paligemma-mqa", "paligemma-gqa"})
    void givesThePixelValuesOfTransformers(String golden) throws IOException {
        Path folder = GOLDENS.resolve(golden);
        JsonNode vision = JsonMapper.shared().readTree(folder.resolve("config.json").toFile()).get("vision_config");
        int size = vision.get("image_size").asInt();
        int patch = vision.get("patch_size").asInt();
        Preprocessing preprocessing = Preprocessing.siglip(size);
        RgbImage image = new ImageDecoder().decode(folder.resolve("input.png"));
        RgbImage resized = preprocessing.resize(image);
        byte[] expected = GoldenImagesTest.tensor(folder, "pixel_values");
        float[] pixels = new float[3 * size * size];
        ByteBuffer.wrap(expected).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(pixels);

        MemorySegment actual = MemorySegment.ofArray(new byte[4 * pixels.length]);
        preprocessing.patches().writePixels(resized, actual);
        for (int i = 0; i < pixels.length; i++) {
            assertEquals(pixels[i], actual.get(FLOAT, 4L * i), F32);
        }

        int across = size / patch;
        assertEquals(across * across, Patches.count(size, size, patch));
        MemorySegment patches = MemorySegment.ofArray(new byte[4 * 3 * across * across * patch * patch]);
        assertArrayEquals(resized.rgb(), preprocessing.writePatches(image, patch, patches).rgb());
        int at = 0;
        for (int n = 0; n < across * across; n++) {
            for (int i = 0; i < 3 * patch * patch; i++, at += 4) {
                int y = n / across * patch + i / patch % patch;
                int x = n % across * patch + i % patch;
                assertEquals(pixels[(i / (patch * patch) * size + y) * size + x], patches.get(FLOAT, at), F32);
            }
        }
    }

    @Test
    void leavesOutSurplusPixels() {
        RgbImage image = RgbImage.black(5, 3);
        for (int i = 0; i < image.rgb().length; i++) {
            image.rgb()[i] = (byte) i;
        }
        MemorySegment out = MemorySegment.ofArray(new byte[4 * 2 * 12]);
        new Patches(1, List.of(0.0, 0.0, 0.0), List.of(1.0, 1.0, 2.0)).write(image, 2, out);
        float[] values = new float[24];
        for (int i = 0; i < values.length; i++) {
            values[i] = out.get(FLOAT, 4 * i);
        }
        assertArrayEquals(
                new float[] {
                    0, 3, 15, 18, 1, 4, 16, 19, 1, 2.5f, 8.5f, 10, 6, 9, 21, 24, 7, 10, 22, 25, 4, 5.5f, 11.5f, 13
                },
                values);
    }

    @Test
    void checksItsArguments() {
        RgbImage image = RgbImage.black(4, 4);
        Patches patches = Preprocessing.siglip(4).patches();
        MemorySegment small = MemorySegment.ofArray(new byte[8]);
        assertThrows(IllegalArgumentException.class, () -> patches.write(image, 2, small));
        assertThrows(IllegalArgumentException.class, () -> patches.write(image, 5, small));
        assertThrows(IllegalArgumentException.class, () -> patches.writePixels(image, small));
        assertThrows(IllegalArgumentException.class, () -> new Patches(1, List.of(0.0), List.of(1.0)));
        assertThrows(IllegalArgumentException.class, () -> Preprocessing.siglip(0));
        assertThrows(IllegalArgumentException.class, () -> new RgbImage(2, 2, new byte[11]));
    }
}

package stormsight.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Pillow's results for the same files: equal in every sample. */
class GoldenImagesTest {
    static final Path IMAGES = Path.of("src/test/resources/goldens/images");

    @ParameterizedTest
    @ValueSource(strings = {"rgb", "rgba", "gray", "palette", "wide", "tall", "upscaled"})
    void resizesPngFilesAsPillow(String name) throws IOException {
        RgbImage image = decode(name + ".png");
        for (String job : new String[] {"bicubic", "bilinear", "clip"}) {
            assertEqual(name + "." + job, image, 0);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"palette", "exif6"})
    void resizesDecodedFilesAsPillow(String name) throws IOException {
        RgbImage image = decode(name + ".decoded.png");
        for (String job : new String[] {"bicubic", "bilinear", "clip"}) {
            assertEqual(name + "." + job, image, 0);
        }
    }

    @Test
    void turnsByOrientation() throws IOException {
        RgbImage turned = decode("exif6.jpg");
        assertClose(decode("exif6.decoded.png").rgb(), turned.rgb(), 0, "exif6");
        for (String job : new String[] {"bicubic", "bilinear", "clip"}) {
            assertEqual("exif6." + job, turned, 0);
        }
        RgbImage stored = new ImageDecoder(false, 100_000, 100_000).decode(IMAGES.resolve("exif6.jpg"));
        assertEquals(220, stored.width());
        assertClose(decode("exif6_noexif.decoded.png").rgb(), stored.rgb(), 0, "exif6_noexif");
        assertClose(tensor("exif6_noexif.bicubic56"), resize(stored, "bicubic", 56).rgb(), 0, "exif6_noexif");
    }

    @Test
    void takesTheHighByteOf16Bits() throws IOException {
        assertClose(
                tensor("gray16_highbyte.bicubic56"),
                resize(decode("gray16.png"), "bicubic", 56).rgb(),
                0,
                "gray16");
    }

    @Test
    void expandsPalettes() {
        assertArrayEquals(decode("palette.decoded.png").rgb(), decode("palette.png").rgb());
    }

    private static void assertEqual(String golden, RgbImage image, int levels) throws IOException {
        String job = golden.substring(golden.lastIndexOf('.') + 1);
        RgbImage expected = decode(golden + "224.png");
        assertClose(expected.rgb(), resize(image, job, 224).rgb(), levels, golden);
        assertClose(tensor(golden + "56"), resize(image, job, 56).rgb(), levels, golden);
    }

    private static RgbImage resize(RgbImage image, String job, int size) {
        return switch (job) {
            case "bicubic" -> Resize.resize(image, size, size, Resampling.BICUBIC);
            case "bilinear" -> Resize.resize(image, size, size, Resampling.BILINEAR);
            case "clip" -> Resize.shorterSide(image, size, Resampling.BICUBIC).centreCrop(size);
            default -> throw new IllegalArgumentException(job);
        };
    }

    static RgbImage decode(String file) {
        return new ImageDecoder().decode(IMAGES.resolve(file));
    }

    static void assertClose(byte[] expected, byte[] actual, int levels, String what) {
        assertEquals(expected.length, actual.length, what);
        int worst = 0;
        for (int i = 0; i < expected.length; i++) {
            worst = Math.max(worst, Math.abs((expected[i] & 0xff) - (actual[i] & 0xff)));
        }
        assertTrue(worst <= levels, what + " is off by " + worst);
    }

    private static byte[] tensor(String name) throws IOException {
        return tensor(IMAGES, name);
    }

    /** The bytes of a tensor in expected.safetensors. */
    static byte[] tensor(Path folder, String name) throws IOException {
        byte[] file = Files.readAllBytes(folder.resolve("expected.safetensors"));
        int header = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getInt();
        JsonNode offsets = JsonMapper.shared().readTree(file, 8, header).get(name).get("data_offsets");
        return Arrays.copyOfRange(file, 8 + header + offsets.get(0).asInt(), 8 + header + offsets.get(1).asInt());
    }
}

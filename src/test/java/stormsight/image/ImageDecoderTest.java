package stormsight.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Small files of every kind that is read; beside each stands what Pillow 9.4 made of it, as NAME.expected.png. */
class ImageDecoderTest {
    private static final Path FILES = Path.of("src/test/resources/images");

    /** JPEG decoders differ in the last bits. */
    private static final int JPEG_LEVELS = 3;

    /** The reader of lossy WebP repeats chroma where libwebp interpolates it, so that only the luma is comparable. */
    private static final double WEBP_LUMA = 6;

    private static final ImageDecoder SMALL = new ImageDecoder(true, 100_000, 100_000);

    static List<Path> files() throws IOException {
        try (Stream<Path> files = Files.list(FILES)) {
            return files.filter(f -> !f.toString().endsWith(".expected.png")).sorted().toList();
        }
    }

    @ParameterizedTest
    @MethodSource("files")
    void readsWhatPillowReads(Path file) {
        String name = file.getFileName().toString();
        RgbImage expected = SMALL.decode(FILES.resolve(name.substring(0, name.lastIndexOf('.')) + ".expected.png"));
        RgbImage actual = SMALL.decode(file);
        assertEquals(expected.width(), actual.width());
        assertEquals(expected.height(), actual.height());
        if (name.startsWith("lossy")) {
            for (int y = 0; y < actual.height(); y++) {
                for (int x = 0; x < actual.width(); x++) {
                    assertEquals(luma(expected, x, y), luma(actual, x, y), WEBP_LUMA);
                }
            }
        } else {
            GoldenImagesTest.assertClose(expected.rgb(), actual.rgb(), name.endsWith(".jpg") ? JPEG_LEVELS : 0, name);
        }
    }

    private static double luma(RgbImage image, int x, int y) {
        return 0.299 * image.sample(x, y, 0) + 0.587 * image.sample(x, y, 1) + 0.114 * image.sample(x, y, 2);
    }

    @Test
    void turnsAndMirrors() {
        RgbImage image = new RgbImage(2, 3, new byte[] {1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6});
        String[] upright = {"12/34/56", "21/43/65", "65/43/21", "56/34/12", "135/246", "531/642", "642/531", "246/135"};
        for (int orientation = 1; orientation <= 8; orientation++) {
            RgbImage turned = Exif.upright(image, orientation);
            StringBuilder text = new StringBuilder();
            for (int y = 0; y < turned.height(); y++) {
                text.append(y == 0 ? "" : "/");
                for (int x = 0; x < turned.width(); x++) {
                    text.append(turned.sample(x, y, 2));
                }
            }
            assertEquals(upright[orientation - 1], text.toString());
        }
    }

    @ParameterizedTest
    @MethodSource("files")
    void refusesFilesThatEndTooEarly(Path file) throws IOException {
        byte[] good = Files.readAllBytes(file);
        // The first frame, which is all that is read, ends in the middle of an animation.
        boolean animated = file.getFileName().toString().startsWith("anim");
        for (double part : new double[] {0.0, 0.1, animated ? 0.2 : 0.5, animated ? 0.3 : 0.9}) {
            byte[] cut = Arrays.copyOf(good, (int) (part * good.length));
            ImageException e = assertThrows(
                    ImageException.class, () -> SMALL.decode(new ByteArrayInputStream(cut), "cut"), () -> part + " of " + file);
            assertTrue(e.getMessage().startsWith("cut: "), e.getMessage());
        }
    }

    @ParameterizedTest
    @MethodSource("files")
    void neverFailsOtherwise(Path file) throws IOException {
        byte[] good = Files.readAllBytes(file);
        Random random = new Random(file.getFileName().toString().hashCode());
        for (int i = 0; i < 80; i++) {
            byte[] bad = i % 4 == 0 ? Arrays.copyOf(good, random.nextInt(good.length)) : good.clone();
            for (int flips = i % 4; flips > 0 && bad.length > 0; flips--) {
                // Headers break in more ways than pixels do.
                int at = random.nextInt(i % 2 == 0 ? bad.length : Math.min(bad.length, 64));
                bad[at] = (byte) (i % 3 == 0 ? 0xff : random.nextInt(256));
            }
            if (file.toString().endsWith(".png") && i % 5 != 0) {
                mendChecksums(bad);
            }
            try {
                RgbImage image = SMALL.decode(new ByteArrayInputStream(bad), "bad");
                assertTrue(image.width() * image.height() <= SMALL.maxPixels());
            } catch (ImageException e) {
                assertTrue(e.getMessage().startsWith("bad: ") && !e.getMessage().contains("\n"), e.getMessage());
            }
        }
    }

    /** Without this nearly every change to a PNG file would end at a checksum. */
    private static void mendChecksums(byte[] png) {
        ByteBuffer in = ByteBuffer.wrap(png);
        for (int at = 8; at + 12 <= png.length;) {
            int length = in.getInt(at);
            if (length < 0 || length > png.length - at - 12) {
                return;
            }
            CRC32 crc = new CRC32();
            crc.update(png, at + 4, 4 + length);
            in.putInt(at + 8 + length, (int) crc.getValue());
            at += 12 + length;
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"q90.jpg", "trns.png", "palette.gif", "rgb24.bmp", "lossless.webp", "lossy-alpha.webp"})
    void refusesTooManyPixelsBeforeDecoding(String name) {
        RgbImage image = SMALL.decode(FILES.resolve(name));
        long pixels = (long) image.width() * image.height();
        assertArrayEquals(image.rgb(), new ImageDecoder(true, pixels, 100_000).decode(FILES.resolve(name)).rgb());
        ImageException e = assertThrows(
                ImageException.class, () -> new ImageDecoder(true, pixels - 1, 100_000).decode(FILES.resolve(name)));
        assertTrue(e.getMessage().contains("61 x 47 pixels are more than the limit of 2866"), e.getMessage());
    }

    @Test
    void refusesDeclaredSizesWithoutTheMemory() throws IOException {
        byte[] png = Files.readAllBytes(FILES.resolve("gamma.png"));
        ByteBuffer.wrap(png).putInt(16, 60_000).putInt(20, 60_000);
        mendChecksums(png);
        assertMessage("60000 x 60000 pixels are more than the limit", png);
        ByteBuffer.wrap(png).putInt(16, 1_000_000).putInt(20, 1);
        mendChecksums(png);
        assertMessage("1000000 x 1 pixels: a side is longer than 524288", png);
        ByteBuffer.wrap(png).putInt(16, 0);
        mendChecksums(png);
        assertThrows(ImageException.class, () -> new ImageDecoder().decode(new ByteArrayInputStream(png), "x"));
        byte[] gif = Files.readAllBytes(FILES.resolve("palette.gif"));
        Arrays.fill(gif, 6, 10, (byte) 0xff);
        assertMessage("65535 x 65535 pixels are more than the limit", gif);
    }

    @Test
    void saysWhatIsWrong(@TempDir Path folder) {
        assertMessage("it is empty", new byte[0]);
        assertMessage("its format is not known; PNG, JPEG, GIF, BMP and WebP are read", "hello".getBytes());
        assertFileMessage("no such file", folder.resolve("none.png"));
        assertFileMessage("is a directory", folder);
        ImageException e = assertThrows(
                ImageException.class, () -> new ImageDecoder(true, 1000, 10).decode(FILES.resolve("q90.jpg")));
        assertTrue(e.getMessage().endsWith("q90.jpg: more than 10 bytes"), e.getMessage());
        assertThrows(IllegalArgumentException.class, () -> new ImageDecoder(true, 1L << 40, 10));
    }

    @Test
    void stopsReadingAtTheLimit() {
        InputStream endless = new InputStream() {
            @Override
            public int read() {
                return 'B';
            }
        };
        assertThrows(ImageException.class, () -> SMALL.decode(endless, "endless"));
    }

    private static void assertMessage(String message, byte[] file) {
        ImageException e = assertThrows(
                ImageException.class, () -> new ImageDecoder().decode(new ByteArrayInputStream(file), "x"));
        assertTrue(e.getMessage().startsWith("x: " + message), e.getMessage());
    }

    private static void assertFileMessage(String message, Path file) {
        ImageException e = assertThrows(ImageException.class, () -> new ImageDecoder().decode(file));
        assertEquals(file + ": " + message, e.getMessage());
    }
}

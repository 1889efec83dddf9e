package stormsight.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Small files of every kind that is read; beside each stands what Pillow 12.3 makes of it after exif_transpose, as
 * NAME.expected.png.
 */
class ImageDecoderTest {
    private static final Path FILES = Path.of("src/test/resources/images");

    /** On the busiest machine; what ran on over nothing took hours there. */
    private static final Duration AT_ONCE = Duration.ofMinutes(2);

    private static final ImageDecoder SMALL = new ImageDecoder(true, 250_000, 100_000);

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
        GoldenImagesTest.assertClose(expected.rgb(), actual.rgb(), 0, name);
    }

    @Test
    void turnsAndMirrors() {
        RgbImage image = new RgbImage(2, 3, new byte[] {1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6});
        String[] upright = {"12/34/56", "21/43/65", "65/43/21", "56/34/12", "135/246", "531/642", "642/531", "246/135"};
        for (int orientation = 1; orientation <= 8; orientation++) {
            RgbImage turned = Orientation.upright(image, orientation);
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

    /** Whatever is cut off, an image is never filled up: either it is refused or all of its pixels are there. */
    @ParameterizedTest
    @MethodSource("files")
    void refusesFilesThatEndTooEarly(Path file) throws IOException {
        byte[] good = Files.readAllBytes(file);
        // Metadata may lie behind the pixels.
        ImageDecoder asStored = new ImageDecoder(false, SMALL.maxPixels(), SMALL.maxBytes());
        byte[] pixels = asStored.decode(file).rgb();
        for (int part = 0; part < 20; part++) {
            byte[] cut = Arrays.copyOf(good, part * good.length / 20);
            try {
                assertArrayEquals(pixels, asStored.decode(new ByteArrayInputStream(cut), "cut").rgb(),
                        () -> cut.length + " bytes of " + file);
                assertTrue(part > 2, file + " ends early");
            } catch (ImageException e) {
                assertTrue(e.getMessage().startsWith("cut: "), e.getMessage());
            }
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
        ImageFuzzTest.mendChecksums(png);
        assertMessage("60000 x 60000 pixels are more than the limit", png);
        ByteBuffer.wrap(png).putInt(16, 1_000_000).putInt(20, 1);
        ImageFuzzTest.mendChecksums(png);
        assertMessage("1000000 x 1 pixels: a side is longer than 524288", png);
        ByteBuffer.wrap(png).putInt(16, 0);
        ImageFuzzTest.mendChecksums(png);
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

    /** Each file with what is said of it; the image itself is checked with all others. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "jpg-no-eoi-trailer.jpg | it has no end marker; all of its pixels are there",
        "no-iend.png | it ends without the chunk IEND; all of its pixels are there",
        "webp-trailing.webp | 8 bytes behind the end of the image are not read",
        "q90.jpg | "
    })
    void saysWhatIsOddAboutTheEnd(String name, String remark) throws IOException {
        List<String> warnings = new ArrayList<>();
        SMALL.decode(Files.newInputStream(FILES.resolve(name)), name, warnings::add);
        assertEquals(remark == null ? List.of() : List.of(name + ": " + remark), warnings);
    }

    @Test
    void readsTrailersOfJpegAndPng() throws IOException {
        for (String name : List.of("q90.jpg", "progressive.jpg", "gamma.png")) {
            byte[] good = Files.readAllBytes(FILES.resolve(name));
            List<String> warnings = new ArrayList<>();
            byte[] longer = ByteBuffer.allocate(good.length + 1000).put(good).put(good, 0, 1000).array();
            RgbImage image = SMALL.decode(new ByteArrayInputStream(longer), "x", warnings::add);
            assertArrayEquals(SMALL.decode(FILES.resolve(name)).rgb(), image.rgb());
            assertEquals(List.of("x: 1000 bytes behind the end of the image are not read"), warnings);
        }
    }

    /** Of a file that has not ended all scans are wanted: those that a progressive image lacks would be details. */
    @Test
    void refusesProgressiveJpegWithoutItsLastScans() throws IOException {
        byte[] good = Files.readAllBytes(FILES.resolve("progressive.jpg"));
        int lastScan = 0;
        for (int at = 0; at < good.length - 1; at++) {
            lastScan = good[at] == -1 && good[at + 1] == (byte) 0xda ? at : lastScan;
        }
        byte[] cut = Arrays.copyOf(good, lastScan + 2);
        cut[lastScan + 1] = (byte) 0xd9;
        assertMessage("it ends too early: scans are missing", cut);
    }

    @Test
    void boundsTheScansOfAJpeg() throws IOException {
        byte[] good = Files.readAllBytes(FILES.resolve("progressive.jpg"));
        int size = 0;
        int scan = 0;
        for (int at = good.length - 2; at > 0; at--) {
            if (good[at] == -1 && good[at + 1] == (byte) 0xc2) {
                size = at + 5;
            } else if (good[at] == -1 && good[at + 1] == (byte) 0xda && scan == 0) {
                scan = at;
            }
        }
        int length = good.length - 2 - scan;
        ByteBuffer many = ByteBuffer.allocate(good.length + 2000 * length).put(good, 0, good.length - 2);
        for (int i = 0; i < 2000; i++) {
            many.put(good, scan, length);
        }
        many.putShort(size, (short) 10_000).putShort(size + 2, (short) 10_000);
        assertTimeoutPreemptively(AT_ONCE,
                () -> assertMessage("more than 29 scans of 10000 x 10000 pixels would take too long",
                many.array()));
    }

    @Test
    void adobeSegmentsBehindTheScanSayNothing() throws IOException {
        byte[] good = Files.readAllBytes(FILES.resolve("rgb-ids.jpg"));
        byte[] segment = {(byte) 0xff, (byte) 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 1};
        ByteBuffer late = ByteBuffer.allocate(good.length + segment.length).put(good, 0, good.length - 2)
                .put(segment).putShort((short) 0xffd9);
        assertArrayEquals(SMALL.decode(FILES.resolve("rgb-ids.jpg")).rgb(),
                SMALL.decode(new ByteArrayInputStream(late.array()), "late").rgb());
    }

    /** Files that end before their pixels do: refused at once, however large they say they are. */
    @ParameterizedTest
    @CsvSource({"half.gif", "658-bytes-13377x13377.gif", "306-bytes-48x36.webp", "36-bytes-2000x2000.webp",
            "36-bytes.webp"})
    void refusesPixelsThatAreMissingAtOnce(String name) {
        ImageException e = assertTimeoutPreemptively(AT_ONCE, () -> assertThrows(
                ImageException.class,
                () -> new ImageDecoder().decode(Path.of("src/test/resources/broken-images").resolve(name))));
        assertTrue(e.getMessage().contains("ends too early") || e.getMessage().contains("broken"), e.getMessage());
    }

    /** Behind the code of the last pixel comes one that ends them, in the last byte of their last block. */
    @Test
    void warnsOfAGifThatEndsInsideItsLastBlock() throws IOException {
        byte[] gif = Files.readAllBytes(FILES.resolve("palette.gif"));
        byte[] cut = Arrays.copyOf(gif, gif.length - 3);
        List<String> warnings = new ArrayList<>();
        RgbImage image = SMALL.decode(new ByteArrayInputStream(cut), "x", warnings::add);
        assertArrayEquals(SMALL.decode(FILES.resolve("palette.gif")).rgb(), image.rgb());
        assertEquals(List.of("x: its last block of pixels is cut short; all of its pixels are there"), warnings);
        SMALL.decode(new ByteArrayInputStream(Arrays.copyOf(gif, gif.length - 1)), "x", warnings::add);
        assertEquals(1, warnings.size());
    }

    @Test
    void broken16BitGrayIsSaidToDiffer() throws IOException {
        List<String> warnings = new ArrayList<>();
        SMALL.decode(Files.newInputStream(GoldenImagesTest.IMAGES.resolve("gray16.png")), "gray", warnings::add);
        assertEquals(1, warnings.size());
    }

    @Test
    void saysThatMetadataIsBroken() throws IOException {
        byte[] exif = Files.readAllBytes(FILES.resolve("turn-exif-element.webp"));
        int tiff = new String(exif, StandardCharsets.ISO_8859_1).lastIndexOf("II*");
        exif[tiff] = 'X';
        List<String> warnings = new ArrayList<>();
        assertEquals(30, SMALL.decode(new ByteArrayInputStream(exif), "x", warnings::add).width());
        String remark = "x: its EXIF data begins with neither II nor MM and 42; an orientation in it is not applied";
        assertEquals(List.of(remark), warnings);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "II*\\0 | it is a TIFF image, which is not supported; convert it to PNG or JPEG",
        "\\0\\0\\0\\x18ftypheic\\0\\0\\0\\0mif1heic | it is a HEIC image",
        "\\0\\0\\0\\x1cftypmif1\\0\\0\\0\\0mif1avifmiaf | it is an AVIF image",
        "\\0\\0\\0\\x18ftypisom\\0\\0\\0\\0mp42isom | it is a video",
        "8BPS\\0\\1 | it is a Photoshop document (PSD), which is not supported",
        "%PDF-1.7 | it is a PDF document, which is not supported",
        "<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/> | it is an SVG drawing, which is not supported",
        "\\x1aE\\xdf\\xa3webm | it is a video (Matroska or WebM), which is not supported",
        "RIFF\\0\\0\\0\\0AVI LIST | it is a video (AVI), which is not supported",
        "PK\\x03\\x04 | it is an archive (ZIP or gzip), not an image; unpack it first",
        "{\"error\": 404} | it is JSON text, not an image, as servers send with an error",
        "iVBORw0KGgoAAAANSUhEUgAA | it is an image in base64; decode it first, or give it as a URL",
        "<!DOCTYPE html><title>404</title> | it is a web page (HTML), not an image; download the image itself",
        "version https://git-lfs.github.com/spec/v1 | it is a Git LFS pointer"
    })
    void namesWhatAFileIs(String file, String message) {
        StringBuilder bytes = new StringBuilder();
        Matcher piece = Pattern.compile("\\\\x(..)|\\\\(\\d)|(.)").matcher(file);
        while (piece.find()) {
            bytes.append(piece.group(3) != null ? piece.group(3)
                    : (char) Integer.parseInt(piece.group(1) != null ? piece.group(1) : piece.group(2), 16));
        }
        assertMessage(message, bytes.toString().getBytes(StandardCharsets.ISO_8859_1));
    }

    @ParameterizedTest
    @CsvSource({"0xc9, arithmetic", "0xca, arithmetic", "0xc3, lossless", "0xc5, hierarchical"})
    void namesTheKindOfJpeg(String marker, String kind) throws IOException {
        byte[] jpeg = Files.readAllBytes(FILES.resolve("q90.jpg"));
        for (int at = 0; at < jpeg.length - 1; at++) {
            if (jpeg[at] == -1 && jpeg[at + 1] == (byte) 0xc0) {
                jpeg[at + 1] = Integer.decode(marker).byteValue();
            }
        }
        assertMessage("JPEG with " + kind + " coding is not supported; convert it to PNG", jpeg);
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

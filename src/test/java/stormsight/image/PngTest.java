package stormsight.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import javax.imageio.ImageIO;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pixels of any kind against the JDK's reader: random bytes in rows of random filters. */
class PngTest {
    private static final int[][] SIZES = {{1, 1}, {2, 3}, {5, 1}, {7, 9}, {8, 8}, {17, 5}, {33, 19}};
    private static final int[][] PASSES = {
        {0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}
    };

    private final Random random = new Random(11);

    @ParameterizedTest
    @CsvSource({
        "0, 1, 1", "0, 2, 1", "0, 4, 1", "0, 8, 1", "0, 16, 1", "2, 8, 3", "2, 16, 3", "3, 1, 1", "3, 2, 1", "3, 4, 1",
        "3, 8, 1", "4, 8, 2", "4, 16, 2", "6, 8, 4", "6, 16, 4"
    })
    void readsWhatTheJdkReads(int colour, int bits, int channels) throws IOException {
        for (int[] size : SIZES) {
            for (boolean interlaced : new boolean[] {false, true}) {
                byte[] rows = rows(size, channels * bits, interlaced, 5);
                byte[] file = file(size[0], size[1], colour, bits, interlaced, rows);
                RgbImage read = new ImageDecoder().decode(new ByteArrayInputStream(file), "x", _ -> {});
                assertArrayEquals(samples(file), read.rgb(), size[0] + " x " + size[1] + ", interlaced " + interlaced);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"0, 3, colour type 0", "2, 4, 4 bits", "3, 16, 16 bits", "5, 8, colour type 5", "2, 8, a filter"})
    void refusesPixelsThatAreNone(int colour, int bits, String message) throws IOException {
        int[] size = {4, 4};
        byte[] rows = rows(size, 128, false, 1);
        // Of no kind of row.
        rows[0] = 5;
        byte[] file = file(size[0], size[1], colour, bits, false, rows);
        ImageException refused = assertThrows(
                ImageException.class, () -> new ImageDecoder().decode(new ByteArrayInputStream(file), "x"));
        assertTrue(refused.getMessage().contains(message), refused.getMessage());
    }

    /** @param filters how many kinds of rows there are */
    private byte[] rows(int[] size, int bits, boolean interlaced, int filters) {
        ByteArrayOutputStream rows = new ByteArrayOutputStream();
        for (int[] pass : interlaced ? PASSES : new int[][] {{0, 0, 1, 1}}) {
            int across = Math.ceilDiv(size[0] - pass[0], pass[2]);
            for (int y = pass[1]; y < size[1] && across > 0; y += pass[3]) {
                byte[] row = new byte[1 + Math.ceilDiv(across * bits, 8)];
                random.nextBytes(row);
                row[0] = (byte) random.nextInt(filters);
                rows.writeBytes(row);
            }
        }
        return rows.toByteArray();
    }

    private byte[] file(int width, int height, int colour, int bits, boolean interlaced, byte[] rows) {
        ByteArrayOutputStream file = new ByteArrayOutputStream();
        file.writeBytes(Png.MAGIC.getBytes(StandardCharsets.ISO_8859_1));
        chunk(file, "IHDR", ByteBuffer.allocate(13).putInt(width).putInt(height)
                .put((byte) bits).put((byte) colour).put(12, (byte) (interlaced ? 1 : 0)).array());
        if (colour == 3) {
            byte[] palette = new byte[3 << Math.min(bits, 8)];
            random.nextBytes(palette);
            chunk(file, "PLTE", palette);
        }
        try (Deflater deflater = new Deflater()) {
            deflater.setInput(rows);
            deflater.finish();
            byte[] data = new byte[2 * rows.length + 100];
            int length = deflater.deflate(data);
            chunk(file, "IDAT", ByteBuffer.allocate(length).put(data, 0, length).array());
        }
        chunk(file, "IEND", new byte[0]);
        return file.toByteArray();
    }

    private static void chunk(ByteArrayOutputStream file, String name, byte[] data) {
        byte[] named = ByteBuffer.allocate(4 + data.length).put(name.getBytes(StandardCharsets.ISO_8859_1)).put(data)
                .array();
        CRC32 crc = new CRC32();
        crc.update(named);
        file.writeBytes(ByteBuffer.allocate(4).putInt(data.length).array());
        file.writeBytes(named);
        file.writeBytes(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
    }

    /** The samples as they are stored: getRGB() would convert gray from a linear scale. */
    private static byte[] samples(byte[] file) throws IOException {
        BufferedImage image = ImageIO.read(new ByteArrayInputStream(file));
        Raster raster = image.getRaster();
        int[] bits = raster.getSampleModel().getSampleSize();
        ByteArrayOutputStream rgb = new ByteArrayOutputStream();
        for (int y = 0; y < image.getHeight(); y++) {
            for (int x = 0; x < image.getWidth(); x++) {
                int[] pixel = raster.getPixel(x, y, (int[]) null);
                for (int channel = 0; channel < 3; channel++) {
                    if (image.getColorModel() instanceof IndexColorModel palette) {
                        rgb.write(palette.getRGB(pixel[0]) >> 16 - 8 * channel);
                    } else {
                        int band = pixel.length < 3 ? 0 : channel;
                        rgb.write(bits[band] >= 8 ? pixel[band] >> bits[band] - 8
                                : pixel[band] * 255 / ((1 << bits[band]) - 1));
                    }
                }
            }
        }
        return rgb.toByteArray();
    }
}

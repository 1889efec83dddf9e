package stormsight.image;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * PNG files. The JDK's reader gets a file of the header, the palette and the pixels alone: colour profiles, gamma and
 * transparency, which Pillow's {@code convert("RGB")} ignores, can then neither be applied nor fail. The pixels are
 * known to be all there before that.
 */
final class Png {
    private static final byte[] SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

    static final String MAGIC = new String(SIGNATURE, StandardCharsets.ISO_8859_1);

    /** Most bytes of a text that is inflated: Pillow's MAX_TEXT_CHUNK. */
    private static final int MOST_TEXT = 1 << 20;

    /** Most bytes of all such texts together: Pillow's MAX_TEXT_MEMORY. */
    private static final int MOST_TEXTS = 64 << 20;

    private static final int PIECE = 1 << 16;

    /** Of Adam7's passes: first column and row, and the steps to the next. */
    private static final int[][] PASSES = {
        {0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}
    };

    private final Bytes in;
    private final Reading reading;
    private byte[] header;
    private byte[] palette;
    private int inflatedText;
    private final ByteArrayOutputStream pixels = new ByteArrayOutputStream();

    private Png(Bytes in, Reading reading) {
        this.in = in;
        this.reading = reading;
    }

    static RgbImage read(Bytes in, Reading reading) throws IOException {
        Png png = new Png(in, reading);
        Optional<String> remark = png.readChunks();
        RgbImage image = png.readPixels();
        remark.ifPresent(reading::warn);
        return image;
    }

    /**
     * Pixels end with the first chunk of another kind, as in Pillow.
     *
     * @return what is odd about the end of the file
     */
    private Optional<String> readChunks() throws IOException {
        boolean pixelsOver = false;
        int at = SIGNATURE.length;
        while (at <= in.length() - 8) {
            String name = in.name(at + 4);
            long length = in.bigInt(at) & 0xffffffffL;
            boolean isPixels = name.equals("IDAT");
            pixelsOver |= !isPixels && pixels.size() > 0;
            if (!name.matches("\\w{4}")) {
                if (pixelsOver) {
                    break;
                }
                throw new IOException("it has a chunk with a broken name");
            }
            if (isPixels && !pixelsOver) {
                int here = (int) Math.min(length, in.length() - at - 8L);
                pixels.write(in.data(), at + 8, here);
                if (here == length && at <= in.length() - 12 - length) {
                    checkSum(name, at, here);
                }
                if (here < length) {
                    at = in.length();
                    break;
                }
            } else {
                in.require(at, 8 + length);
                if (!pixelsOver) {
                    in.require(at, 12 + length);
                    checkSum(name, at, (int) length);
                }
                if (name.equals("IEND")) {
                    return Reading.behindTheEnd(in.length() - at - 12);
                }
                readChunk(name, at + 8, (int) length);
            }
            at += 12 + (int) length;
        }
        return Optional.of("it ends without the chunk IEND; all of its pixels are there");
    }

    private void readChunk(String name, int at, int length) throws IOException {
        switch (name) {
            case "IHDR" -> {
                if (length < 13) {
                    throw new IOException("its header is too short");
                }
                header = in.part(at, 13);
            }
            case "PLTE" -> palette = in.part(at, length);
            case "eXIf" -> reading.orientation().exif(in.part(at, length));
            case "tEXt", "zTXt", "iTXt" -> readText(name, in.part(at, length));
            default -> { }
        }
    }

    private void checkSum(String name, int at, int length) throws IOException {
        CRC32 crc = new CRC32();
        crc.update(in.data(), at + 4, 4 + length);
        if ((int) crc.getValue() != in.bigInt(at + 8 + length)) {
            throw new IOException("the checksum of its chunk " + name + " is wrong");
        }
    }

    /** XMP, and the EXIF data that ImageMagick writes as digits. */
    private void readText(String chunk, byte[] text) throws IOException {
        int key = indexOfZero(text, 0);
        String name = new String(text, 0, key, StandardCharsets.ISO_8859_1);
        boolean xmp = name.equals("XML:com.adobe.xmp");
        if (!xmp && !name.equals("Raw profile type exif")) {
            return;
        }
        byte[] value = null;
        if (chunk.equals("tEXt")) {
            value = Arrays.copyOfRange(text, Math.min(key + 1, text.length), text.length);
        } else if (chunk.equals("zTXt") && key + 2 <= text.length && text[key + 1] == 0) {
            value = inflated(text, key + 2);
        } else if (chunk.equals("iTXt") && key + 3 <= text.length) {
            int from = indexOfZero(text, indexOfZero(text, key + 3) + 1) + 1;
            boolean compressed = text[key + 1] != 0;
            if (from <= text.length) {
                value = compressed ? inflated(text, from) : Arrays.copyOfRange(text, from, text.length);
            }
        }
        if (value == null) {
            reading.warn("its text \"" + name + "\" is broken; an orientation in it is not applied");
        } else if (xmp) {
            reading.orientation().xmp(value);
        } else {
            readRawProfile(new String(value, StandardCharsets.ISO_8859_1));
        }
    }

    /** Three lines of name and size, then digits. */
    private void readRawProfile(String profile) {
        String[] lines = profile.split("\n", 4);
        try {
            reading.orientation().exifProfile(HexFormat.of().parseHex(
                    lines.length < 4 ? "" : lines[3].replaceAll("\\s", "")));
        } catch (IllegalArgumentException e) {
            reading.warn("its raw EXIF profile is broken; an orientation in it is not applied");
        }
    }

    private static int indexOfZero(byte[] text, int from) {
        int at = from;
        while (at < text.length && text[at] != 0) {
            at++;
        }
        return at;
    }

    /** Null if that is broken or longer than a text may be. */
    private byte[] inflated(byte[] data, int from) throws IOException {
        inflatedText += MOST_TEXT;
        if (inflatedText > MOST_TEXTS) {
            throw new IOException("it has too many compressed texts");
        }
        try (Inflater inflater = new Inflater()) {
            inflater.setInput(data, from, data.length - from);
            byte[] text = new byte[MOST_TEXT];
            int length = inflater.inflate(text);
            return inflater.finished() ? Arrays.copyOf(text, length) : null;
        } catch (DataFormatException e) {
            return null;
        }
    }

    private RgbImage readPixels() throws IOException {
        if (header == null || pixels.size() == 0) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        ByteBuffer fields = ByteBuffer.wrap(header);
        int width = fields.getInt(0);
        int height = fields.getInt(4);
        reading.checkSize(width, height);
        // A method of compression that is not 0 is no concern of Pillow's, and any interlacing is Adam7.
        header[10] = 0;
        header[12] = (byte) (header[12] == 0 ? 0 : 1);
        int channels = switch (header[9]) {
            case 2 -> 3;
            case 4 -> 2;
            case 6 -> 4;
            default -> 1;
        };
        if (header[9] == 0 && header[8] == 16) {
            reading.warn("of 16 bits of gray the upper 8 are taken; "
                    + "Pillow turns all but the darkest such pixels white");
        }
        byte[] data = pixels.toByteArray();
        requireInflated(data, bytes(width, height, channels * header[8], header[12] == 1));
        ByteArrayOutputStream file = new ByteArrayOutputStream(data.length + 1000);
        file.writeBytes(SIGNATURE);
        write(file, "IHDR", header);
        if (palette != null && header[9] == 3) {
            // Colours that are not there are black.
            byte[] colours = Arrays.copyOf(palette, palette.length / 3 * 3);
            write(file, "PLTE", Arrays.copyOf(colours, Math.max(colours.length, 3 << Math.clamp(header[8], 1, 8))));
        }
        write(file, "IDAT", data);
        write(file, "IEND", new byte[0]);
        ImageReader reader = Reading.jdkReader("PNG");
        try (ImageInputStream stream = new MemoryCacheImageInputStream(new ByteArrayInputStream(file.toByteArray()))) {
            reader.setInput(stream, true, true);
            return rgb(reader.read(0));
        } finally {
            reader.dispose();
        }
    }

    /** What the pixels take, with the byte that says how each row is filtered. */
    private static long bytes(int width, int height, int bits, boolean interlaced) {
        if (!interlaced) {
            return height * (1 + ((long) width * bits + 7) / 8);
        }
        long bytes = 0;
        for (int[] pass : PASSES) {
            long across = (width - pass[0] + pass[2] - 1) / pass[2];
            long down = (height - pass[1] + pass[3] - 1) / pass[3];
            bytes += across > 0 && down > 0 ? down * (1 + (across * bits + 7) / 8) : 0;
        }
        return bytes;
    }

    private static void requireInflated(byte[] data, long bytes) throws IOException {
        try (Inflater inflater = new Inflater()) {
            inflater.setInput(data);
            byte[] piece = new byte[PIECE];
            long there = 0;
            while (there < bytes) {
                int more = inflater.inflate(piece);
                if (more == 0) {
                    throw new EOFException(Bytes.ENDS_EARLY);
                }
                there += more;
            }
        } catch (DataFormatException e) {
            throw new IOException("its compressed pixels are broken (" + e.getMessage() + ")", e);
        }
    }

    private static void write(ByteArrayOutputStream file, String name, byte[] data) {
        byte[] start = ByteBuffer.allocate(8).putInt(data.length).put(name.getBytes(StandardCharsets.ISO_8859_1))
                .array();
        CRC32 crc = new CRC32();
        crc.update(start, 4, 4);
        crc.update(data);
        file.writeBytes(start);
        file.writeBytes(data);
        file.writeBytes(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
    }

    /** Takes the samples as they are stored: getRGB() would convert gray from a linear scale. */
    private static RgbImage rgb(BufferedImage image) {
        Raster raster = image.getRaster();
        RgbImage out = RgbImage.black(image.getWidth(), image.getHeight());
        byte[] rgb = out.rgb();
        int bands = raster.getNumBands();
        int[] row = new int[bands * image.getWidth()];
        int[] palette = image.getColorModel() instanceof IndexColorModel model ? palette(model) : null;
        int[] bits = raster.getSampleModel().getSampleSize();
        int target = 0;
        for (int y = 0; y < image.getHeight(); y++) {
            raster.getPixels(raster.getMinX(), raster.getMinY() + y, image.getWidth(), 1, row);
            for (int x = 0; x < image.getWidth(); x++) {
                if (palette != null) {
                    int colour = row[x] < palette.length ? palette[row[x]] : 0;
                    rgb[target++] = (byte) (colour >> 16);
                    rgb[target++] = (byte) (colour >> 8);
                    rgb[target++] = (byte) colour;
                } else {
                    for (int channel = 0; channel < 3; channel++) {
                        int band = bands < 3 ? 0 : channel;
                        rgb[target++] = (byte) toByte(row[bands * x + band], bits[band]);
                    }
                }
            }
        }
        return out;
    }

    private static int[] palette(IndexColorModel model) {
        int[] palette = new int[model.getMapSize()];
        model.getRGBs(palette);
        return palette;
    }

    private static int toByte(int sample, int bits) {
        return bits >= 8 ? sample >> (bits - 8) : sample * 255 / ((1 << bits) - 1);
    }
}

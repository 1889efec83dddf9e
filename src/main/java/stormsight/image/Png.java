package stormsight.image;

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

/**
 * PNG files: header, palette and pixels. Colour profiles, gamma and transparency, which Pillow's {@code convert("RGB")}
 * ignores, are neither applied nor a reason to fail. Pixels are known to be all there before memory is taken for them.
 * The JDK's own reader would do, but starting it takes longer than a picture of ordinary size.
 *
 * @see <a href="https://www.w3.org/TR/png-3/">Portable Network Graphics</a>
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

    /** The one pass of an image without interlacing. */
    private static final int[][] WHOLE = {{0, 0, 1, 1}};

    /** Types of colour. */
    private static final int GRAY = 0;

    private static final int RGB = 2;
    private static final int PALETTE = 3;
    private static final int GRAY_ALPHA = 4;
    private static final int RGB_ALPHA = 6;

    /** Bytes of the largest palette. */
    private static final int COLOURS = 3 * 256;

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
        // Any interlacing is Adam7, and a method of compression that is not 0 is no concern, as in Pillow.
        boolean interlaced = header[12] != 0;
        Rows rows = Rows.of(header[9], header[8], palette);
        if (rows.colour == GRAY && rows.bits == 16) {
            reading.warn("of 16 bits of gray the upper 8 are taken; "
                    + "Pillow turns all but the darkest such pixels white");
        }
        byte[] data = pixels.toByteArray();
        requireInflated(data, bytes(width, height, rows.channels * rows.bits, interlaced));
        RgbImage image = RgbImage.black(width, height);
        try (Inflater inflater = new Inflater()) {
            inflater.setInput(data);
            for (int[] pass : interlaced ? PASSES : WHOLE) {
                rows.read(inflater, image, pass);
            }
        } catch (DataFormatException e) {
            throw broken(e);
        }
        return image;
    }

    /** What the pixels take, with the byte that says how each row is filtered. */
    private static long bytes(int width, int height, int bits, boolean interlaced) {
        if (!interlaced) {
            return height * (1 + ((long) width * bits + 7) / 8);
        }
        long bytes = 0;
        for (int[] pass : PASSES) {
            long across = count(width, pass[0], pass[2]);
            long down = count(height, pass[1], pass[3]);
            bytes += across > 0 && down > 0 ? down * (1 + (across * bits + 7) / 8) : 0;
        }
        return bytes;
    }

    /** How many of the columns or rows of an image a pass has. */
    private static int count(int all, int first, int step) {
        return (all - first + step - 1) / step;
    }

    private static IOException broken(DataFormatException e) {
        return new IOException("its compressed pixels are broken (" + e.getMessage() + ")", e);
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
            throw broken(e);
        }
    }

    /**
     * What rows of pixels become.
     *
     * @param colour type of colour, as the header has it
     * @param bits of a sample
     * @param channels samples of a pixel
     * @param palette of {@link #COLOURS} bytes, black where the file has no more; null for other types of colour
     */
    private record Rows(int colour, int bits, int channels, byte[] palette) {
        /** @throws IOException if there are no such pixels */
        static Rows of(int colour, int bits, byte[] palette) throws IOException {
            boolean known = switch (colour) {
                case GRAY -> bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
                case PALETTE -> bits == 1 || bits == 2 || bits == 4 || bits == 8;
                case RGB, GRAY_ALPHA, RGB_ALPHA -> bits == 8 || bits == 16;
                default -> false;
            };
            if (!known) {
                throw new IOException("its header names pixels that PNG does not have: " + bits
                        + " bits of colour type " + colour);
            }
            if (colour != PALETTE) {
                int channels = colour == GRAY ? 1 : colour == GRAY_ALPHA ? 2 : colour == RGB ? 3 : 4;
                return new Rows(colour, bits, channels, null);
            }
            if (palette == null) {
                throw new IOException("its palette is missing");
            }
            byte[] whole = Arrays.copyOf(palette, palette.length / 3 * 3);
            return new Rows(colour, bits, 1, Arrays.copyOf(whole, COLOURS));
        }

        /** Reads the pixels of a pass of {@link #PASSES}, which are all there, into their places. */
        void read(Inflater inflater, RgbImage image, int[] pass) throws IOException, DataFormatException {
            int across = count(image.width(), pass[0], pass[2]);
            if (across <= 0) {
                return;
            }
            byte[] row = new byte[1 + (int) (((long) across * channels * bits + 7) / 8)];
            byte[] above = new byte[row.length];
            for (int y = pass[1]; y < image.height(); y += pass[3]) {
                for (int at = 0; at < row.length;) {
                    int more = inflater.inflate(row, at, row.length - at);
                    if (more == 0) {
                        throw new EOFException(Bytes.ENDS_EARLY);
                    }
                    at += more;
                }
                unfilter(row, above, Math.max(1, channels * bits / 8));
                write(row, across, image.rgb(), 3 * (y * image.width() + pass[0]), 3 * pass[2]);
                byte[] next = above;
                above = row;
                row = next;
            }
        }

        /**
         * @param row begins with its filter, as does the row above it
         * @param pixel bytes from a sample to the one of the pixel before
         */
        private static void unfilter(byte[] row, byte[] above, int pixel) throws IOException {
            switch (row[0]) {
                case 0 -> { }
                case 1 -> {
                    for (int i = 1 + pixel; i < row.length; i++) {
                        row[i] += row[i - pixel];
                    }
                }
                case 2 -> {
                    for (int i = 1; i < row.length; i++) {
                        row[i] += above[i];
                    }
                }
                case 3 -> {
                    for (int i = 1; i < row.length; i++) {
                        int left = i <= pixel ? 0 : row[i - pixel] & 0xff;
                        row[i] += (byte) (left + (above[i] & 0xff) >> 1);
                    }
                }
                case 4 -> {
                    for (int i = 1; i < row.length; i++) {
                        int left = i <= pixel ? 0 : row[i - pixel] & 0xff;
                        int corner = i <= pixel ? 0 : above[i - pixel] & 0xff;
                        row[i] += (byte) paeth(left, above[i] & 0xff, corner);
                    }
                }
                default -> throw new IOException("a row of its pixels has a filter that is not known");
            }
        }

        private static int paeth(int left, int above, int corner) {
            int fromLeft = Math.abs(above - corner);
            int fromAbove = Math.abs(left - corner);
            int fromCorner = Math.abs(left + above - 2 * corner);
            return fromLeft <= fromAbove && fromLeft <= fromCorner ? left : fromAbove <= fromCorner ? above : corner;
        }

        /** @param step from the place of a pixel to that of the next */
        private void write(byte[] row, int pixels, byte[] rgb, int first, int step) {
            if (colour == RGB && bits == 8 && step == 3) {
                System.arraycopy(row, 1, rgb, first, 3 * pixels);
                return;
            }
            for (int x = 0, at = first; x < pixels; x++, at += step) {
                if (colour == PALETTE) {
                    System.arraycopy(palette, 3 * sample(row, x), rgb, at, 3);
                } else {
                    for (int channel = 0; channel < 3; channel++) {
                        rgb[at + channel] = level(sample(row, channels * x + (channels < 3 ? 0 : channel)));
                    }
                }
            }
        }

        private int sample(byte[] row, int index) {
            if (bits >= 8) {
                // Of 16 bits the upper 8.
                return row[1 + index * (bits / 8)] & 0xff;
            }
            int bit = index * bits;
            return (row[1 + bit / 8] & 0xff) >> 8 - bits - bit % 8 & (1 << bits) - 1;
        }

        private byte level(int sample) {
            return (byte) (bits >= 8 ? sample : sample * 255 / ((1 << bits) - 1));
        }
    }
}

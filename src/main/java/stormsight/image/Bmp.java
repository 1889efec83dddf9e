package stormsight.image;

import java.io.EOFException;
import java.io.IOException;

/**
 * BMP files of the kinds that Pillow reads: 1, 4 and 8 bits with a palette, run-length encoded or not, and 16, 24 and
 * 32 bits. The JDK's reader fills pixels that a run-length encoding leaves out.
 * Of runs of an odd number of 4-bit pixels Pillow loses the last.
 */
final class Bmp {
    private static final int FILE_HEADER = 14;
    private static final int OLD_HEADER = 12;
    private static final int HEADER = 40;

    /** Times a level: that gray. */
    private static final int GRAY = 0x010101;

    private static final int RUNS_OF_8 = 1;
    private static final int RUNS_OF_4 = 2;
    private static final int MASKED = 3;
    private static final int JPEG = 4;
    private static final int PNG = 5;

    /** Of red, green and blue where a file states none, in 16 bits and in more. */
    private static final int[] MASKS_OF_16 = {0x7c00, 0x3e0, 0x1f};
    private static final int[] MASKS = {0xff0000, 0xff00, 0xff};

    private final Bytes in;
    private final int headerSize;
    private final int width;
    private final int height;
    private final boolean topDown;
    private final int bits;
    private final int compression;
    /** Of the palette; 0 if there is none. */
    private final int colours;

    static RgbImage read(Bytes in, Reading reading) throws IOException {
        Bmp bmp = new Bmp(in);
        reading.checkSize(bmp.width, bmp.height);
        return switch (bmp.compression) {
            case 0, MASKED -> bmp.colours == 0 ? bmp.readColours()
                    : bmp.readIndexes(in.data(), bmp.requirePixels(), bmp.bits);
            case RUNS_OF_8, RUNS_OF_4 -> bmp.readIndexes(bmp.expandedRuns(), 0, 8);
            case JPEG, PNG -> throw new IOException(
                    "it is a BMP file around a JPEG or PNG image, which is not supported; convert it to PNG");
            default -> throw new IOException("its BMP compression " + bmp.compression
                    + " is not supported; convert it to PNG");
        };
    }

    private Bmp(Bytes in) throws IOException {
        this.in = in;
        headerSize = in.littleInt(FILE_HEADER);
        switch (headerSize) {
            case OLD_HEADER, HEADER, 52, 56, 64, 108, 124 -> in.require(FILE_HEADER, headerSize);
            default -> throw new IOException("a BMP header of " + (headerSize & 0xffffffffL) + " bytes is not known");
        }
        int stated = 0;
        if (headerSize == OLD_HEADER) {
            width = in.littleShort(18);
            height = in.littleShort(20);
            topDown = false;
            bits = in.littleShort(24);
            compression = 0;
        } else {
            width = in.littleInt(18);
            topDown = in.at(25) == 0xff;
            height = topDown ? -in.littleInt(22) : in.littleInt(22);
            bits = in.littleShort(28);
            compression = in.littleInt(30);
            stated = in.littleInt(46);
        }
        switch (bits) {
            case 1, 4, 8 -> colours = stated == 0 ? 1 << bits : stated;
            case 16, 24, 32 -> colours = 0;
            default -> throw new IOException("BMP files of " + bits
                    + " bits a pixel are not supported; convert it to PNG");
        }
        if (colours < 0 || colours > 1 << 16) {
            throw new IOException("a BMP palette of " + (colours & 0xffffffffL) + " colours");
        }
        if (compression == MASKED && colours > 0 || compression == RUNS_OF_8 && bits != 8
                || compression == RUNS_OF_4 && bits != 4) {
            throw new IOException("BMP compression " + compression + " does not go with " + bits + " bits a pixel");
        }
    }

    private int paletteBytes() {
        return colours * (headerSize == OLD_HEADER ? 3 : 4);
    }

    /** Where pixels begin. Some files leave that out, or forget the palette that lies between. */
    private int pixelsAt() throws EOFException {
        int afterHeader = FILE_HEADER + headerSize;
        int stated = in.littleInt(10);
        if (stated == 0) {
            return afterHeader + paletteBytes() + (compression == MASKED && headerSize == HEADER ? 12 : 0);
        }
        return stated == afterHeader ? stated + paletteBytes() : stated;
    }

    private long stride() {
        return ((long) width * bits + 31) / 32 * 4;
    }

    /**
     * @return where they begin
     * @throws EOFException if the file ends before the last of them
     */
    private int requirePixels() throws EOFException {
        int at = pixelsAt();
        // Padding behind the last row may be missing.
        in.require(at, stride() * (height - 1) + ((long) width * bits + 7) / 8);
        return at;
    }

    private RgbImage readColours() throws IOException {
        int start = requirePixels();
        int[] masks = masks();
        RgbImage image = RgbImage.black(width, height);
        for (int y = 0, target = 0; y < height; y++) {
            int at = start + (int) stride() * (topDown ? y : height - 1 - y);
            for (int x = 0; x < width; x++, at += bits / 8) {
                int pixel = in.littleShort(at) | (bits > 16 ? in.at(at + 2) << 16 : 0)
                        | (bits > 24 ? in.at(at + 3) << 24 : 0);
                for (int mask : masks) {
                    int shift = Integer.numberOfTrailingZeros(mask);
                    image.rgb()[target++] = (byte) (((pixel & mask) >>> shift) * 255 / (mask >>> shift));
                }
            }
        }
        return image;
    }

    private int[] masks() throws IOException {
        int[] masks = bits == 16 ? MASKS_OF_16 : MASKS;
        if (compression == MASKED) {
            int at = FILE_HEADER + HEADER;
            int[] stated = {in.littleInt(at), in.littleInt(at + 4), in.littleInt(at + 8)};
            if ((stated[0] | stated[1] | stated[2]) != 0) {
                masks = stated;
            }
        }
        for (int mask : masks) {
            int field = mask >>> Integer.numberOfTrailingZeros(mask);
            if (mask == 0 || field > 255 || (field & field + 1) != 0) {
                throw new IOException("BMP masks %08x, %08x, %08x are not supported; convert it to PNG"
                        .formatted(masks[0], masks[1], masks[2]));
            }
        }
        return masks;
    }

    private RgbImage readIndexes(byte[] data, int start, int indexBits) throws EOFException {
        int[] palette = palette();
        int stride = data == in.data() ? (int) stride() : width;
        RgbImage image = RgbImage.black(width, height);
        for (int y = 0, target = 0; y < height; y++) {
            int row = start + stride * (topDown ? y : height - 1 - y);
            for (int x = 0; x < width; x++) {
                int bit = x * indexBits;
                int index = (data[row + (bit >> 3)] & 0xff) >> 8 - indexBits - (bit & 7) & (1 << indexBits) - 1;
                image.rgb()[target++] = (byte) (palette[index] >> 16);
                image.rgb()[target++] = (byte) (palette[index] >> 8);
                image.rgb()[target++] = (byte) palette[index];
            }
        }
        return image;
    }

    /** Colours behind its end are black, except that Pillow continues a palette of grays in their order. */
    private int[] palette() throws EOFException {
        int at = FILE_HEADER + headerSize;
        int step = headerSize == OLD_HEADER ? 3 : 4;
        int[] palette = new int[256];
        boolean grays = true;
        for (int i = 0; i < Math.min(colours, palette.length) && at <= in.length() - 3; i++, at += step) {
            palette[i] = in.at(at) | in.at(at + 1) << 8 | in.at(at + 2) << 16;
            grays &= palette[i] == i * GRAY;
        }
        for (int i = colours; grays && i < palette.length; i++) {
            palette[i] = i * GRAY;
        }
        return palette;
    }

    /**
     * The indexes that runs stand for, a byte each. They are counted first, so that no memory is taken for those that
     * are missing.
     */
    private byte[] expandedRuns() throws IOException {
        expandRuns(null);
        byte[] indexes = new byte[Math.multiplyExact(width, height)];
        expandRuns(indexes);
        return indexes;
    }

    /** @param out [height, width], or null to count only */
    private void expandRuns(byte[] out) throws IOException {
        long count = (long) width * height;
        int at = pixelsAt();
        int x = 0;
        for (long done = 0; done < count;) {
            int run = in.at(at);
            int value = in.at(at + 1);
            at += 2;
            long from = done;
            if (run > 0) {
                run = Math.clamp(width - x, 0, run);
                for (int i = 0; i < run; i++) {
                    set(out, from + i, bits == 8 ? value : (i & 1) == 0 ? value >> 4 : value & 15);
                }
                x += run;
                done += run;
            } else if (value == 0) {
                done = (done + width - 1) / width * width;
                x = 0;
            } else if (value == 1) {
                throw new EOFException(Bytes.ENDS_EARLY);
            } else if (value == 2) {
                done += in.at(at) + (long) in.at(at + 1) * width;
                x = (int) (done % width);
                at += 2;
            } else {
                for (int i = 0; i < value && from + i < count; i++) {
                    int packed = in.at(at + (bits == 8 ? i : i / 2));
                    set(out, from + i, bits == 8 ? packed : (i & 1) == 0 ? packed >> 4 : packed & 15);
                }
                at += bits == 8 ? value : (value + 1) / 2;
                at += at & 1;
                x += value;
                done += value;
            }
        }
    }

    private static void set(byte[] out, long at, int index) {
        if (out != null && at < out.length) {
            out[(int) at] = (byte) index;
        }
    }
}

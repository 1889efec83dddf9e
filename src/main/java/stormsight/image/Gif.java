package stormsight.image;

import java.io.EOFException;
import java.io.IOException;
import java.util.Arrays;

/** The first frame of a GIF file on its canvas. The JDK's reader fills pixels that are missing. */
final class Gif {
    private static final int MOST_CODES = 4096;

    private Gif() {}

    static RgbImage read(Bytes in, Reading reading) throws IOException {
        int flags = in.at(10);
        int[] palette = null;
        int at = 13;
        if ((flags & 0x80) != 0) {
            palette = palette(in, at, 2 << (flags & 7));
            at += 3 * (2 << (flags & 7));
        }
        int transparent = 0;
        while (in.at(at) != ',') {
            if (in.at(at) == ';') {
                throw new IOException("it has no frame");
            }
            if (in.at(at) == '!') {
                if (in.at(at + 1) == 0xf9 && in.at(at + 2) >= 4 && (in.at(at + 3) & 1) == 1) {
                    transparent = in.at(at + 6);
                }
                at += 2;
                while (in.at(at) != 0) {
                    at += 1 + in.at(at);
                }
            }
            // Bytes that begin no block are passed over, as Pillow does.
            at++;
        }
        int left = in.littleShort(at + 1);
        int top = in.littleShort(at + 3);
        int width = in.littleShort(at + 5);
        int height = in.littleShort(at + 7);
        int frameFlags = in.at(at + 9);
        at += 10;
        if ((frameFlags & 0x80) != 0) {
            palette = palette(in, at, 2 << (frameFlags & 7));
            at += 3 * (2 << (frameFlags & 7));
        }
        int canvasWidth = Math.max(in.littleShort(6), left + width);
        int canvasHeight = Math.max(in.littleShort(8), top + height);
        reading.checkSize(canvasWidth, canvasHeight);
        reading.checkSize(width, height);
        byte[] frame = indexes(in, at, Math.multiplyExact(width, height), reading);
        RgbImage image = RgbImage.black(canvasWidth, canvasHeight);
        // What the frame does not cover has the transparent colour, else the first.
        byte[] uncovered = new byte[canvasWidth];
        Arrays.fill(uncovered, (byte) transparent);
        for (int y = 0; y < canvasHeight; y++) {
            paint(uncovered, 0, canvasWidth, palette, image, 0, y);
        }
        boolean interlaced = (frameFlags & 0x40) != 0;
        for (int i = 0; i < height; i++) {
            paint(frame, i * width, width, palette, image, left, top + (interlaced ? interlacedRow(i, height) : i));
        }
        return image;
    }

    /** Without a palette an index is a gray. */
    private static int[] palette(Bytes in, int at, int colours) throws EOFException {
        in.require(at, 3L * colours);
        int[] palette = new int[256];
        for (int i = 0; i < colours; i++) {
            palette[i] = in.at(at + 3 * i) << 16 | in.at(at + 3 * i + 1) << 8 | in.at(at + 3 * i + 2);
        }
        return palette;
    }

    private static void paint(byte[] indexes, int from, int count, int[] palette, RgbImage image, int left, int y) {
        int target = 3 * (y * image.width() + left);
        for (int i = 0; i < count; i++) {
            int index = indexes[from + i] & 0xff;
            int colour = palette == null ? index * 0x010101 : palette[index];
            image.rgb()[target++] = (byte) (colour >> 16);
            image.rgb()[target++] = (byte) (colour >> 8);
            image.rgb()[target++] = (byte) colour;
        }
    }

    /**
     * The row that the i-th stored one is: first each eighth, then those in the middle between the rows that are there.
     */
    private static int interlacedRow(int i, int height) {
        int before = 0;
        for (int[] pass : new int[][] {{0, 8}, {4, 8}, {2, 4}, {1, 2}}) {
            int rows = (height - pass[0] + pass[1] - 1) / pass[1];
            if (i - before < rows) {
                return pass[0] + (i - before) * pass[1];
            }
            before += rows;
        }
        throw new IndexOutOfBoundsException(i);
    }

    /**
     * Decodes LZW data, twice: the first time only how many pixels it has, so that no memory is taken for those that
     * are missing.
     *
     * @throws IOException if it is broken or has less than count pixels
     */
    private static byte[] indexes(Bytes in, int at, int count, Reading reading) throws IOException {
        if (lzw(in, at, count, null) > in.length()) {
            reading.warn("its last block of pixels is cut short; all of its pixels are there");
        }
        byte[] indexes = new byte[count];
        lzw(in, at, count, indexes);
        return indexes;
    }

    /**
     * @param out [count], or null to count only
     * @return where the block ends that has the last pixel, by what the block says
     */
    private static int lzw(Bytes in, int start, int count, byte[] out) throws IOException {
        int bits = in.at(start);
        if (bits > 11) {
            throw new IOException("its LZW codes begin with " + bits + " bits");
        }
        int clear = 1 << bits;
        // Of a code: the one that it lengthens, its last index and how many it stands for.
        short[] prefix = new short[MOST_CODES];
        byte[] last = new byte[MOST_CODES];
        int[] length = new int[MOST_CODES];
        for (int i = 0; i < clear; i++) {
            last[i] = (byte) i;
            length[i] = 1;
        }
        int next = clear + 2;
        int size = bits + 1;
        int previous = -1;
        byte first = 0;
        int at = start + 1;
        int blockLeft = 0;
        int window = 0;
        int windowBits = 0;
        int done = 0;
        while (done < count) {
            while (windowBits < size) {
                if (blockLeft == 0) {
                    blockLeft = in.at(at++);
                    if (blockLeft == 0) {
                        throw new EOFException(Bytes.ENDS_EARLY);
                    }
                }
                window |= in.at(at++) << windowBits;
                windowBits += 8;
                blockLeft--;
            }
            int code = window & (1 << size) - 1;
            window >>>= size;
            windowBits -= size;
            if (code == clear) {
                next = clear + 2;
                size = bits + 1;
                previous = -1;
                continue;
            }
            if (code == clear + 1) {
                throw new EOFException(Bytes.ENDS_EARLY);
            }
            if (code > next || previous < 0 && code > clear) {
                throw new IOException("its LZW codes are broken");
            }
            boolean growing = previous >= 0 && next < MOST_CODES;
            if (growing) {
                prefix[next] = (short) previous;
                length[next] = length[previous] + 1;
                if (code == next) {
                    last[next] = first;
                }
            } else if (code == next) {
                throw new IOException("its LZW codes are broken");
            }
            int place = done + length[code];
            if (out != null) {
                int from = code;
                for (int i = place - 1; i >= done; i--) {
                    if (i < count) {
                        out[i] = last[from];
                    }
                    first = last[from];
                    from = prefix[from];
                }
            }
            done = place;
            if (growing) {
                last[next] = first;
                if (next == (1 << size) - 1 && size < 12) {
                    size++;
                }
                next++;
            }
            previous = code;
        }
        return at + blockLeft;
    }
}

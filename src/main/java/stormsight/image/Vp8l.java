package stormsight.image;

import java.io.EOFException;
import java.io.IOException;
import java.util.Arrays;
import java.util.HexFormat;

/**
 * An image of lossless WebP. Every bit that is read is in the file: one that ends early is refused at once, where other
 * readers of Java go on for minutes over zeros.
 *
 * @see <a href="https://developers.google.com/speed/webp/docs/webp_lossless_bitstream_specification">WebP Lossless
 * Bitstream</a>
 */
final class Vp8l {
    private static final int LITERALS = 256;
    private static final int LENGTHS = 24;
    private static final int DISTANCES = 40;
    private static final int[] ORDER_OF_LENGTHS = {17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

    private static final int LONGEST_COPY = 4096;

    private static final int PREDICTOR = 0;
    private static final int CROSS_COLOUR = 1;
    private static final int SUBTRACT_GREEN = 2;
    private static final int PALETTE = 3;

    /**
     * Of the 120 pixels nearest by: rows above in the upper four bits, 8 less columns to the left in the lower four.
     */
    private static final byte[] NEAR_PIXELS = HexFormat.of().parseHex(
            "1807171928062729161a262a38053739151b363a252b48044749141c353b464a242c58454b343c03"
                    + "5759131d565a232d444c555b333d68026769121e666a222e545c434d656b323e78017779535d111f"
                    + "646c424e767a212f757b313f636d525e00747c414f1020626e30737d515f40727e616f50717f6070");

    private static final int BLACK = 0xff000000;

    private final byte[] data;
    private final int end;
    private int at;
    private long window;
    private int windowBits;

    private Vp8l(byte[] data, int offset, int length) {
        this.data = data;
        at = offset;
        end = offset + length;
    }

    /** The size that an image says it has. */
    static int[] size(byte[] data, int offset, int length) throws IOException {
        return new Vp8l(data, offset, length).readSize();
    }

    /**
     * Decodes an image; its alpha is left out.
     *
     * @param data the file, of which {@code length} bytes from {@code offset} on are the image
     * @throws IOException if it is broken or ends before its last pixel
     */
    static RgbImage decode(byte[] data, int offset, int length) throws IOException {
        Vp8l in = new Vp8l(data, offset, length);
        int[] size = in.readSize();
        int[] pixels = in.readTransformed(size[0], size[1]);
        RgbImage image = RgbImage.black(size[0], size[1]);
        for (int i = 0; i < pixels.length; i++) {
            image.rgb()[3 * i] = (byte) (pixels[i] >> 16);
            image.rgb()[3 * i + 1] = (byte) (pixels[i] >> 8);
            image.rgb()[3 * i + 2] = (byte) pixels[i];
        }
        return image;
    }

    private static IOException broken(String what) {
        return new IOException("its lossless WebP data is broken (" + what + ")");
    }

    private int[] readSize() throws IOException {
        if (bits(8) != 0x2f) {
            throw broken("signature");
        }
        int width = bits(14) + 1;
        int height = bits(14) + 1;
        // Whether alpha is used.
        bits(1);
        if (bits(3) != 0) {
            throw broken("version");
        }
        return new int[] {width, height};
    }

    private void fill(int count) throws EOFException {
        while (windowBits < count) {
            if (at == end) {
                throw new EOFException(Bytes.ENDS_EARLY);
            }
            window |= (data[at++] & 0xffL) << windowBits;
            windowBits += 8;
        }
    }

    private int bits(int count) throws EOFException {
        fill(count);
        int bits = (int) (window & (1L << count) - 1);
        window >>>= count;
        windowBits -= count;
        return bits;
    }

    /** How many blocks of 2^bits cover a side. */
    private static int blocks(int side, int bits) {
        return side + (1 << bits) - 1 >> bits;
    }

    /** What undoes a change that the encoder made, each kind at most once. */
    private record Transform(int kind, int width, int bits, int[] data) {}

    private int[] readTransformed(int width, int height) throws IOException {
        Transform[] transforms = new Transform[4];
        int count = 0;
        int seen = 0;
        int packedWidth = width;
        while (bits(1) == 1) {
            int kind = bits(2);
            if ((seen >> kind & 1) == 1) {
                throw broken("a transform twice");
            }
            seen |= 1 << kind;
            transforms[count++] = switch (kind) {
                case PREDICTOR, CROSS_COLOUR -> {
                    int bits = bits(3) + 2;
                    yield new Transform(kind, packedWidth, bits,
                            readPixels(blocks(packedWidth, bits), blocks(height, bits), false));
                }
                case SUBTRACT_GREEN -> new Transform(kind, packedWidth, 0, null);
                default -> {
                    int colours = bits(8) + 1;
                    int[] palette = readPixels(colours, 1, false);
                    for (int i = 1; i < colours; i++) {
                        palette[i] = sum(palette[i], palette[i - 1]);
                    }
                    int bits = colours > 16 ? 0 : colours > 4 ? 1 : colours > 2 ? 2 : 3;
                    Transform transform = new Transform(kind, packedWidth, bits, palette);
                    packedWidth = blocks(packedWidth, bits);
                    yield transform;
                }
            };
        }
        int[] pixels = readPixels(packedWidth, height, true);
        while (count > 0) {
            Transform transform = transforms[--count];
            switch (transform.kind()) {
                case PREDICTOR -> addPredictions(transform, pixels, height);
                case CROSS_COLOUR -> addCrossColours(transform, pixels, height);
                case SUBTRACT_GREEN -> {
                    for (int i = 0; i < pixels.length; i++) {
                        int green = pixels[i] >> 8 & 0xff;
                        pixels[i] = sum(pixels[i], green << 16 | green);
                    }
                }
                default -> pixels = unpacked(transform, pixels, height);
            }
        }
        return pixels;
    }

    /**
     * Reads pixels that are coded by prefix codes, copies and a cache of colours.
     *
     * @param main whether blocks of the image may have codes of their own, as only the image itself may
     */
    private int[] readPixels(int width, int height, boolean main) throws IOException {
        boolean caching = bits(1) == 1;
        int cacheBits = caching ? bits(4) : 0;
        if (caching && cacheBits < 1 || cacheBits > 11) {
            throw broken("colour cache");
        }
        int blockBits = 0;
        int[] blocks = null;
        int groups = 1;
        if (main && bits(1) == 1) {
            blockBits = bits(3) + 2;
            blocks = readPixels(blocks(width, blockBits), blocks(height, blockBits), false);
            for (int i = 0; i < blocks.length; i++) {
                blocks[i] = blocks[i] >> 8 & 0xffff;
                groups = Math.max(groups, blocks[i] + 1);
            }
        }
        PrefixCode[][] codes = new PrefixCode[groups][5];
        for (PrefixCode[] group : codes) {
            group[0] = readCode(LITERALS + LENGTHS + (cacheBits > 0 ? 1 << cacheBits : 0));
            group[1] = readCode(LITERALS);
            group[2] = readCode(LITERALS);
            group[3] = readCode(LITERALS);
            group[4] = readCode(DISTANCES);
        }
        requireBits(codes, (long) width * height);
        int[] pixels = new int[Math.multiplyExact(width, height)];
        int[] cache = new int[1 << cacheBits];
        int cached = 0;
        for (int i = 0; i < pixels.length;) {
            PrefixCode[] group = codes[blocks == null ? 0
                    : blocks[(i / width >> blockBits) * blocks(width, blockBits) + (i % width >> blockBits)]];
            int symbol = symbol(group[0]);
            if (symbol < LITERALS) {
                int red = symbol(group[1]);
                int blue = symbol(group[2]);
                pixels[i++] = symbol(group[3]) << 24 | red << 16 | symbol << 8 | blue;
            } else if (symbol < LITERALS + LENGTHS) {
                int length = prefixed(symbol - LITERALS);
                int distance = distance(prefixed(symbol(group[4])), width);
                if (distance > i || length > pixels.length - i) {
                    throw broken("a copy from outside");
                }
                for (int last = i + length; i < last; i++) {
                    pixels[i] = pixels[i - distance];
                }
            } else {
                for (; cached < i; cached++) {
                    cache[cacheIndex(pixels[cached], cacheBits)] = pixels[cached];
                }
                pixels[i++] = cache[symbol - LITERALS - LENGTHS];
            }
        }
        return pixels;
    }

    /** Only pixels of one colour may take no bits: of all others a bit tells at most the pixels of the longest copy. */
    private void requireBits(PrefixCode[][] codes, long pixels) throws EOFException {
        for (PrefixCode[] group : codes) {
            if (group[0].isFree() && group[1].isFree() && group[2].isFree() && group[3].isFree()) {
                return;
            }
        }
        if (pixels / LONGEST_COPY > 8L * (end - at) + windowBits) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
    }

    private static int cacheIndex(int colour, int bits) {
        return colour * 0x1e35a7bd >>> 32 - bits;
    }

    /** A number that a symbol begins and bits complete, from 1 on. */
    private int prefixed(int symbol) throws EOFException {
        if (symbol < 4) {
            return symbol + 1;
        }
        int extra = symbol - 2 >> 1;
        return (2 + (symbol & 1) << extra) + bits(extra) + 1;
    }

    private static int distance(int code, int width) {
        if (code > NEAR_PIXELS.length) {
            return code - NEAR_PIXELS.length;
        }
        int near = NEAR_PIXELS[code - 1];
        return Math.max((near >> 4) * width + 8 - (near & 15), 1);
    }

    private PrefixCode readCode(int symbols) throws IOException {
        if (bits(1) == 1) {
            boolean two = bits(1) == 1;
            int first = bits(bits(1) == 0 ? 1 : 8);
            int second = two ? bits(8) : first;
            if (Math.max(first, second) >= symbols) {
                throw broken("a symbol outside its alphabet");
            }
            return first == second ? new PrefixCode(first)
                    : new PrefixCode(Math.min(first, second), Math.max(first, second));
        }
        int[] lengthsOfLengths = new int[ORDER_OF_LENGTHS.length];
        int count = bits(4) + 4;
        for (int i = 0; i < count; i++) {
            lengthsOfLengths[ORDER_OF_LENGTHS[i]] = bits(3);
        }
        PrefixCode code = new PrefixCode(lengthsOfLengths);
        int tokens = bits(1) == 1 ? 2 + bits(2 + 2 * bits(3)) : symbols;
        if (tokens > symbols) {
            throw broken("too many code lengths");
        }
        int[] lengths = new int[symbols];
        int previous = 8;
        for (int i = 0; i < symbols && tokens > 0; tokens--) {
            int token = symbol(code);
            if (token < 16) {
                lengths[i++] = token;
                previous = token == 0 ? previous : token;
            } else {
                int repeats = token == 16 ? 3 + bits(2) : token == 17 ? 3 + bits(3) : 11 + bits(7);
                if (repeats > symbols - i) {
                    throw broken("too many code lengths");
                }
                Arrays.fill(lengths, i, i + repeats, token == 16 ? previous : 0);
                i += repeats;
            }
        }
        return new PrefixCode(lengths);
    }

    private int symbol(PrefixCode code) throws EOFException {
        while (true) {
            int entry = code.entry(window, windowBits);
            if (entry >= 0) {
                int length = entry >> 16;
                window >>>= length;
                windowBits -= length;
                return entry & 0xffff;
            }
            fill(windowBits + 1);
        }
    }

    /** A canonical prefix code of lengths up to 15, read from the lowest bit on. */
    private static final class PrefixCode {
        private static final int MOST_BITS = 15;
        private static final int TABLE_BITS = 8;

        /**
         * Of the lowest bits: the length of a code above its symbol, 0 where codes are longer than the table's bits.
         */
        private final int[] table;
        private final int tableBits;
        /** Symbols by length and value; how many of each length there are. */
        private final int[] sorted;
        private final int[] counts = new int[MOST_BITS + 1];

        /** Of one symbol, which takes no bits. */
        private PrefixCode(int symbol) {
            sorted = new int[] {symbol};
            table = sorted;
            tableBits = 0;
        }

        /** Of two symbols of one bit. */
        private PrefixCode(int first, int second) {
            sorted = new int[] {first, second};
            table = new int[] {1 << 16 | first, 1 << 16 | second};
            tableBits = 1;
        }

        private PrefixCode(int[] lengths) throws IOException {
            for (int length : lengths) {
                counts[length]++;
            }
            counts[0] = 0;
            int[] place = new int[MOST_BITS + 2];
            int left = 1;
            int longest = 0;
            for (int length = 1; length <= MOST_BITS; length++) {
                left = (left << 1) - counts[length];
                if (left < 0) {
                    throw broken("a prefix code of too many symbols");
                }
                place[length + 1] = place[length] + counts[length];
                longest = counts[length] > 0 ? length : longest;
            }
            int used = place[MOST_BITS + 1];
            sorted = new int[used];
            for (int symbol = 0; symbol < lengths.length; symbol++) {
                if (lengths[symbol] > 0) {
                    sorted[place[lengths[symbol]]++] = symbol;
                }
            }
            if (used == 1) {
                table = sorted;
                tableBits = 0;
                return;
            }
            if (left > 0) {
                throw broken("a prefix code with gaps");
            }
            tableBits = Math.min(longest, TABLE_BITS);
            table = new int[1 << tableBits];
            int code = 0;
            int next = 0;
            for (int length = 1; length <= tableBits; length++) {
                code <<= 1;
                for (int i = 0; i < counts[length]; i++, code++) {
                    int reversed = Integer.reverse(code) >>> 32 - length;
                    for (int entry = reversed; entry < table.length; entry += 1 << length) {
                        table[entry] = length << 16 | sorted[next];
                    }
                    next++;
                }
            }
        }

        /** Whether there is one symbol, which takes no bits. */
        boolean isFree() {
            return tableBits == 0;
        }

        /** The length above the symbol; -1 if that takes more than the bits at hand. */
        int entry(long window, int windowBits) {
            int entry = table[(int) window & (1 << tableBits) - 1];
            if (isFree()) {
                return entry;
            }
            if (entry != 0) {
                return entry >> 16 <= windowBits ? entry : -1;
            }
            int code = 0;
            int first = 0;
            int place = 0;
            for (int length = 1; length <= Math.min(windowBits, MOST_BITS); length++) {
                code = code << 1 | (int) (window >> length - 1 & 1);
                first <<= 1;
                if (code - first < counts[length]) {
                    return length << 16 | sorted[place + code - first];
                }
                first += counts[length];
                place += counts[length];
            }
            return -1;
        }
    }

    private static int sum(int a, int b) {
        return (a & 0xff00ff00) + (b & 0xff00ff00) & 0xff00ff00 | (a & 0x00ff00ff) + (b & 0x00ff00ff) & 0x00ff00ff;
    }

    private static void addPredictions(Transform transform, int[] pixels, int height) {
        int width = transform.width();
        int bits = transform.bits();
        int across = blocks(width, bits);
        for (int y = 0, i = 0; y < height; y++) {
            for (int x = 0; x < width; x++, i++) {
                int prediction;
                if (y == 0) {
                    prediction = x == 0 ? BLACK : pixels[i - 1];
                } else if (x == 0) {
                    prediction = pixels[i - width];
                } else {
                    int mode = transform.data()[(y >> bits) * across + (x >> bits)] >> 8 & 15;
                    prediction = prediction(mode, pixels, i, width);
                }
                pixels[i] = sum(pixels[i], prediction);
            }
        }
    }

    private static int prediction(int mode, int[] pixels, int i, int width) {
        int left = pixels[i - 1];
        int above = pixels[i - width];
        int aboveLeft = pixels[i - width - 1];
        // At the right end of a row the pixel after it in memory: the first of this row.
        int aboveRight = pixels[i - width + 1];
        return switch (mode) {
            case 1 -> left;
            case 2 -> above;
            case 3 -> aboveRight;
            case 4 -> aboveLeft;
            case 5 -> mean(mean(left, aboveRight), above);
            case 6 -> mean(left, aboveLeft);
            case 7 -> mean(left, above);
            case 8 -> mean(aboveLeft, above);
            case 9 -> mean(above, aboveRight);
            case 10 -> mean(mean(left, aboveLeft), mean(above, aboveRight));
            case 11 -> difference(left, aboveLeft) <= difference(above, aboveLeft) ? above : left;
            case 12 -> gradient(left, above, aboveLeft);
            case 13 -> halfGradient(mean(left, above), aboveLeft);
            default -> BLACK;
        };
    }

    private static int mean(int a, int b) {
        return ((a ^ b) >>> 1 & 0x7f7f7f7f) + (a & b);
    }

    private static int difference(int a, int b) {
        int sum = 0;
        for (int shift = 0; shift < 32; shift += 8) {
            sum += Math.abs((a >> shift & 0xff) - (b >> shift & 0xff));
        }
        return sum;
    }

    private static int gradient(int left, int above, int corner) {
        int result = 0;
        for (int shift = 0; shift < 32; shift += 8) {
            int sum = (left >> shift & 0xff) + (above >> shift & 0xff) - (corner >> shift & 0xff);
            result |= Math.clamp(sum, 0, 255) << shift;
        }
        return result;
    }

    private static int halfGradient(int mean, int corner) {
        int result = 0;
        for (int shift = 0; shift < 32; shift += 8) {
            int m = mean >> shift & 0xff;
            result |= Math.clamp(m + (m - (corner >> shift & 0xff)) / 2, 0, 255) << shift;
        }
        return result;
    }

    private static void addCrossColours(Transform transform, int[] pixels, int height) {
        int width = transform.width();
        int bits = transform.bits();
        int across = blocks(width, bits);
        for (int y = 0, i = 0; y < height; y++) {
            for (int x = 0; x < width; x++, i++) {
                int factors = transform.data()[(y >> bits) * across + (x >> bits)];
                byte green = (byte) (pixels[i] >> 8);
                int red = (pixels[i] >> 16) + ((byte) factors * green >> 5);
                int blue = pixels[i] + ((byte) (factors >> 8) * green >> 5)
                        + ((byte) (factors >> 16) * (byte) red >> 5);
                pixels[i] = pixels[i] & 0xff00ff00 | (red & 0xff) << 16 | blue & 0xff;
            }
        }
    }

    /** Colours for indexes, of which several may lie in a pixel; indexes behind the palette are transparent black. */
    private static int[] unpacked(Transform transform, int[] pixels, int height) {
        int width = transform.width();
        int bits = transform.bits();
        int[] palette = Arrays.copyOf(transform.data(), 256);
        int packedWidth = blocks(width, bits);
        int indexBits = 8 >> bits;
        int[] out = new int[width * height];
        for (int y = 0, i = 0; y < height; y++) {
            for (int x = 0; x < width; x++, i++) {
                int packed = pixels[y * packedWidth + (x >> bits)] >> 8 & 0xff;
                out[i] = palette[packed >> indexBits * (x & (1 << bits) - 1) & (1 << indexBits) - 1];
            }
        }
        return out;
    }
}

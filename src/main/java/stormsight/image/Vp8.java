package stormsight.image;

import java.io.EOFException;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * A key frame of VP8, which is what lossy WebP holds: the samples of libwebp, bit for bit, with its interpolated
 * chroma. The readers that Java has otherwise differ by tens of levels where the loop filter runs, and repeat chroma.
 * Time and memory follow the number of pixels, for which a file must have data before any of it is allocated.
 *
 * @see <a href="https://www.rfc-editor.org/rfc/rfc6386">RFC 6386</a>
 */
final class Vp8 {
    /** Fewer bits than any macroblock of 16 x 16 pixels takes for its modes. */
    private static final int LEAST_BITS_OF_A_MACROBLOCK = 2;

    private static final int SEGMENTS = 4;

    /** Modes of a 4 x 4 block; those of larger blocks have the first four names. */
    private static final int DC = 0;
    private static final int TRUE_MOTION = 1;
    private static final int VERTICAL = 2;
    private static final int HORIZONTAL = 3;
    private static final int RIGHT_DOWN = 4;
    private static final int VERTICAL_RIGHT = 5;
    private static final int LEFT_DOWN = 6;
    private static final int VERTICAL_LEFT = 7;
    private static final int HORIZONTAL_DOWN = 8;
    private static final int HORIZONTAL_UP = 9;

    /** Two entries a node: the next node, or a mode as its negative. */
    private static final int[] BLOCK_MODE_TREE = {
        -DC, 2, -TRUE_MOTION, 4, -VERTICAL, 6, 8, 12, -HORIZONTAL, 10, -RIGHT_DOWN, -VERTICAL_RIGHT,
        -LEFT_DOWN, 14, -VERTICAL_LEFT, 16, -HORIZONTAL_DOWN, -HORIZONTAL_UP
    };

    private static final int[] ZIGZAG = {0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15};

    /** The band of a coefficient by its place; one more for what follows the last. */
    private static final int[] BANDS = {0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 0};

    /** Probabilities of the extra bits of large coefficients. */
    private static final int[][] EXTRA_BITS = {
        {173, 148, 140}, {176, 155, 140, 135}, {180, 157, 141, 134, 130},
        {254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129}
    };

    /** Where the bits of blocks begin that are transformed in 16 bits. */
    private static final int NARROW = 24;

    private static final int CONTEXT = 11;
    private static final int BAND = 3 * CONTEXT;
    private static final int KIND = 8 * BAND;

    /** Kinds of blocks by what their coefficients are. */
    private static final int LUMA_WITHOUT_DC = 0;
    private static final int LUMA_DC = 1;
    private static final int CHROMA = 2;
    private static final int LUMA = 3;

    private final int width;
    private final int height;
    private final int columns;
    private final int rows;
    private final BoolReader header;
    private final BoolReader[] partitions;

    private boolean segmented;
    private boolean segmentMap;
    private boolean absoluteSegments = true;
    private final int[] segmentQuantizer = new int[SEGMENTS];
    private final int[] segmentLevel = new int[SEGMENTS];
    private final int[] segmentProbabilities = {255, 255, 255};

    private boolean simpleFilter;
    private int filterLevel;
    private int sharpness;
    private boolean adjustedLevels;
    private int intraLevel;
    private int blockwiseLevel;

    /** [segments, 6]: DC and AC of luma, of luma's DC, of chroma. */
    private final int[][] steps = new int[SEGMENTS][6];

    private final int[] probabilities = new int[4 * KIND];
    /** Negative if no macroblock says that it has no coefficients. */
    private int skipProbability = -1;

    private final Plane luma;
    private final Plane blueness;
    private final Plane redness;

    /** Modes of the 4 x 4 blocks above, [4 * columns], and to the left. */
    private final byte[] modesAbove;
    private final byte[] modesLeft = new byte[4];

    /**
     * Whether blocks above and to the left have coefficients: 4 of luma, 2 + 2 of chroma, 1 of luma's DC, [9 * columns]
     * and [9].
     */
    private final byte[] filledAbove;
    private final byte[] filledLeft = new byte[9];

    /**
     * What the loop filter wants to know of each macroblock: its segment, whether its blocks are predicted singly,
     * whether edges inside it are filtered.
     */
    private final byte[] segments;
    private final boolean[] blockwise;
    private final boolean[] filteredInside;

    private final short[] coefficients = new short[25 * 16];

    /** The size that a frame says it has. */
    static int[] size(byte[] data, int offset, int length) throws IOException {
        if (length < 10) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        int tag = data[offset] & 0xff | (data[offset + 1] & 0xff) << 8 | (data[offset + 2] & 0xff) << 16;
        if (data[offset + 3] != (byte) 0x9d || data[offset + 4] != 1 || data[offset + 5] != 0x2a || (tag & 1) != 0) {
            throw new IOException("its VP8 data does not begin with a key frame");
        }
        if ((tag >> 1 & 7) > 3 || (tag >> 4 & 1) == 0) {
            throw new IOException("its VP8 frame is of an unknown kind or hidden");
        }
        return new int[] {
            (data[offset + 6] & 0xff | (data[offset + 7] & 0xff) << 8) & 0x3fff,
            (data[offset + 8] & 0xff | (data[offset + 9] & 0xff) << 8) & 0x3fff
        };
    }

    /**
     * Decodes a frame.
     *
     * @param data the file, of which {@code length} bytes from {@code offset} on are the frame
     * @throws IOException if it is no key frame or ends before its last pixel
     */
    static RgbImage decode(byte[] data, int offset, int length) throws IOException {
        int[] size = size(data, offset, length);
        Vp8 frame = new Vp8(size[0], size[1], data, offset, length);
        frame.reconstruct();
        frame.filter();
        return frame.rgb();
    }

    private Vp8(int width, int height, byte[] data, int offset, int length) throws IOException {
        this.width = width;
        this.height = height;
        columns = (width + 15) / 16;
        rows = (height + 15) / 16;
        int first = (data[offset] & 0xff | (data[offset + 1] & 0xff) << 8 | (data[offset + 2] & 0xff) << 16) >> 5;
        int end = offset + length;
        int at = offset + 10;
        if (first > end - at || (long) first * 8 < (long) LEAST_BITS_OF_A_MACROBLOCK * columns * rows) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        header = new BoolReader(data, at, at + first);
        // Colour space and clamping; libwebp uses neither.
        header.bits(2);
        readSegments();
        readFilter();
        partitions = partitions(data, at + first, end);
        readSteps();
        // Whether probabilities are kept for the next frame.
        header.bit();
        for (int i = 0; i < probabilities.length; i++) {
            probabilities[i] = header.bool(Vp8Tables.COEFFICIENT_UPDATES[i]) ? header.bits(8)
                    : Vp8Tables.COEFFICIENTS[i];
        }
        if (header.bit()) {
            skipProbability = header.bits(8);
        }
        luma = new Plane(16 * columns, 16 * rows);
        blueness = new Plane(8 * columns, 8 * rows);
        redness = new Plane(8 * columns, 8 * rows);
        modesAbove = new byte[4 * columns];
        filledAbove = new byte[9 * columns];
        segments = new byte[columns * rows];
        blockwise = new boolean[columns * rows];
        filteredInside = new boolean[columns * rows];
    }

    /** Section 9.3. */
    private void readSegments() throws EOFException {
        segmented = header.bit();
        if (!segmented) {
            return;
        }
        segmentMap = header.bit();
        if (header.bit()) {
            absoluteSegments = header.bit();
            for (int i = 0; i < SEGMENTS; i++) {
                segmentQuantizer[i] = header.optionalSigned(7);
            }
            for (int i = 0; i < SEGMENTS; i++) {
                segmentLevel[i] = header.optionalSigned(6);
            }
        }
        for (int i = 0; segmentMap && i < segmentProbabilities.length; i++) {
            segmentProbabilities[i] = header.bit() ? header.bits(8) : 255;
        }
        header.check();
    }

    /** Section 9.6. */
    private void readFilter() throws EOFException {
        simpleFilter = header.bit();
        filterLevel = header.bits(6);
        sharpness = header.bits(3);
        adjustedLevels = header.bit();
        if (adjustedLevels && header.bit()) {
            int[] deltas = new int[8];
            for (int i = 0; i < deltas.length; i++) {
                deltas[i] = header.optionalSigned(6);
            }
            intraLevel = deltas[0];
            blockwiseLevel = deltas[4];
        }
        header.check();
    }

    /** Section 9.5. A partition that its size would let end behind the frame ends with it. */
    private BoolReader[] partitions(byte[] data, int sizes, int end) throws EOFException {
        BoolReader[] readers = new BoolReader[1 << header.bits(2)];
        int at = sizes + 3 * (readers.length - 1);
        if (at >= end) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        for (int i = 0; i < readers.length; i++) {
            int entry = sizes + 3 * i;
            int size = end - at;
            if (i < readers.length - 1) {
                size = Math.min(size, data[entry] & 0xff | (data[entry + 1] & 0xff) << 8
                        | (data[entry + 2] & 0xff) << 16);
            }
            readers[i] = new BoolReader(data, at, at + size);
            at += size;
        }
        if (readers[readers.length - 1].isEmpty()) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        return readers;
    }

    /** Sections 9.6 and 14.1. */
    private void readSteps() {
        int base = header.bits(7);
        int lumaDc = header.optionalSigned(4);
        int secondDc = header.optionalSigned(4);
        int secondAc = header.optionalSigned(4);
        int chromaDc = header.optionalSigned(4);
        int chromaAc = header.optionalSigned(4);
        for (int i = 0; i < SEGMENTS; i++) {
            int index = !segmented ? base : segmentQuantizer[i] + (absoluteSegments ? 0 : base);
            steps[i][0] = Vp8Tables.DC_STEPS[Math.clamp(index + lumaDc, 0, 127)];
            steps[i][1] = Vp8Tables.AC_STEPS[Math.clamp(index, 0, 127)];
            steps[i][2] = 2 * Vp8Tables.DC_STEPS[Math.clamp(index + secondDc, 0, 127)];
            steps[i][3] = Math.max(8, Vp8Tables.AC_STEPS[Math.clamp(index + secondAc, 0, 127)] * 155 / 100);
            steps[i][4] = Vp8Tables.DC_STEPS[Math.clamp(index + chromaDc, 0, 117)];
            steps[i][5] = Vp8Tables.AC_STEPS[Math.clamp(index + chromaAc, 0, 127)];
        }
    }

    private void reconstruct() throws EOFException {
        byte[] modes = new byte[columns * 16];
        byte[] chromaModes = new byte[columns];
        boolean[] skipped = new boolean[columns];
        for (int y = 0; y < rows; y++) {
            Arrays.fill(modesLeft, (byte) DC);
            for (int x = 0; x < columns; x++) {
                readModes(x, y, modes, chromaModes, skipped);
            }
            header.check();
            BoolReader in = partitions[y & partitions.length - 1];
            Arrays.fill(filledLeft, (byte) 0);
            for (int x = 0; x < columns; x++) {
                int at = y * columns + x;
                filteredInside[at] = blockwise[at];
                long filled = 0;
                if (skipped[x]) {
                    forget(x, blockwise[at]);
                } else {
                    filled = readCoefficients(in, x, steps[segments[at]], blockwise[at]);
                    filteredInside[at] |= filled != 0;
                    in.check();
                }
                predict(x, y, blockwise[at], modes, chromaModes[x], filled);
            }
        }
    }

    /** Sections 10 and 11. */
    private void readModes(int x, int y, byte[] modes, byte[] chromaModes, boolean[] skipped) {
        int at = y * columns + x;
        if (segmentMap) {
            segments[at] = (byte) (header.bool(segmentProbabilities[0])
                    ? 2 + (header.bool(segmentProbabilities[2]) ? 1 : 0)
                    : header.bool(segmentProbabilities[1]) ? 1 : 0);
        }
        skipped[x] = skipProbability >= 0 && header.bool(skipProbability);
        blockwise[at] = !header.bool(145);
        if (blockwise[at]) {
            for (int i = 0; i < 16; i++) {
                int above = 4 * x + (i & 3);
                int probability = 90 * modesAbove[above] + 9 * modesLeft[i >> 2];
                int node = 0;
                do {
                    node = BLOCK_MODE_TREE[node
                            + (header.bool(Vp8Tables.BLOCK_MODES[probability + (node >> 1)]) ? 1 : 0)];
                } while (node > 0);
                modes[16 * x + i] = modesAbove[above] = modesLeft[i >> 2] = (byte) -node;
            }
        } else {
            int mode = header.bool(156) ? header.bool(128) ? TRUE_MOTION : HORIZONTAL
                    : header.bool(163) ? VERTICAL : DC;
            modes[16 * x] = (byte) mode;
            Arrays.fill(modesAbove, 4 * x, 4 * x + 4, (byte) mode);
            Arrays.fill(modesLeft, (byte) mode);
        }
        chromaModes[x] = (byte) (!header.bool(142) ? DC : !header.bool(114) ? VERTICAL
                : header.bool(183) ? TRUE_MOTION : HORIZONTAL);
    }

    /** A macroblock without coefficients leaves that of luma's DC as it was if it has none by its kind. */
    private void forget(int x, boolean blockwise) {
        int kept = blockwise ? 8 : 9;
        Arrays.fill(filledAbove, 9 * x, 9 * x + kept, (byte) 0);
        Arrays.fill(filledLeft, 0, kept, (byte) 0);
    }

    /**
     * Section 13.
     *
     * @return a bit for each of the 24 blocks that has coefficients, and above these a bit for each that libwebp
     * transforms in 16 bits
     */
    private long readCoefficients(BoolReader in, int x, int[] steps, boolean blockwise) {
        Arrays.fill(coefficients, (short) 0);
        int above = 9 * x;
        int first = 0;
        int kind = LUMA;
        if (!blockwise) {
            int count = readBlock(in, LUMA_DC, filledAbove[above + 8] + filledLeft[8], 0, steps[2], steps[3], 24 * 16);
            filledAbove[above + 8] = filledLeft[8] = (byte) (count > 0 ? 1 : 0);
            if (count > 0) {
                spreadDc();
            }
            first = 1;
            kind = LUMA_WITHOUT_DC;
        }
        long filled = 0;
        for (int block = 0; block < 24; block++) {
            boolean chroma = block >= 16;
            int column = chroma ? 4 + (block - 16 >> 2) * 2 + (block & 1) : block & 3;
            int row = chroma ? 4 + (block - 16 >> 2) * 2 + (block >> 1 & 1) : block >> 2;
            int context = filledAbove[above + column] + filledLeft[row];
            int count = readBlock(in, chroma ? CHROMA : kind, context, chroma ? 0 : first,
                    steps[chroma ? 4 : 0], steps[chroma ? 5 : 1], 16 * block);
            filledAbove[above + column] = filledLeft[row] = (byte) (count > (chroma ? 0 : first) ? 1 : 0);
            if (count > 1 || coefficients[16 * block] != 0) {
                filled |= 1L << block;
            }
            if (chroma ? count > 1 : count > 3) {
                filled |= (chroma ? 0xfL << (block & ~3) : 1L << block) << NARROW;
            }
        }
        return filled;
    }

    /** @return the place after the last coefficient */
    private int readBlock(BoolReader in, int kind, int context, int first, int dcStep, int acStep, int out) {
        int[] p = probabilities;
        int base = kind * KIND;
        int at = base + BANDS[first] * BAND + context * CONTEXT;
        for (int n = first; n < 16; n++) {
            if (!in.bool(p[at])) {
                return n;
            }
            while (!in.bool(p[at + 1])) {
                n++;
                if (n == 16) {
                    return 16;
                }
                at = base + BANDS[n] * BAND;
            }
            int value = 1;
            int next = base + BANDS[n + 1] * BAND;
            if (in.bool(p[at + 2])) {
                value = largeValue(in, at);
                at = next + 2 * CONTEXT;
            } else {
                at = next + CONTEXT;
            }
            int signed = in.bit() ? -value : value;
            coefficients[out + ZIGZAG[n]] = (short) (signed * (n > 0 ? acStep : dcStep));
        }
        return 16;
    }

    private int largeValue(BoolReader in, int at) {
        int[] p = probabilities;
        if (!in.bool(p[at + 3])) {
            return !in.bool(p[at + 4]) ? 2 : 3 + (in.bool(p[at + 5]) ? 1 : 0);
        }
        if (!in.bool(p[at + 6])) {
            if (!in.bool(p[at + 7])) {
                return 5 + (in.bool(159) ? 1 : 0);
            }
            return 7 + 2 * (in.bool(165) ? 1 : 0) + (in.bool(145) ? 1 : 0);
        }
        int high = in.bool(p[at + 8]) ? 1 : 0;
        int category = 2 * high + (in.bool(p[at + 9 + high]) ? 1 : 0);
        int value = 0;
        for (int probability : EXTRA_BITS[category]) {
            value = 2 * value + (in.bool(probability) ? 1 : 0);
        }
        return value + 3 + (8 << category);
    }

    /** The inverse Walsh-Hadamard transform of section 14.3, whose results are the DC coefficients of luma. */
    private void spreadDc() {
        int in = 24 * 16;
        int[] t = new int[16];
        for (int i = 0; i < 4; i++) {
            int a0 = coefficients[in + i] + coefficients[in + 12 + i];
            int a1 = coefficients[in + 4 + i] + coefficients[in + 8 + i];
            int a2 = coefficients[in + 4 + i] - coefficients[in + 8 + i];
            int a3 = coefficients[in + i] - coefficients[in + 12 + i];
            t[i] = a0 + a1;
            t[8 + i] = a0 - a1;
            t[4 + i] = a3 + a2;
            t[12 + i] = a3 - a2;
        }
        for (int i = 0; i < 4; i++) {
            int dc = t[4 * i] + 3;
            int a0 = dc + t[4 * i + 3];
            int a1 = t[4 * i + 1] + t[4 * i + 2];
            int a2 = t[4 * i + 1] - t[4 * i + 2];
            int a3 = dc - t[4 * i + 3];
            coefficients[64 * i] = (short) (a0 + a1 >> 3);
            coefficients[64 * i + 16] = (short) (a3 + a2 >> 3);
            coefficients[64 * i + 32] = (short) (a0 - a1 >> 3);
            coefficients[64 * i + 48] = (short) (a3 - a2 >> 3);
        }
    }

    /** Section 12, with the residue of section 14 added. */
    private void predict(int x, int y, boolean blockwise, byte[] modes, int chromaMode, long filled) {
        if (blockwise) {
            int[] aboveRight = aboveRight(x, y);
            for (int i = 0; i < 16; i++) {
                int at = luma.at(16 * x + 4 * (i & 3), 16 * y + 4 * (i >> 2));
                predictBlock(at, modes[16 * x + i], i, aboveRight);
                addResidue(luma, at, i, filled);
            }
        } else {
            int at = luma.at(16 * x, 16 * y);
            predictSquare(luma, at, 16, modes[16 * x], x > 0, y > 0);
            for (int i = 0; i < 16; i++) {
                addResidue(luma, at + 4 * (i >> 2) * luma.stride + 4 * (i & 3), i, filled);
            }
        }
        for (int i = 0; i < 2; i++) {
            Plane plane = i == 0 ? blueness : redness;
            int at = plane.at(8 * x, 8 * y);
            predictSquare(plane, at, 8, chromaMode, x > 0, y > 0);
            for (int j = 0; j < 4; j++) {
                addResidue(plane, at + 4 * (j >> 1) * plane.stride + 4 * (j & 1), 16 + 4 * i + j, filled);
            }
        }
    }

    /** The four samples above and to the right of a macroblock: its lower blocks see them, too. */
    private int[] aboveRight(int x, int y) {
        int[] samples = new int[4];
        int at = luma.at(16 * x + 16, 16 * y - 1);
        for (int i = 0; i < 4; i++) {
            samples[i] = y == 0 ? 127 : luma.sample(x == columns - 1 ? at - 1 : at + i);
        }
        return samples;
    }

    private static void predictSquare(Plane plane, int at, int size, int mode, boolean left, boolean above) {
        byte[] s = plane.samples;
        int stride = plane.stride;
        switch (mode) {
            case DC -> {
                int sum = 0;
                for (int i = 0; i < size; i++) {
                    sum += (above ? plane.sample(at - stride + i) : 0) + (left ? plane.sample(at - 1 + i * stride) : 0);
                }
                int count = (above ? size : 0) + (left ? size : 0);
                int mean = count == 0 ? 128 : (sum + count / 2) / count;
                for (int y = 0; y < size; y++) {
                    Arrays.fill(s, at + y * stride, at + y * stride + size, (byte) mean);
                }
            }
            case VERTICAL -> {
                for (int y = 0; y < size; y++) {
                    System.arraycopy(s, at - stride, s, at + y * stride, size);
                }
            }
            case HORIZONTAL -> {
                for (int y = 0; y < size; y++) {
                    Arrays.fill(s, at + y * stride, at + y * stride + size, s[at + y * stride - 1]);
                }
            }
            case TRUE_MOTION -> trueMotion(plane, at, size);
            default -> throw new IllegalStateException("mode " + mode);
        }
    }

    private static void trueMotion(Plane plane, int at, int size) {
        int stride = plane.stride;
        int corner = plane.sample(at - stride - 1);
        for (int y = 0; y < size; y++) {
            int left = plane.sample(at + y * stride - 1) - corner;
            for (int x = 0; x < size; x++) {
                plane.samples[at + y * stride + x] = (byte) Math.clamp(left + plane.sample(at - stride + x), 0, 255);
            }
        }
    }

    /**
     * A block of 4 x 4. Samples around it are numbered from its lower left corner upwards and then to the right, as in
     * the RFC.
     */
    private void predictBlock(int at, int mode, int number, int[] aboveRight) {
        int stride = luma.stride;
        int[] e = new int[13];
        for (int i = 0; i < 4; i++) {
            e[i] = luma.sample(at + (3 - i) * stride - 1);
            e[5 + i] = luma.sample(at - stride + i);
            e[9 + i] = (number & 3) == 3 ? aboveRight[i] : luma.sample(at - stride + 4 + i);
        }
        e[4] = luma.sample(at - stride - 1);
        switch (mode) {
            case DC -> {
                int mean = e[0] + e[1] + e[2] + e[3] + e[5] + e[6] + e[7] + e[8] + 4 >> 3;
                for (int y = 0; y < 4; y++) {
                    Arrays.fill(luma.samples, at + y * stride, at + y * stride + 4, (byte) mean);
                }
            }
            case TRUE_MOTION -> trueMotion(luma, at, 4);
            default -> {
                for (int y = 0; y < 4; y++) {
                    for (int x = 0; x < 4; x++) {
                        luma.samples[at + y * stride + x] = (byte) directed(mode, e, x, y);
                    }
                }
            }
        }
    }

    /** The sample at (x, y) of a block that continues its edge in a direction. */
    private static int directed(int mode, int[] e, int x, int y) {
        return switch (mode) {
            case VERTICAL -> mean3(e, 5 + x);
            case HORIZONTAL -> y == 3 ? e[1] + 3 * e[0] + 2 >> 2 : mean3(e, 3 - y);
            case RIGHT_DOWN -> mean3(e, 4 + x - y);
            case LEFT_DOWN -> x + y == 6 ? e[11] + 3 * e[12] + 2 >> 2 : mean3(e, 6 + x + y);
            case VERTICAL_RIGHT -> {
                int along = 2 * x - y;
                yield along < 0 ? mean3(e, 5 + along) : (along & 1) == 0 ? mean2(e, 4 + along / 2)
                        : mean3(e, 4 + along / 2 + 1);
            }
            case VERTICAL_LEFT -> {
                if (x == 3 && y >= 2) {
                    yield mean3(e, y == 2 ? 10 : 11);
                }
                yield (y & 1) == 0 ? mean2(e, 5 + x + y / 2) : mean3(e, 6 + x + y / 2);
            }
            case HORIZONTAL_DOWN -> {
                int along = 2 * y - x;
                yield along < 0 ? mean3(e, 3 - along) : (along & 1) == 0 ? mean2(e, 3 - along / 2)
                        : mean3(e, 3 - along / 2);
            }
            case HORIZONTAL_UP -> {
                int along = x + 2 * y;
                yield along > 5 ? e[0]
                        : along == 5 ? e[1] + 3 * e[0] + 2 >> 2
                        : (along & 1) == 0 ? mean2(e, 2 - along / 2) : mean3(e, 2 - along / 2);
            }
            default -> throw new IllegalStateException("mode " + mode);
        };
    }

    private static int mean2(int[] e, int i) {
        return e[i] + e[i + 1] + 1 >> 1;
    }

    private static int mean3(int[] e, int i) {
        return e[i - 1] + 2 * e[i] + e[i + 1] + 2 >> 2;
    }

    /**
     * The inverse cosine transform of section 14.4. Values of broken files leave the range of 16 bits, which is where
     * libwebp computes blocks of several coefficients.
     */
    private void addResidue(Plane plane, int at, int block, long filled) {
        if ((filled >> block & 1) == 0) {
            return;
        }
        int cut = (filled >> NARROW + block & 1) == 0 ? 0 : 16;
        short[] c = coefficients;
        int in = 16 * block;
        int[] t = new int[16];
        for (int i = 0; i < 4; i++) {
            transform(c[in + i], c[in + 4 + i], c[in + 8 + i], c[in + 12 + i], cut, t, 4 * i);
        }
        int[] out = new int[4];
        for (int y = 0; y < 4; y++) {
            transform(t[y] + 4 << cut >> cut, t[4 + y], t[8 + y], t[12 + y], cut, out, 0);
            for (int x = 0; x < 4; x++) {
                plane.add(at + y * plane.stride + x, out[x] >> 3);
            }
        }
    }

    private static void transform(int c0, int c1, int c2, int c3, int cut, int[] out, int at) {
        int a = c0 + c2 << cut >> cut;
        int b = c0 - c2 << cut >> cut;
        int d = bySine(c1) - byCosine(c3) << cut >> cut;
        int e = byCosine(c1) + bySine(c3) << cut >> cut;
        out[at] = a + e << cut >> cut;
        out[at + 1] = b + d << cut >> cut;
        out[at + 2] = b - d << cut >> cut;
        out[at + 3] = a - e << cut >> cut;
    }

    /** Times the square root of 2 and the cosine of pi / 8, in 16 bits of fraction. */
    private static int byCosine(int value) {
        return (value * 20091 >> 16) + value;
    }

    /** Times the square root of 2 and the sine of pi / 8. */
    private static int bySine(int value) {
        return value * 35468 >> 16;
    }

    /** Section 15. */
    private void filter() {
        if (filterLevel == 0) {
            return;
        }
        for (int y = 0; y < rows; y++) {
            for (int x = 0; x < columns; x++) {
                int at = y * columns + x;
                int level = level(segments[at], blockwise[at]);
                if (level > 0) {
                    int inside = inside(level);
                    if (simpleFilter) {
                        filterSimply(x, y, 2 * level + inside, filteredInside[at]);
                    } else {
                        int variance = level >= 40 ? 2 : level >= 15 ? 1 : 0;
                        filterMacroblock(luma, x, y, 16, 2 * level + inside, inside, variance, filteredInside[at]);
                        filterMacroblock(blueness, x, y, 8, 2 * level + inside, inside, variance, filteredInside[at]);
                        filterMacroblock(redness, x, y, 8, 2 * level + inside, inside, variance, filteredInside[at]);
                    }
                }
            }
        }
    }

    private int level(int segment, boolean blockwise) {
        int level = !segmented ? filterLevel : segmentLevel[segment] + (absoluteSegments ? 0 : filterLevel);
        if (adjustedLevels) {
            level += intraLevel + (blockwise ? blockwiseLevel : 0);
        }
        return Math.clamp(level, 0, 63);
    }

    /** How far samples beside each other may differ inside a block that is filtered. */
    private int inside(int level) {
        int limit = level;
        if (sharpness > 0) {
            limit = Math.min(limit >> (sharpness > 4 ? 2 : 1), 9 - sharpness);
        }
        return Math.max(limit, 1);
    }

    private void filterSimply(int x, int y, int limit, boolean inner) {
        int at = luma.at(16 * x, 16 * y);
        int stride = luma.stride;
        for (int direction = 0; direction < 2; direction++) {
            int across = direction == 0 ? 1 : stride;
            int along = direction == 0 ? stride : 1;
            for (int edge = 0; edge < (inner ? 16 : 4); edge += 4) {
                if (edge > 0 || (direction == 0 ? x : y) > 0) {
                    luma.filterSimply(at + edge * across, across, along, 2 * (edge == 0 ? limit + 4 : limit) + 1);
                }
            }
        }
    }

    private static void filterMacroblock(Plane plane, int x, int y, int size, int limit, int inside, int variance,
            boolean inner) {
        int at = plane.at(size * x, size * y);
        for (int direction = 0; direction < 2; direction++) {
            int across = direction == 0 ? 1 : plane.stride;
            int along = direction == 0 ? plane.stride : 1;
            for (int edge = 0; edge < (inner ? size : 4); edge += 4) {
                if (edge > 0 || (direction == 0 ? x : y) > 0) {
                    int edgeLimit = 2 * (edge == 0 ? limit + 4 : limit) + 1;
                    plane.filter(at + edge * across, across, along, size, edgeLimit, inside, variance, edge == 0);
                }
            }
        }
    }

    /** Chroma is interpolated from the four nearest samples by 9, 3, 3 and 1 sixteenths. */
    private RgbImage rgb() {
        RgbImage image = RgbImage.black(width, height);
        byte[] rgb = image.rgb();
        int lastColumn = (width + 1) / 2 - 1;
        int lastRow = (height + 1) / 2 - 1;
        int target = 0;
        for (int y = 0; y < height; y++) {
            int near = blueness.at(0, y >> 1);
            int far = blueness.at(0, Math.clamp((y >> 1) + ((y & 1) == 0 ? -1 : 1), 0, lastRow));
            int row = luma.at(0, y);
            for (int x = 0; x < width; x++) {
                int column = x >> 1;
                int beside = Math.clamp(column + ((x & 1) == 0 ? -1 : 1), 0, lastColumn);
                int light = luma.sample(row + x) * 19077 >> 8;
                int blue = blueness.interpolated(near, far, column, beside);
                int red = redness.interpolated(near, far, column, beside);
                rgb[target++] = to8Bits(light + (red * 26149 >> 8) - 14234);
                rgb[target++] = to8Bits(light - (blue * 6419 >> 8) - (red * 13320 >> 8) + 8708);
                rgb[target++] = to8Bits(light + (blue * 33050 >> 8) - 17685);
            }
        }
        return image;
    }

    private static byte to8Bits(int fixed) {
        return (byte) Math.clamp(fixed >> 6, 0, 255);
    }

    /** Samples with a row of 127 above them and a column of 129 to their left. */
    private static final class Plane {
        final int stride;
        final byte[] samples;

        Plane(int width, int height) {
            stride = width + 1;
            samples = new byte[Math.multiplyExact(stride, height + 1)];
            Arrays.fill(samples, 0, stride, (byte) 127);
            for (int y = 1; y <= height; y++) {
                samples[y * stride] = (byte) 129;
            }
        }

        int at(int x, int y) {
            return (y + 1) * stride + x + 1;
        }

        int sample(int at) {
            return samples[at] & 0xff;
        }

        void add(int at, int value) {
            samples[at] = (byte) Math.clamp(sample(at) + value, 0, 255);
        }

        int interpolated(int near, int far, int column, int beside) {
            return 9 * sample(near + column) + 3 * sample(near + beside) + 3 * sample(far + column)
                    + sample(far + beside) + 8 >> 4;
        }

        /** Over an edge of 16 samples. */
        void filterSimply(int at, int across, int along, int limit) {
            for (int i = 0, p = at; i < 16; i++, p += along) {
                int p1 = sample(p - 2 * across);
                int p0 = sample(p - across);
                int q0 = sample(p);
                int q1 = sample(p + across);
                if (4 * Math.abs(p0 - q0) + Math.abs(p1 - q1) <= limit) {
                    nearest(p, across, 3 * (q0 - p0) + signed(p1 - q1));
                }
            }
        }

        /** Over an edge of a macroblock or of a block inside it. */
        void filter(int at, int across, int along, int size, int limit, int inside, int variance, boolean outer) {
            for (int i = 0, p = at; i < size; i++, p += along) {
                int p3 = sample(p - 4 * across);
                int p2 = sample(p - 3 * across);
                int p1 = sample(p - 2 * across);
                int p0 = sample(p - across);
                int q0 = sample(p);
                int q1 = sample(p + across);
                int q2 = sample(p + 2 * across);
                int q3 = sample(p + 3 * across);
                if (4 * Math.abs(p0 - q0) + Math.abs(p1 - q1) > limit
                        || Math.abs(p3 - p2) > inside || Math.abs(p2 - p1) > inside
                        || Math.abs(p1 - p0) > inside || Math.abs(q3 - q2) > inside || Math.abs(q2 - q1) > inside
                        || Math.abs(q1 - q0) > inside) {
                    continue;
                }
                if (Math.abs(p1 - p0) > variance || Math.abs(q1 - q0) > variance) {
                    nearest(p, across, 3 * (q0 - p0) + signed(p1 - q1));
                } else if (outer) {
                    int a = signed(3 * (q0 - p0) + signed(p1 - q1));
                    int a1 = 27 * a + 63 >> 7;
                    int a2 = 18 * a + 63 >> 7;
                    int a3 = 9 * a + 63 >> 7;
                    add(p - 3 * across, a3);
                    add(p - 2 * across, a2);
                    add(p - across, a1);
                    add(p, -a1);
                    add(p + across, -a2);
                    add(p + 2 * across, -a3);
                } else {
                    int a = nearest(p, across, 3 * (q0 - p0));
                    add(p - 2 * across, a + 1 >> 1);
                    add(p + across, -(a + 1 >> 1));
                }
            }
        }

        /** Moves the two samples beside an edge towards each other. */
        private int nearest(int p, int across, int difference) {
            int a1 = Math.clamp(difference + 4 >> 3, -16, 15);
            int a2 = Math.clamp(difference + 3 >> 3, -16, 15);
            add(p - across, a2);
            add(p, -a1);
            return a1;
        }

        private static int signed(int value) {
            return Math.clamp(value, -128, 127);
        }
    }

    /** The arithmetic decoder of section 7. */
    private static final class BoolReader {
        private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.BIG_ENDIAN);

        private final byte[] data;
        private final int end;
        private int at;
        private long value;
        /** Bits of the value beyond the 8 that the next decision needs. */
        private int spare = -8;
        private int range = 254;
        private boolean ended;

        BoolReader(byte[] data, int from, int end) {
            this.data = data;
            this.end = end;
            at = from;
        }

        boolean isEmpty() {
            return at == end;
        }

        /** @throws EOFException if more was read than there is */
        void check() throws EOFException {
            if (ended) {
                throw new EOFException(Bytes.ENDS_EARLY);
            }
        }

        boolean bool(int probability) {
            if (spare < 0) {
                load();
            }
            int split = range * probability >> 8;
            boolean bit = Integer.compareUnsigned((int) (value >>> spare), split) > 0;
            if (bit) {
                range -= split;
                value -= (long) (split + 1) << spare;
            } else {
                range = split + 1;
            }
            int shift = Integer.numberOfLeadingZeros(range) - 24;
            range = (range << shift) - 1;
            spare -= shift;
            return bit;
        }

        /**
         * In steps of libwebp's: a broken file leaves the value too large, and what is cut off from it depends on them.
         */
        private void load() {
            if (end - at >= Long.BYTES) {
                value = value << 56 | (long) LONG.get(data, at) >>> 8;
                at += 7;
                spare += 56;
            } else if (at < end) {
                value = value << 8 | data[at++] & 0xff;
                spare += 8;
            } else if (!ended) {
                ended = true;
                value <<= 8;
                spare += 8;
            } else {
                spare = 0;
            }
        }

        boolean bit() {
            return bool(128);
        }

        int bits(int count) {
            int bits = 0;
            for (int i = 0; i < count; i++) {
                bits = bits << 1 | (bit() ? 1 : 0);
            }
            return bits;
        }

        /** A bit that says whether there is a value, the value and its sign; 0 if there is none. */
        int optionalSigned(int count) {
            if (!bit()) {
                return 0;
            }
            int bits = bits(count);
            return bit() ? -bits : bits;
        }
    }
}

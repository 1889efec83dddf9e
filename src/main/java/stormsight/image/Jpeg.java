package stormsight.image;

import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import javax.imageio.ImageReader;
import javax.imageio.plugins.jpeg.JPEGHuffmanTable;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * JPEG files. The JDK's reader gets the tables, the frame and the scans alone and gives the samples as they are stored;
 * what they mean is decided as libjpeg-turbo does, whose samples come out bit for bit.
 */
final class Jpeg {
    private static final int START = 0xd8;
    private static final int END = 0xd9;
    private static final int SCAN = 0xda;
    private static final int HUFFMAN_TABLES = 0xc4;
    private static final int APPLICATION = 0xe0;
    private static final int EXIF_OR_XMP = 0xe1;
    private static final int ADOBE = 0xee;
    private static final int COMMENT = 0xfe;

    private static final String XMP_PREFIX = "http://ns.adobe.com/xap/1.0/\0";

    /** A block of 8 x 8 samples takes a bit at least. */
    private static final int MOST_PIXELS_OF_A_BYTE = 8 * 64;

    /**
     * What all scans of a progressive file may decode together: seconds. The usual ten scans reach it for no image that
     * is read.
     */
    private static final long MOST_SCANNED_PIXELS = 16 * ImageDecoder.DEFAULT_MAX_PIXELS;

    private final Bytes in;
    private final Reading reading;
    private final ByteArrayOutputStream body = new ByteArrayOutputStream();

    private boolean jfif;
    /** What the last Adobe segment says about colours; -1 if there is none. */
    private int adobe = -1;
    /** The frame's segment from its precision on; null before it. */
    private byte[] frame;
    private boolean progressive;
    private boolean ended;
    private int scans;
    /** [components, 64]: the lowest bit of each coefficient that scans have told; 14 if none has. */
    private int[][] missing;

    private Jpeg(Bytes in, Reading reading) {
        this.in = in;
        this.reading = reading;
    }

    static RgbImage read(Bytes in, Reading reading) throws IOException {
        Jpeg jpeg = new Jpeg(in, reading);
        Optional<String> remark = jpeg.readSegments();
        RgbImage image = jpeg.readPixels();
        remark.ifPresent(reading::warn);
        return image;
    }

    /** @return what is odd about the end of the file */
    private Optional<String> readSegments() throws IOException {
        int at = 2;
        while (!ended) {
            at = nextMarker(at);
            if (at < 0) {
                break;
            }
            int marker = in.at(at - 1);
            if (marker == END) {
                ended = true;
            } else if (marker == START || marker >= 0xd0 && marker <= 0xd7 || marker == 0x01) {
                if (marker == START && scans > 0) {
                    break;
                }
            } else {
                int length = in.length() - at < 2 ? 0 : in.bigShort(at);
                if (length < 2 || length > in.length() - at) {
                    if (scans > 0) {
                        break;
                    }
                    throw length == 0 || length == 1 ? new IOException("a segment of " + length + " bytes")
                            : new EOFException(Bytes.ENDS_EARLY);
                }
                if (marker >= APPLICATION && marker < APPLICATION + 16 || marker == COMMENT) {
                    if (scans == 0) {
                        readApplication(marker, at + 2, length - 2);
                    }
                } else {
                    readTable(marker, at, length);
                }
                at += length;
                if (marker == SCAN) {
                    int end = endOfScan(at);
                    body.write(in.data(), at, end - at);
                    at = end;
                }
            }
        }
        if (scans == 0) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        return ended ? Reading.behindTheEnd(in.length() - at)
                : Optional.of("it has no end marker; all of its pixels are there");
    }

    /**
     * The index after the next marker; bytes that are none are passed over, as libjpeg does. Negative at the end of the
     * file.
     */
    private int nextMarker(int from) {
        byte[] data = in.data();
        for (int at = from; at < data.length - 1; at++) {
            if (data[at] == -1 && data[at + 1] != 0 && data[at + 1] != -1) {
                return at + 2;
            }
        }
        return -1;
    }

    /** The index of the marker that ends the entropy-coded data of a scan, or the end of the file. */
    private int endOfScan(int from) {
        byte[] data = in.data();
        for (int at = from; at < data.length - 1; at++) {
            int next = data[at + 1] & 0xff;
            if (data[at] == -1 && next != 0 && next != 0xff && (next < 0xd0 || next > 0xd7)) {
                return at;
            }
        }
        return data.length;
    }

    /** Metadata before the first scan; behind it libjpeg reads none. */
    private void readApplication(int marker, int at, int length) throws EOFException {
        if (marker == APPLICATION && length >= 14 && in.is(at, "JFIF\0")) {
            jfif = true;
        } else if (marker == ADOBE && length >= 12 && in.is(at, "Adobe")) {
            adobe = in.at(at + 11);
        } else if (marker == EXIF_OR_XMP && length >= Orientation.PREFIX.length() && in.is(at, Orientation.PREFIX)) {
            reading.orientation().appendExif(
                    in.part(at + Orientation.PREFIX.length(), length - Orientation.PREFIX.length()));
        } else if (marker == EXIF_OR_XMP && length >= XMP_PREFIX.length() && in.is(at, XMP_PREFIX)) {
            reading.orientation().xmp(in.part(at + XMP_PREFIX.length(), length - XMP_PREFIX.length()));
        }
    }

    private void readTable(int marker, int at, int length) throws IOException {
        if (marker >= 0xc0 && marker <= 0xcf && marker != HUFFMAN_TABLES && marker != 0xc8 && marker != 0xcc) {
            readFrame(marker, at, length);
        } else if (marker == SCAN) {
            readScan(at, length);
        }
        body.write(0xff);
        body.write(marker);
        if (marker == SCAN && !progressive) {
            // What selects coefficients means nothing in such a frame, and libjpeg only complains of it.
            body.write(in.data(), at, length - 3);
            body.writeBytes(new byte[] {0, 63, 0});
        } else {
            body.write(in.data(), at, length);
        }
    }

    private void readFrame(int marker, int at, int length) throws IOException {
        String kind = switch (marker) {
            case 0xc0, 0xc1, 0xc2 -> null;
            case 0xc9, 0xca -> "arithmetic coding";
            case 0xc3, 0xcb -> "lossless coding";
            default -> "hierarchical coding";
        };
        if (kind != null) {
            throw new IOException("JPEG with " + kind + " is not supported; convert it to PNG or to an ordinary JPEG");
        }
        if (length < 8 || frame != null) {
            throw new IOException(frame == null ? "its frame header is too short" : "it has two frames");
        }
        frame = in.part(at + 2, length - 2);
        progressive = marker == 0xc2;
        int components = frame[5] & 0xff;
        if (frame[0] != 8) {
            throw new IOException("JPEG of " + (frame[0] & 0xff)
                    + " bits a sample is not supported; convert it to PNG");
        }
        if (components != 1 && components != 3 && components != 4) {
            throw new IOException("JPEG of " + components + " colour components is not supported; convert it to PNG");
        }
        if (frame.length < 6 + 3 * components) {
            throw new IOException("its frame header is too short");
        }
        reading.checkSize(width(), height());
        missing = new int[components][64];
        for (int[] coefficients : missing) {
            Arrays.fill(coefficients, 14);
        }
    }

    private int width() {
        return (frame[3] & 0xff) << 8 | frame[4] & 0xff;
    }

    private int height() {
        return (frame[1] & 0xff) << 8 | frame[2] & 0xff;
    }

    private void readScan(int at, int length) throws IOException {
        if (frame == null) {
            throw new IOException("it has a scan before its frame");
        }
        scans++;
        if ((long) scans * width() * height() > MOST_SCANNED_PIXELS && scans > 10) {
            throw new IOException("more than " + scans + " scans of " + width() + " x " + height()
                    + " pixels would take too long; convert it to PNG");
        }
        int components = in.at(at + 2);
        if (length != 6 + 2 * components) {
            throw new IOException("a scan header of " + length + " bytes for " + components + " components");
        }
        int first = progressive ? in.at(at + 3 + 2 * components) : 0;
        int last = progressive ? in.at(at + 4 + 2 * components) : 63;
        int lowestBit = progressive ? in.at(at + 5 + 2 * components) & 15 : 0;
        for (int i = 0; i < components; i++) {
            for (int component = 0; component < missing.length; component++) {
                if (frame[6 + 3 * component] == in.data()[at + 3 + 2 * i]) {
                    Arrays.fill(missing[component], Math.min(first, 64), Math.clamp(last + 1, Math.min(first, 64), 64),
                            lowestBit);
                }
            }
        }
    }

    /** @throws EOFException if scans or the data of scans are missing */
    private void requireScans() throws EOFException {
        for (int[] coefficients : missing) {
            for (int bits : coefficients) {
                if (bits > 0) {
                    throw new EOFException("it ends too early: scans are missing");
                }
            }
        }
        if ((long) width() * height() > (long) MOST_PIXELS_OF_A_BYTE * body.size()) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
    }

    /** 0 if samples are stored as they are shown, 1 or 2 if the first three are luma and chroma. */
    private int transform() {
        if (missing.length == 4) {
            return adobe <= 0 ? 0 : 2;
        }
        boolean rgb = !jfif && (adobe == 0 || adobe < 0 && frame[6] == 'R' && frame[9] == 'G' && frame[12] == 'B');
        return rgb ? 0 : 1;
    }

    private RgbImage readPixels() throws IOException {
        requireScans();
        ByteArrayOutputStream file = new ByteArrayOutputStream(body.size() + 1000);
        file.writeBytes(new byte[] {(byte) 0xff, (byte) START});
        if (missing.length > 1) {
            file.writeBytes(new byte[] {(byte) 0xff, (byte) ADOBE, 0, 14, 'A', 'd', 'o', 'b', 'e'});
            file.writeBytes(new byte[] {0, 100, 0, 0, 0, 0, (byte) transform()});
        }
        writeStandardTables(file);
        body.writeTo(file);
        file.writeBytes(new byte[] {(byte) 0xff, (byte) END});
        AtomicReference<String> complaint = new AtomicReference<>();
        ImageReader reader = Reading.jdkReader("JPEG");
        try (ImageInputStream stream = new MemoryCacheImageInputStream(new ByteArrayInputStream(file.toByteArray()))) {
            reader.setInput(stream, true, true);
            reader.addIIOReadWarningListener((_, warning) -> complaint.compareAndSet(null, warning));
            Raster raster = reader.readRaster(0, null);
            checkComplaint(complaint.get());
            return rgb(raster);
        } finally {
            reader.dispose();
        }
    }

    /**
     * libjpeg goes on after any damage and reports the first one alone.
     *
     * @throws IOException unless all pixels are there
     */
    private void checkComplaint(String complaint) throws IOException {
        if (complaint == null) {
            return;
        }
        if (complaint.contains("extraneous bytes before marker 0xd9")) {
            if (ended) {
                reading.warn("compressed data is left over behind its last pixel; the image may be damaged");
            }
            return;
        }
        throw complaint.contains("premature end") ? new EOFException(Bytes.ENDS_EARLY)
                : new IOException("its compressed pixels are broken (" + complaint + ")");
    }

    /** Frames of Motion JPEG leave the tables out. Tables of the file take the place of these. */
    private static void writeStandardTables(ByteArrayOutputStream file) {
        JPEGHuffmanTable[] tables = {
            JPEGHuffmanTable.StdDCLuminance, JPEGHuffmanTable.StdDCChrominance,
            JPEGHuffmanTable.StdACLuminance, JPEGHuffmanTable.StdACChrominance
        };
        for (int i = 0; i < tables.length; i++) {
            short[] lengths = tables[i].getLengths();
            short[] values = tables[i].getValues();
            int length = 2 + 1 + 16 + values.length;
            file.writeBytes(new byte[] {(byte) 0xff, (byte) HUFFMAN_TABLES, (byte) (length >> 8), (byte) length});
            // 0, 1: DC; 16, 17: AC.
            file.write((i >> 1) * 16 + (i & 1));
            for (int j = 0; j < 16; j++) {
                file.write(j < lengths.length ? lengths[j] : 0);
            }
            for (short value : values) {
                file.write(value);
            }
        }
    }

    private RgbImage rgb(Raster raster) {
        int width = raster.getWidth();
        int bands = raster.getNumBands();
        RgbImage image = RgbImage.black(width, raster.getHeight());
        boolean[] tall = new boolean[bands];
        for (int band = 0; band < bands; band++) {
            tall[band] = isHalfAsTall(band);
        }
        boolean converted = bands > 1 && transform() > 0;
        int[] row = new int[bands * width];
        int[] other = new int[bands * width];
        int target = 0;
        for (int y = 0; y < raster.getHeight(); y++) {
            raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
            interpolate(raster, y, tall, row, other);
            for (int at = 0; at < row.length; at += bands, target += 3) {
                if (converted) {
                    toRgb(row, at);
                }
                for (int channel = 0; channel < 3; channel++) {
                    int sample = row[bands < 3 ? at : at + channel];
                    image.rgb()[target + channel] =
                            (byte) (bands == 4 ? onPaper(sample, row[at + 3], converted) : sample);
                }
            }
        }
        return image;
    }

    /** Whether a component has all columns and half of the rows of others, as chroma of 4:4:0 has. */
    private boolean isHalfAsTall(int component) {
        int columns = 0;
        int rows = 0;
        for (int i = 0; i < missing.length; i++) {
            columns = Math.max(columns, frame[7 + 3 * i] >> 4 & 15);
            rows = Math.max(rows, frame[7 + 3 * i] & 15);
        }
        int factors = frame[7 + 3 * component];
        return (factors >> 4 & 15) == columns && 2 * (factors & 15) == rows;
    }

    /**
     * Interpolates what the JDK's libjpeg repeats, as libjpeg-turbo has it: of each row three quarters of the nearest
     * stored one and a quarter of the next.
     */
    private static void interpolate(Raster raster, int y, boolean[] tall, int[] row, int[] other) {
        int bands = tall.length;
        int last = (raster.getHeight() - 1) / 2;
        int beside = Math.clamp((y >> 1) + ((y & 1) == 0 ? -1 : 1), 0, last);
        boolean read = false;
        for (int band = 0; band < bands; band++) {
            if (tall[band]) {
                if (!read) {
                    raster.getPixels(raster.getMinX(), raster.getMinY() + 2 * beside, raster.getWidth(), 1, other);
                    read = true;
                }
                for (int at = band; at < row.length; at += bands) {
                    row[at] = 3 * row[at] + other[at] + 1 + (y & 1) >> 2;
                }
            }
        }
    }

    /** libjpeg's conversion in 16 bits of fraction. */
    private static void toRgb(int[] row, int at) {
        int luma = row[at];
        int blue = row[at + 1] - 128;
        int red = row[at + 2] - 128;
        row[at] = Math.clamp(luma + (91881 * red + 32768 >> 16), 0, 255);
        row[at + 1] = Math.clamp(luma + (-22554 * blue - 46802 * red + 32768 >> 16), 0, 255);
        row[at + 2] = Math.clamp(luma + (116130 * blue + 32768 >> 16), 0, 255);
    }

    /**
     * Light of one colour after its ink and black. Adobe stores inks inverted, and Pillow takes every JPEG of four inks
     * for Adobe's.
     *
     * @param sample as it is stored, or converted, which turns it over
     * @param light that black leaves
     */
    private static int onPaper(int sample, int light, boolean converted) {
        int product = (converted ? sample : 255 - sample) * light + 128;
        return light - ((product >> 8) + product >> 8);
    }
}

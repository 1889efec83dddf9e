package stormsight.image;

import java.io.ByteArrayOutputStream;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How an image is turned, by its metadata. Of several statements that counts which Pillow's {@code
 * ImageOps.exif_transpose} would follow: EXIF before XMP, the last of several tags, nothing behind a tag whose value
 * lies outside the data. A library that reads EXIF and XMP by their specifications follows others, and refuses blocks
 * that Pillow reads.
 */
final class Orientation {
    /** Neither turned nor mirrored. */
    static final int UPRIGHT = 1;

    /** What EXIF data begins with in JPEG files; other formats may leave it out. */
    static final String PREFIX = "Exif\0\0";

    private static final int TAG = 0x0112;

    /** Bytes of a value by its type in TIFF; 0 where there is no such type. */
    private static final int[] TYPE_BYTES = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};

    /** In XMP that Pillow finds it in. */
    private static final Pattern XMP = Pattern.compile("tiff:Orientation(?:=\"|>)([0-9])");

    private final ByteArrayOutputStream exif = new ByteArrayOutputStream();
    private boolean hasExif;
    private byte[] profile;
    private byte[] xmp;

    /** EXIF data: a TIFF structure, with or without its prefix. Takes the place of what was there. */
    void exif(byte[] data) {
        exif.reset();
        appendExif(data);
    }

    /** EXIF data that counts only if there is no other. */
    void exifProfile(byte[] data) {
        profile = data;
    }

    /** More EXIF data; a JPEG segment holds no more than 64 KB. */
    void appendExif(byte[] data) {
        hasExif = true;
        exif.writeBytes(data);
    }

    /** XMP data, which is XML. Takes the place of what was there. */
    void xmp(byte[] data) {
        xmp = data;
    }

    /**
     * The orientation, 1 .. 8; 1 if the metadata states none.
     *
     * @throws MetadataException if the EXIF data is none at all
     */
    int value() throws MetadataException {
        byte[] data = hasExif ? exif.toByteArray() : profile;
        int value = data == null ? -1 : tagged(data);
        if (value < 0 && xmp != null) {
            Matcher matcher = XMP.matcher(new String(xmp, StandardCharsets.ISO_8859_1));
            value = matcher.find() ? matcher.group(1).charAt(0) - '0' : UPRIGHT;
        }
        return value >= 1 && value <= 8 ? value : UPRIGHT;
    }

    /** Metadata that cannot be read, although the pixels can. */
    static final class MetadataException extends Exception {
        private static final long serialVersionUID = 1;

        private MetadataException(String problem) {
            super(problem);
        }
    }

    /** What the tag of the main directory states; negative if there is none. */
    private static int tagged(byte[] exif) throws MetadataException {
        int offset = 0;
        while (new Bytes(exif).is(offset, PREFIX)) {
            offset += PREFIX.length();
        }
        if (offset == exif.length) {
            return -1;
        }
        ByteBuffer tiff = ByteBuffer.wrap(exif, offset, exif.length - offset).slice();
        int value = -1;
        try {
            short order = tiff.getShort();
            tiff.order(order == 0x4949 ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
            short magic = tiff.getShort();
            if (order != 0x4949 && order != 0x4d4d || magic != 42 && magic != 42 << 8) {
                throw new MetadataException("its EXIF data begins with neither II nor MM and 42");
            }
            int directory = tiff.getInt();
            if (directory < 0 || directory > tiff.limit()) {
                return -1;
            }
            tiff.position(directory);
            for (int entries = tiff.getShort() & 0xffff; entries > 0; entries--) {
                int tag = tiff.getShort() & 0xffff;
                int type = tiff.getShort() & 0xffff;
                long bytes = (type < TYPE_BYTES.length ? TYPE_BYTES[type] : 0) * (tiff.getInt() & 0xffffffffL);
                int at = tiff.position();
                long inFile = tiff.getInt() & 0xffffffffL;
                if (bytes > 4 && inFile + bytes > tiff.limit()) {
                    return value;
                }
                if (tag == TAG && bytes > 0) {
                    value = value(tiff, bytes > 4 ? (int) inFile : at, type);
                }
            }
        } catch (BufferUnderflowException e) {
            if (tiff.limit() < 8) {
                throw new MetadataException("its EXIF data ends too early");
            }
        }
        return value;
    }

    /** Bytes and text are no orientation to Pillow, all kinds of numbers are. */
    private static int value(ByteBuffer tiff, int at, int type) {
        double number = switch (type) {
            case 3 -> tiff.getShort(at) & 0xffff;
            case 4, 13 -> tiff.getInt(at) & 0xffffffffL;
            case 5 -> (double) (tiff.getInt(at) & 0xffffffffL) / (tiff.getInt(at + 4) & 0xffffffffL);
            case 6 -> tiff.get(at);
            case 8 -> tiff.getShort(at);
            case 9 -> tiff.getInt(at);
            case 10 -> (double) tiff.getInt(at) / tiff.getInt(at + 4);
            case 11 -> tiff.getFloat(at);
            case 12 -> tiff.getDouble(at);
            case 16 -> tiff.getLong(at);
            default -> 0;
        };
        return number == (int) number && number >= 0 ? (int) number : 0;
    }

    /** The image turned and mirrored so that it is upright. */
    static RgbImage upright(RgbImage image, int orientation) {
        if (orientation == UPRIGHT) {
            return image;
        }
        int w = image.width();
        int h = image.height();
        boolean turned = orientation >= 5;
        RgbImage out = turned ? RgbImage.black(h, w) : RgbImage.black(w, h);
        int target = 0;
        for (int y = 0; y < out.height(); y++) {
            for (int x = 0; x < out.width(); x++) {
                int u = turned ? y : x;
                int v = turned ? x : y;
                boolean flipX = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
                boolean flipY = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
                int source = 3 * ((flipY ? h - 1 - v : v) * w + (flipX ? w - 1 - u : u));
                out.rgb()[target++] = image.rgb()[source];
                out.rgb()[target++] = image.rgb()[source + 1];
                out.rgb()[target++] = image.rgb()[source + 2];
            }
        }
        return out;
    }
}

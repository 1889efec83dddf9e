package stormsight.image;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The orientation tag of EXIF data. */
final class Exif {
    private static final byte[] PREFIX = {'E', 'x', 'i', 'f', 0, 0};
    private static final int ORIENTATION = 0x0112;
    private static final int BYTE = 1;
    private static final int SHORT = 3;
    private static final int LONG = 4;

    private Exif() {}

    static boolean isExif(byte[] data, int offset, int length) {
        if (length < PREFIX.length) {
            return false;
        }
        for (int i = 0; i < PREFIX.length; i++) {
            if (data[offset + i] != PREFIX[i]) {
                return false;
            }
        }
        return true;
    }

    /**
     * The orientation, 1 .. 8, in the main directory of a TIFF structure, with or without "Exif\0\0" before it. 1, which is upright, if
     * there is none or the structure is broken: broken metadata does not make an image unreadable.
     */
    static int orientation(byte[] data, int offset, int length) {
        int skip = isExif(data, offset, length) ? PREFIX.length : 0;
        ByteBuffer tiff = ByteBuffer.wrap(data, offset + skip, length - skip).slice();
        try {
            short order = tiff.getShort();
            if (order == 0x4949) {
                tiff.order(ByteOrder.LITTLE_ENDIAN);
            } else if (order != 0x4d4d) {
                return 1;
            }
            if (tiff.getShort() != 42) {
                return 1;
            }
            int directory = tiff.getInt();
            if (directory < 0 || directory > tiff.limit() - 2) {
                return 1;
            }
            tiff.position(directory);
            int entries = tiff.getShort() & 0xffff;
            for (int i = 0; i < entries; i++) {
                int tag = tiff.getShort() & 0xffff;
                int type = tiff.getShort();
                int count = tiff.getInt();
                int at = tiff.position();
                tiff.getInt();
                if (tag == ORIENTATION && count == 1) {
                    int value = switch (type) {
                        case BYTE -> tiff.get(at);
                        case SHORT -> tiff.getShort(at);
                        case LONG -> tiff.getInt(at);
                        default -> 1;
                    };
                    return value >= 1 && value <= 8 ? value : 1;
                }
            }
            return 1;
        } catch (BufferUnderflowException e) {
            return 1;
        }
    }

    /** The image turned and mirrored so that it is upright, as Pillow's exif_transpose does it. */
    static RgbImage upright(RgbImage image, int orientation) {
        if (orientation == 1) {
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

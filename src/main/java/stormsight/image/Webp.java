package stormsight.image;

import java.io.EOFException;
import java.io.IOException;

/**
 * WebP files: the first frame on its canvas. What lies in which chunk is decided as by libwebp's demuxer, which Pillow
 * reads through.
 */
final class Webp {
    private static final int ANIMATED = 2;
    private static final int HAS_XMP = 4;
    private static final int HAS_EXIF = 8;

    private final Bytes in;
    private final Reading reading;
    private final int end;

    private Webp(Bytes in, Reading reading, int end) {
        this.in = in;
        this.reading = reading;
        this.end = end;
    }

    static RgbImage read(Bytes in, Reading reading) throws IOException {
        long end = 8 + (in.littleInt(4) & 0xffffffffL);
        in.require(0, end);
        if (end < 20) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        Webp webp = new Webp(in, reading, (int) end);
        RgbImage image = in.is(12, "VP8X") ? webp.readExtended() : webp.readFrame(12, (int) end, 0, 0);
        Reading.behindTheEnd(in.length() - (int) end).ifPresent(reading::warn);
        return image;
    }

    /** @return the payload's size, after which the chunk may be padded by a byte */
    private int chunkSize(int at, int limit) throws EOFException {
        if (at > limit - 8) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        long size = in.littleInt(at + 4) & 0xffffffffL;
        if (size + (size & 1) > limit - at - 8L) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        return (int) size;
    }

    private static int after(int at, int size) {
        return at + 8 + size + (size & 1);
    }

    private RgbImage readExtended() throws IOException {
        int size = chunkSize(12, end);
        if (size < 10) {
            throw new IOException("its header is too short");
        }
        int flags = in.at(20);
        int width = 1 + (in.littleShort(24) | in.at(26) << 16);
        int height = 1 + (in.littleShort(27) | in.at(29) << 16);
        boolean animated = (flags & ANIMATED) != 0;
        reading.checkSize(width, height);
        RgbImage image = null;
        boolean exif = (flags & HAS_EXIF) != 0;
        boolean xmp = (flags & HAS_XMP) != 0;
        for (int at = after(12, size); at < end;) {
            String name = in.name(at);
            size = chunkSize(at, end);
            switch (name) {
                case "ANMF" -> {
                    if (animated && image == null) {
                        image = readAnimationFrame(at + 8, size, width, height);
                    }
                }
                case "VP8 ", "VP8L" -> {
                    if (animated || image != null) {
                        throw new IOException("it has pixels outside its frames");
                    }
                    image = readFrame(at, end, width, height);
                }
                case "EXIF" -> {
                    if (exif) {
                        reading.orientation().exif(in.part(at + 8, size));
                    }
                    exif = false;
                }
                case "XMP " -> {
                    if (xmp) {
                        reading.orientation().xmp(in.part(at + 8, size));
                    }
                    xmp = false;
                }
                default -> { }
            }
            at = after(at, size);
        }
        if (image == null) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        return image;
    }

    /** The canvas is black where the frame does not reach. Of the sizes stated that of the pixels themselves counts. */
    private RgbImage readAnimationFrame(int at, int size, int canvasWidth, int canvasHeight) throws IOException {
        if (size < 16) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        int left = 2 * (in.littleShort(at) | in.at(at + 2) << 16);
        int top = 2 * (in.littleShort(at + 3) | in.at(at + 5) << 16);
        int limit = at + size;
        int chunk = at + 16;
        if (chunk < limit && in.name(chunk).equals("ALPH")) {
            chunk = after(chunk, chunkSize(chunk, limit));
        }
        RgbImage frame = readFrame(chunk, limit, 0, 0);
        if (left + frame.width() > canvasWidth || top + frame.height() > canvasHeight) {
            throw new IOException("its first frame lies outside the canvas");
        }
        if (frame.width() == canvasWidth && frame.height() == canvasHeight) {
            return frame;
        }
        RgbImage canvas = RgbImage.black(canvasWidth, canvasHeight);
        int row = 3 * frame.width();
        for (int y = 0; y < frame.height(); y++) {
            System.arraycopy(frame.rgb(), y * row, canvas.rgb(), 3 * ((top + y) * canvasWidth + left), row);
        }
        return canvas;
    }

    /** @param width that the frame must have, 0 if any will do */
    private RgbImage readFrame(int at, int limit, int width, int height) throws IOException {
        // The byte that fills up a chunk may be read as a part of it.
        int length = after(0, chunkSize(at, limit)) - 8;
        String name = in.name(at);
        boolean lossless = name.equals("VP8L");
        if (!lossless && !name.equals("VP8 ")) {
            throw new EOFException(Bytes.ENDS_EARLY);
        }
        int[] size = lossless ? Vp8l.size(in.data(), at + 8, length) : Vp8.size(in.data(), at + 8, length);
        reading.checkSize(size[0], size[1]);
        if (width > 0 && (size[0] != width || size[1] != height)) {
            throw new IOException("its pixels are " + size[0] + " x " + size[1] + ", its header says " + width + " x "
                    + height);
        }
        return lossless ? Vp8l.decode(in.data(), at + 8, length) : Vp8.decode(in.data(), at + 8, length);
    }
}

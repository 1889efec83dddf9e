package stormsight.image;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;

/**
 * An image file reduced to what its pixels need. Colour profiles, gamma, transparency, text and thumbnails are left out: Pillow's
 * {@code convert("RGB")} ignores them, and a decoder that never sees them can neither apply them nor fail on them.
 *
 * @param data a complete file of the same format
 * @param orientation by EXIF, 1 .. 8
 */
record Container(Format format, byte[] data, int orientation) {
    enum Format {
        PNG,
        JPEG,
        /** JPEG of four inks. */
        JPEG_CMYK,
        /** JPEG of four inks, three of which are stored as luma and chroma. */
        JPEG_YCCK,
        GIF,
        BMP,
        WEBP
    }

    /** @throws IOException if the format is not known or the file is cut short or broken */
    static Container of(byte[] file) throws IOException {
        Bytes in = new Bytes(file);
        if (in.startsWith("\u0089PNG\r\n\u001a\n")) {
            return png(in);
        }
        if (in.startsWith("\u00ff\u00d8\u00ff")) {
            return jpeg(in);
        }
        if (in.startsWith("GIF87a") || in.startsWith("GIF89a")) {
            return new Container(Format.GIF, file, 1);
        }
        if (in.startsWith("BM")) {
            return bmp(in);
        }
        if (in.startsWith("RIFF") && file.length >= 12 && in.is(8, "WEBP")) {
            return webp(in);
        }
        throw new IOException(
                file.length == 0 ? "it is empty" : "its format is not known; PNG, JPEG, GIF, BMP and WebP are read");
    }

    /** Keeps IHDR, PLTE and IDAT, whose checksums must hold. */
    private static Container png(Bytes in) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream(in.length());
        out.write(in.data, 0, 8);
        int orientation = 1;
        boolean ended = false;
        for (int at = 8; !ended && at < in.length();) {
            int length = in.bigInt(at);
            if (length < 0) {
                throw new IOException("a chunk of a negative size");
            }
            in.require(at, 12L + length);
            String name = in.name(at + 4);
            switch (name) {
                case "IHDR", "PLTE", "IDAT" -> {
                    CRC32 crc = new CRC32();
                    crc.update(in.data, at + 4, 4 + length);
                    if ((int) crc.getValue() != in.bigInt(at + 8 + length)) {
                        throw new IOException("the checksum of its chunk " + name + " is wrong");
                    }
                    out.write(in.data, at, 12 + length);
                }
                case "eXIf" -> orientation = Exif.orientation(in.data, at + 8, length);
                case "IEND" -> {
                    out.write(in.data, at, 12 + length);
                    ended = true;
                }
                default -> { }
            }
            at += 12 + length;
        }
        if (!ended) {
            throw new EOFException("it ends too early");
        }
        return new Container(Format.PNG, out.toByteArray(), orientation);
    }

    /**
     * Leaves out all application segments and writes one that fixes the colour space, found by libjpeg's rule: Java's reader guesses
     * another where there is neither a JFIF nor an Adobe segment.
     */
    private static Container jpeg(Bytes in) throws IOException {
        ByteArrayOutputStream body = new ByteArrayOutputStream(in.length());
        int orientation = 0;
        boolean jfif = false;
        int adobe = -1;
        int components = 0;
        int ids = 0;
        boolean ended = false;
        int at = 2;
        while (!ended) {
            at = in.nextMarker(at);
            int marker = in.at(at - 1);
            boolean alone = marker == 0x01 || marker >= 0xd0 && marker <= 0xd8;
            if (marker == 0xd9) {
                ended = true;
            } else if (!alone) {
                int length = in.bigShort(at);
                if (length < 2) {
                    throw new IOException("a segment of " + length + " bytes");
                }
                in.require(at, length);
                boolean application = marker >= 0xe0 && marker <= 0xef || marker == 0xfe;
                boolean frame = marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
                if (marker == 0xe0 && length >= 16 && in.is(at + 2, "JFIF\0")) {
                    jfif = true;
                } else if (marker == 0xee && length >= 14 && in.is(at + 2, "Adobe")) {
                    adobe = in.at(at + 13);
                } else if (marker == 0xe1 && orientation == 0 && Exif.isExif(in.data, at + 2, length - 2)) {
                    orientation = Exif.orientation(in.data, at + 2, length - 2);
                } else if (frame && length >= 8) {
                    components = in.at(at + 7);
                    for (int i = 0; i < 3 && length >= 11 + 3 * i; i++) {
                        ids = ids << 8 | in.at(at + 8 + 3 * i);
                    }
                }
                if (!application) {
                    body.write(0xff);
                    body.write(marker);
                    body.write(in.data, at, length);
                }
                at += length;
                if (marker == 0xda) {
                    int end = in.endOfScan(at);
                    body.write(in.data, at, end - at);
                    at = end;
                }
            }
        }
        boolean rgb = !jfif && (adobe == 0 || adobe < 0 && ids == ('R' << 16 | 'G' << 8 | 'B'));
        int transform = switch (components) {
            case 3 -> rgb ? 0 : 1;
            case 4 -> adobe <= 0 ? 0 : 2;
            default -> -1;
        };
        Format format = components != 4 ? Format.JPEG : transform == 0 ? Format.JPEG_CMYK : Format.JPEG_YCCK;
        ByteArrayOutputStream out = new ByteArrayOutputStream(body.size() + 20);
        out.writeBytes(new byte[] {(byte) 0xff, (byte) 0xd8});
        if (transform >= 0) {
            out.writeBytes(new byte[] {(byte) 0xff, (byte) 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e'});
            out.writeBytes(new byte[] {0, 100, 0, 0, 0, 0, (byte) transform});
        }
        body.writeTo(out);
        out.writeBytes(new byte[] {(byte) 0xff, (byte) 0xd9});
        return new Container(format, out.toByteArray(), Math.max(orientation, 1));
    }

    private static Container bmp(Bytes in) throws IOException {
        in.require(0, 34);
        boolean compressed = in.littleInt(14) >= 40;
        if (compressed && (in.littleInt(30) == 4 || in.littleInt(30) == 5)) {
            throw new IOException("a BMP file around a JPEG or PNG image is not read");
        }
        return new Container(Format.BMP, in.data, 1);
    }

    /** Keeps the first VP8 or VP8L chunk, of the first frame if there are several. */
    private static Container webp(Bytes in) throws IOException {
        int orientation = 1;
        int pixels = -1;
        for (int at = 12; at < in.length();) {
            in.require(at, 8);
            long length = in.littleInt(at + 4) & 0xffffffffL;
            String name = in.name(at);
            in.require(at, 8 + length);
            if (name.equals("ANMF")) {
                at += 8 + 16;
                continue;
            }
            if (pixels < 0 && (name.equals("VP8 ") || name.equals("VP8L"))) {
                pixels = at;
            } else if (name.equals("EXIF")) {
                orientation = Exif.orientation(in.data, at + 8, (int) length);
            }
            at = (int) Math.min(at + 8 + length + (length & 1), in.length());
        }
        if (pixels < 0) {
            throw new IOException("it has no pixels");
        }
        int length = 8 + in.littleInt(pixels + 4);
        int size = 4 + length + (length & 1);
        byte[] out = new byte[8 + size];
        System.arraycopy(in.data, 0, out, 0, 12);
        for (int i = 0; i < 4; i++) {
            out[4 + i] = (byte) (size >>> 8 * i);
        }
        System.arraycopy(in.data, pixels, out, 12, length);
        return new Container(Format.WEBP, out, orientation);
    }

    /** Bytes of a file; reading past the end is an EOFException. */
    static final class Bytes {
        final byte[] data;

        Bytes(byte[] data) {
            this.data = data;
        }

        int length() {
            return data.length;
        }

        void require(int at, long count) throws EOFException {
            if (at + count > data.length) {
                throw new EOFException("it ends too early");
            }
        }

        int at(int index) throws EOFException {
            require(index, 1);
            return data[index] & 0xff;
        }

        int bigShort(int at) throws EOFException {
            return at(at) << 8 | at(at + 1);
        }

        int bigInt(int at) throws EOFException {
            return bigShort(at) << 16 | bigShort(at + 2);
        }

        int littleShort(int at) throws EOFException {
            return at(at) | at(at + 1) << 8;
        }

        int littleInt(int at) throws EOFException {
            return littleShort(at) | littleShort(at + 2) << 16;
        }

        String name(int at) throws EOFException {
            require(at, 4);
            return new String(data, at, 4, StandardCharsets.ISO_8859_1);
        }

        boolean startsWith(String magic) {
            return is(0, magic);
        }

        boolean is(int at, String magic) {
            if (data.length - at < magic.length()) {
                return false;
            }
            for (int i = 0; i < magic.length(); i++) {
                if ((data[at + i] & 0xff) != magic.charAt(i)) {
                    return false;
                }
            }
            return true;
        }

        /** The index after the next JPEG marker; bytes that are none are passed over, as libjpeg does. */
        int nextMarker(int from) throws EOFException {
            int at = from;
            while (at(at) != 0xff || at(at + 1) == 0 || at(at + 1) == 0xff) {
                at++;
            }
            return at + 2;
        }

        /** The index of the marker that ends the entropy-coded data of a JPEG scan. */
        int endOfScan(int from) throws EOFException {
            int at = from;
            while (true) {
                if (at(at) == 0xff) {
                    int next = at(at + 1);
                    if (next != 0 && next != 0xff && (next < 0xd0 || next > 0xd7)) {
                        return at;
                    }
                }
                at++;
            }
        }
    }
}

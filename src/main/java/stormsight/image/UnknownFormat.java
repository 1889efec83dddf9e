package stormsight.image;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;

/** Names what a file is that is not read, so that a user knows what to do. */
final class UnknownFormat {
    /** As much of a file as a text may take before it shows what it is. */
    private static final int BEGINNING = 1024;

    private static final String CONVERT = ", which is not supported; convert it to PNG or JPEG";

    /**
     * @param magic bytes in ISO 8859-1
     * @param place where they stand
     */
    private record Kind(String name, int place, String magic) {}

    private static final List<Kind> KINDS = List.of(
            new Kind("a TIFF image", 0, "II*\0"),
            new Kind("a TIFF image", 0, "MM\0*"),
            new Kind("a TIFF image", 0, "II+\0"),
            new Kind("a TIFF image", 0, "MM\0+"),
            new Kind("a Photoshop document (PSD)", 0, "8BPS"),
            new Kind("a PDF document", 0, "%PDF"),
            new Kind("a PostScript document", 0, "%!PS"),
            new Kind("a JPEG 2000 image", 0, "\0\0\0\fjP  "),
            new Kind("a JPEG 2000 image", 0, "\u00ffO\u00ffQ"),
            new Kind("a JPEG XL image", 0, "\u00ff\n"),
            new Kind("a JPEG XL image", 0, "\0\0\0\fJXL "),
            new Kind("a Windows icon", 0, "\0\0\1\0"),
            new Kind("a Netpbm image", 0, "P1"),
            new Kind("a Netpbm image", 0, "P2"),
            new Kind("a Netpbm image", 0, "P3"),
            new Kind("a Netpbm image", 0, "P4"),
            new Kind("a Netpbm image", 0, "P5"),
            new Kind("a Netpbm image", 0, "P6"),
            new Kind("a QOI image", 0, "qoif"),
            new Kind("a DirectDraw image (DDS)", 0, "DDS "),
            new Kind("an OpenEXR image", 0, "v/1\1"),
            new Kind("a Radiance HDR image", 0, "#?RADIANCE"),
            new Kind("a GIMP image (XCF)", 0, "gimp xcf"),
            new Kind("a video (Matroska or WebM)", 0, "\u001aE\u00df\u00a3"),
            new Kind("a video (AVI)", 8, "AVI "),
            new Kind("a Canon raw image (CR3)", 4, "ftypcrx "));

    private UnknownFormat() {}

    /** What is wrong with a file that none of the readers takes. */
    static String describe(Bytes in) {
        if (in.length() == 0) {
            return "it is empty";
        }
        if (in.startsWith("version https://git-lfs.github.com/spec/")) {
            return "it is a Git LFS pointer, not the image itself; fetch it with git lfs pull";
        }
        for (Kind kind : KINDS) {
            if (in.is(kind.place(), kind.magic())) {
                return "it is " + kind.name() + CONVERT;
            }
        }
        if (in.startsWith("PK\3\4") || in.startsWith("\u001f\u008b")) {
            return "it is an archive (ZIP or gzip), not an image; unpack it first";
        }
        if (in.is(4, "ftyp")) {
            return "it is " + boxed(in) + CONVERT;
        }
        String text = new String(in.data(), 0, Math.min(in.length(), BEGINNING), StandardCharsets.ISO_8859_1)
                .toLowerCase(Locale.ROOT);
        if (text.contains("<svg")) {
            return "it is an SVG drawing" + CONVERT;
        }
        if (text.contains("<!doctype html") || text.contains("<html")) {
            return "it is a web page (HTML), not an image; download the image itself";
        }
        if (text.matches("(?s)\\s*[{\\[]\\s*[\"{\\[].*")) {
            return "it is JSON text, not an image, as servers send with an error; download the image anew";
        }
        if (text.matches("(?s)(ivborw0kggo|/9j/|r0lgod|uklgr)[a-z0-9+/=\\s]*")) {
            return "it is an image in base64; decode it first, or give it as a URL: data:image/png;base64,...";
        }
        return "its format is not known; PNG, JPEG, GIF, BMP and WebP are read";
    }

    /**
     * By the brands that a file of the ISO base media format says it follows: the first is its own, others may say
     * more.
     */
    private static String boxed(Bytes in) {
        int stated = (in.data()[2] & 0xff) << 8 | in.data()[3] & 0xff;
        int size = Math.min(Math.max(stated, 8), Math.min(in.length(), BEGINNING));
        String brands = new String(in.data(), 8, size - 8, StandardCharsets.ISO_8859_1);
        if (brands.contains("avif") || brands.contains("avis")) {
            return "an AVIF image";
        }
        if (brands.matches("(?s).*(hei[cxms]|hev[cxms]|mif1|msf1).*")) {
            return "a HEIC image";
        }
        return "a video or another file of MPEG-4's format";
    }
}

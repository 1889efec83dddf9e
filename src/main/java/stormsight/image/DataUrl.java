package stormsight.image;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Locale;

/**
 * A file in a URL, as web pages hold pictures.
 *
 * @see <a href="https://www.rfc-editor.org/rfc/rfc2397">RFC 2397</a>
 */
public final class DataUrl {
    /** Characters of a data URL in a message: its type. */
    private static final int SHOWN = 60;
    private static final int LONG = 500;

    private DataUrl() {}

    /** Whether a text begins as URLs do, {@code https://} or another scheme. @param lower in lower case */
    public static boolean hasScheme(String lower) {
        return lower.matches("(?s)[a-z][a-z0-9+.-]+://.*");
    }

    /**
     * The bytes of the file.
     *
     * @throws ImageException if the data is not there, or is not base64 although it says so
     */
    public static byte[] bytes(String url) {
        int comma = url.indexOf(',');
        if (comma < 0) {
            throw new ImageException(shown(url), "is not a data URL: the comma before the data is missing");
        }
        // A plus is no space here.
        String content = URLDecoder.decode(url.substring(comma + 1).replace("+", "%2B"), StandardCharsets.ISO_8859_1);
        if (!url.substring(0, comma).toLowerCase(Locale.ROOT).strip().endsWith(";base64")) {
            return content.getBytes(StandardCharsets.ISO_8859_1);
        }
        try {
            byte[] bytes = Base64.getMimeDecoder().decode(content.replace('-', '+').replace('_', '/'));
            if (bytes.length == 0) {
                throw new ImageException(shown(url), "holds nothing in base64");
            }
            return bytes;
        } catch (IllegalArgumentException e) {
            throw new ImageException(shown(url), "is not base64: " + e.getMessage(), e);
        }
    }

    /** Without most of a long data URL. */
    public static String shown(String text) {
        int most = text.regionMatches(true, 0, "data:", 0, 5) ? SHOWN : LONG;
        return text.length() <= most ? text : text.substring(0, most) + "...";
    }
}

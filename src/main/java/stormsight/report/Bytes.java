package stormsight.report;

import java.util.Locale;

/** Numbers of bytes for people. */
public final class Bytes {
    private Bytes() {}

    /** {@code 1.20 GB}, {@code 3.4 MB} or {@code 5.6 kB}, in powers of 1000. */
    public static String text(long bytes) {
        if (bytes < 1_000_000) {
            return String.format(Locale.ROOT, "%.1f kB", bytes / 1e3);
        }
        return bytes < 1_000_000_000 ? String.format(Locale.ROOT, "%.1f MB", bytes / 1e6)
                : String.format(Locale.ROOT, "%.2f GB", bytes / 1e9);
    }
}

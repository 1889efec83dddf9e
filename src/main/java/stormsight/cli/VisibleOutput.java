package stormsight.cli;

import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * UTF-8 text in which control characters are shown instead of sent, the escape as {@code \}{@code u001b}: what a model
 * answers, and the names of files and tensors, may hold sequences that move a terminal's cursor, change its title or
 * hide text. Line breaks and tabs pass; what reverses the direction of writing does not. Each call to write must hold
 * whole characters, as those of print streams and writers do.
 */
final class VisibleOutput extends FilterOutputStream {
    private static final Pattern CONTROL =
            Pattern.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]|\\r(?!\\n)");

    VisibleOutput(OutputStream out) {
        super(out);
    }

    /** The text as it is shown. */
    static String shown(String text) {
        return CONTROL.matcher(text).replaceAll(found ->
                Matcher.quoteReplacement(String.format(Locale.ROOT, "\\u%04x", (int) found.group().charAt(0))));
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
        out.write(shown(new String(bytes, offset, length, StandardCharsets.UTF_8)).getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public void write(int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
    }
}

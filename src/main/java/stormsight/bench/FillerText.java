package stormsight.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/**
 * The text that prompts are filled with and that is fed where tokens are decoded; part of the program, so that results
 * compare.
 */
final class FillerText {
    private static final String RESOURCE = "/bench/text.txt";

    private FillerText() {}

    static String text() {
        try (InputStream in = FillerText.class.getResourceAsStream(RESOURCE)) {
            if (in == null) {
                throw new IllegalStateException("the build left out " + RESOURCE);
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).strip();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}

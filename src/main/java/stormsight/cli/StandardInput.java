package stormsight.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** What is read from standard input at once. The stream is not ours to close. */
final class StandardInput {
    /** Bytes of a text. */
    private static final int MOST_TEXT = 1 << 26;

    private static final int BUFFER = 1 << 16;

    private StandardInput() {}

    /**
     * All of it, without a byte order mark.
     *
     * @param option that asked for it, for messages
     * @throws UsageException if it cannot be read, has no end in sight, or is not UTF-8
     */
    static String text(String option) {
        byte[] bytes;
        try {
            bytes = System.in.readNBytes(MOST_TEXT + 1);
        } catch (IOException e) {
            throw new UsageException(option + " -: standard input cannot be read: " + e.getMessage());
        }
        if (bytes.length > MOST_TEXT) {
            throw new UsageException(option + " -: standard input has more than " + MOST_TEXT + " bytes");
        }
        try {
            return PromptText.of(decoder().decode(ByteBuffer.wrap(bytes)).toString());
        } catch (CharacterCodingException e) {
            throw new UsageException(option + " -: standard input is not UTF-8; PowerShell writes it after "
                    + "$OutputEncoding = [Text.Encoding]::UTF8");
        }
    }

    /** Of UTF-8; throws what is none. */
    static CharsetDecoder decoder() {
        return StandardCharsets.UTF_8.newDecoder();
    }

    /**
     * Copies it to a file, but no more than some bytes.
     *
     * @return how many there were, at most {@code most}
     */
    static long copy(Path file, long most) throws IOException {
        long copied = 0;
        byte[] buffer = new byte[BUFFER];
        try (OutputStream out = Files.newOutputStream(file)) {
            while (copied < most) {
                int read = System.in.read(buffer, 0, (int) Math.min(BUFFER, most - copied));
                if (read < 0) {
                    break;
                }
                out.write(buffer, 0, read);
                copied += read;
            }
        }
        return copied;
    }
}

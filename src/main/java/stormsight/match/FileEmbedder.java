package stormsight.match;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import stormsight.image.ImageDecoder;

/** Embeds files of images and texts, each content once however often it comes. */
public final class FileEmbedder {
    private final Embedder embedder;
    private final boolean normalized;
    private final ImageDecoder decoder = new ImageDecoder();
    private final Map<String, float[]> images = new HashMap<>();
    private final Map<String, float[]> texts = new HashMap<>();

    /** @param normalized whether embeddings are brought to length 1 */
    public FileEmbedder(Embedder embedder, boolean normalized) {
        this.embedder = embedder;
        this.normalized = normalized;
    }

    /** @throws stormsight.image.ImageException if the file is no image */
    public float[] image(Path file) {
        if (!Files.isRegularFile(file)) {
            // Says what is wrong with it.
            return finished(embedder.image(decoder.decode(file)));
        }
        try {
            byte[] content = Files.readAllBytes(file);
            String key = hash(content);
            float[] known = images.get(key);
            if (known == null) {
                known = finished(embedder.image(decoder.decode(new ByteArrayInputStream(content), file.toString())));
                images.put(key, known);
            }
            return known;
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    /** Tells the contents of files apart; empty where there is no such file. */
    public static Optional<String> hash(Path file) {
        try {
            return Files.isRegularFile(file) ? Optional.of(hash(Files.readAllBytes(file))) : Optional.empty();
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    private static String hash(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every JVM has SHA-256", e);
        }
    }

    private static UncheckedIOException unreadable(Path file, IOException e) {
        return new UncheckedIOException(file + " cannot be read: " + e.getMessage(), e);
    }

    public float[] text(String text) {
        return texts.computeIfAbsent(text, each -> finished(embedder.text(each)));
    }

    private float[] finished(float[] embedding) {
        return normalized ? Embedder.normalized(embedding) : embedding;
    }
}

package stormsight.match;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.image.RgbImage;

/** Embeds files of images and texts, several in a run, each content once however often it comes. */
public final class FileEmbedder {
    private final Embedder embedder;
    private final boolean normalized;
    private final Map<String, float[]> images = new HashMap<>();
    private final Map<String, float[]> texts = new HashMap<>();

    /**
     * What became of a file.
     *
     * @param hash tells its content apart; empty where there is none
     * @param problem why there is no embedding
     */
    public record Embedded(Optional<String> hash, Optional<float[]> embedding, Optional<RuntimeException> problem) {
        /** @throws stormsight.image.ImageException if the file is no image */
        public float[] orThrow() {
            return embedding.orElseThrow(problem::orElseThrow);
        }
    }

    /** A file's content, or the image in it where nobody knows its embedding, or why there is none. */
    private record Read(Optional<String> hash, Optional<RgbImage> image, Optional<RuntimeException> problem) {}

    /** @param normalized whether embeddings are brought to length 1 */
    public FileEmbedder(Embedder embedder, boolean normalized) {
        this.embedder = embedder;
        this.normalized = normalized;
    }

    /** @throws stormsight.image.ImageException if the file is no image */
    public float[] image(Path file) {
        return images(List.of(file)).next().orThrow();
    }

    /**
     * The embeddings of files in their order, made when they are asked for, as many at a time as a run has. A file that
     * is no image has its problem in its place.
     */
    public Iterator<Embedded> images(List<Path> files) {
        return new Iterator<>() {
            private final Deque<Embedded> made = new ArrayDeque<>();
            private int next;

            @Override
            public boolean hasNext() {
                return !made.isEmpty() || next < files.size();
            }

            @Override
            public Embedded next() {
                if (made.isEmpty()) {
                    int end = Math.min(files.size(), next + embedder.together());
                    made.addAll(embedded(files.subList(next, end)));
                    next = end;
                }
                return made.remove();
            }
        };
    }

    private List<Embedded> embedded(List<Path> files) {
        List<Read> read = files.parallelStream().map(this::read).toList();
        Map<String, RgbImage> missing = new LinkedHashMap<>();
        read.forEach(each -> each.image().ifPresent(image -> missing.putIfAbsent(each.hash().orElseThrow(), image)));
        float[][] rows = embedder.images(List.copyOf(missing.values()));
        int row = 0;
        for (String hash : missing.keySet()) {
            images.put(hash, finished(rows[row++]));
        }
        return read.stream()
                .map(each -> new Embedded(
                        each.hash(),
                        each.problem().isPresent() ? Optional.empty() : each.hash().map(images::get),
                        each.problem()))
                .toList();
    }

    /** Several threads read at a time; none changes what is known. */
    private Read read(Path file) {
        try {
            if (!Files.exists(file) || Files.isDirectory(file)) {
                // Says what is wrong with it.
                new ImageDecoder().decode(file);
            }
            byte[] content = Files.readAllBytes(file);
            String hash = hash(content);
            return new Read(
                    Optional.of(hash),
                    images.containsKey(hash)
                            ? Optional.empty()
                            : Optional.of(
                                    new ImageDecoder().decode(new ByteArrayInputStream(content), file.toString())),
                    Optional.empty());
        } catch (IOException e) {
            return new Read(Optional.empty(), Optional.empty(), Optional.of(unreadable(file, e)));
        } catch (ImageException | UncheckedIOException e) {
            return new Read(Optional.empty(), Optional.empty(), Optional.of(e));
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
        return texts(List.of(text)).next();
    }

    /** The embeddings of texts in their order, see {@link #images}. */
    public Iterator<float[]> texts(List<String> all) {
        return new Iterator<>() {
            private int next;

            @Override
            public boolean hasNext() {
                return next < all.size();
            }

            @Override
            public float[] next() {
                if (!texts.containsKey(all.get(next))) {
                    List<String> missing = all.subList(next, Math.min(all.size(), next + embedder.together())).stream()
                            .filter(text -> !texts.containsKey(text))
                            .distinct()
                            .toList();
                    float[][] rows = embedder.texts(missing);
                    for (int i = 0; i < rows.length; i++) {
                        texts.put(missing.get(i), finished(rows[i]));
                    }
                }
                return texts.get(all.get(next++));
            }
        };
    }

    private float[] finished(float[] embedding) {
        return normalized ? Embedder.normalized(embedding) : embedding;
    }
}

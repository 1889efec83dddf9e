package stormsight.match;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.image.ImageFile;
import stormsight.model.Views;

/** Embeds files of images and texts, several in a run, each content once however often it comes. */
public final class FileEmbedder {
    private final Embedder embedder;
    private final boolean normalized;
    private final int readers;
    private final Map<String, float[]> images = new HashMap<>();
    private final Map<String, float[]> texts = new HashMap<>();

    /**
     * What became of a file.
     *
     * @param stamp of the file from before it was read, see {@link ImageIndex#stamp}
     * @param hash tells its content apart; empty where there is none
     * @param problem why there is no embedding
     */
    public record Embedded(
            String stamp, Optional<String> hash, Optional<float[]> embedding, Optional<RuntimeException> problem) {
        /** @throws stormsight.image.ImageException if the file is no image */
        public float[] orThrow() {
            return embedding.orElseThrow(problem::orElseThrow);
        }
    }

    /** A file's content, or what the model takes of it where nobody knows its embedding, or why there is none. */
    private record Read(
            String stamp, Optional<String> hash, Optional<Views> image, Optional<RuntimeException> problem) {
        /** Whether there was too little memory for it. */
        boolean lacksMemory() {
            return problem.filter(why -> why instanceof ImageException e && e.isOfMemory()).isPresent();
        }
    }

    /**
     * @param normalized whether embeddings are brought to length 1
     * @param readers files that are read at a time at most
     */
    public FileEmbedder(Embedder embedder, boolean normalized, int readers) {
        this.embedder = embedder;
        this.normalized = normalized;
        this.readers = readers;
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
        List<Read> read = read(files);
        Map<String, Views> missing = new LinkedHashMap<>();
        read.forEach(each -> each.image().ifPresent(image -> missing.putIfAbsent(each.hash().orElseThrow(), image)));
        float[][] rows = embedder.images(List.copyOf(missing.values()));
        int row = 0;
        for (String hash : missing.keySet()) {
            images.put(hash, finished(rows[row++]));
        }
        return read.stream()
                .map(each -> new Embedded(
                        each.stamp(),
                        each.hash(),
                        each.problem().isPresent() ? Optional.empty() : each.hash().map(images::get),
                        each.problem()))
                .toList();
    }

    /** Several threads read at a time; none changes what is known. */
    private List<Read> read(List<Path> files) {
        List<Read> read = new ArrayList<>();
        if (readers == 1 || files.size() == 1) {
            files.forEach(file -> read.add(read(file)));
            return read;
        }
        try (ExecutorService pool = Executors.newFixedThreadPool(Math.min(readers, files.size()))) {
            files.stream()
                    .map(file -> CompletableFuture.supplyAsync(() -> read(file), pool))
                    .toList()
                    .forEach(each -> read.add(each.join()));
        }
        // What several at a time had too little memory for, one alone may have enough for.
        for (int i = 0; i < read.size(); i++) {
            if (read.get(i).lacksMemory()) {
                read.set(i, read(files.get(i)));
            }
        }
        return read;
    }

    /** Of an image, only what the model takes of it is kept, which is small however large the image is. */
    private Read read(Path file) {
        String stamp = ImageIndex.stamp(file);
        Optional<String> hash = Optional.empty();
        try {
            if (!Files.exists(file) || Files.isDirectory(file)) {
                // Says what is wrong with it.
                new ImageDecoder().decode(file);
            }
            byte[] content = ImageFile.content(file);
            hash = Optional.of(ImageFile.hash(content));
            return new Read(
                    stamp,
                    hash,
                    images.containsKey(hash.get())
                            ? Optional.empty()
                            : Optional.of(Views.of(
                                    embedder.model()::views,
                                    new ImageDecoder().decode(new ByteArrayInputStream(content), file.toString()),
                                    file.toString())),
                    Optional.empty());
        } catch (IOException e) {
            return new Read(stamp, hash, Optional.empty(), Optional.of(unreadable(file, e)));
        } catch (ImageException e) {
            return new Read(stamp, hash, Optional.empty(), Optional.of(e));
        } catch (OutOfMemoryError e) {
            return new Read(
                    stamp,
                    hash,
                    Optional.empty(),
                    Optional.of(new ImageException(file.toString(), ImageDecoder.TOO_LITTLE_MEMORY, e)));
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

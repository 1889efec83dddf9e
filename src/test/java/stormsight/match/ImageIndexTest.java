package stormsight.match;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageIndexTest {
    /** Lucene scores in 32 bits, and 1 + cosine has lost some of them. */
    private static final double COSINE = 1e-6;

    @TempDir
    private Path folder;

    private static float[] unit(Random random, int columns) {
        float[] vector = new float[columns];
        for (int i = 0; i < columns; i++) {
            vector[i] = (float) random.nextGaussian();
        }
        return Embedder.normalized(vector);
    }

    /** What is written into a file while it is embedded is seen by the next call. */
    @Test
    void aFileThatChangesMeanwhileIsNotCurrent() throws IOException {
        Path file = Files.writeString(folder.resolve("a.png"), "x");
        try (ImageIndex index = ImageIndex.inMemory()) {
            String stamp = ImageIndex.stamp(file);
            index.put(file, stamp, new float[] {1});
            assertTrue(index.isCurrent(file));
            Files.writeString(file, "another");
            assertFalse(index.isCurrent(file));
            index.put(file, stamp, new float[] {1});
            assertFalse(index.isCurrent(file));
            index.put(file, ImageIndex.stamp(file), new float[] {1});
            assertTrue(index.isCurrent(file));
        }
    }

    private Path index(String name) {
        Path kept = folder.resolve(name);
        try (ImageIndex index = ImageIndex.open(kept)) {
            index.put(folder.resolve("a.png"), "stamp", new float[] {1});
            index.commit("a model");
        }
        return kept;
    }

    /** Nobody has to delete an index that another version can read. */
    @Test
    void anIndexOfAnotherVersionIsNotCalledDamaged() throws IOException {
        for (int version : new int[] {1, 1000}) {
            Path kept = index("version" + version);
            Path segments = kept.resolve("segments_1");
            ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(segments));
            // Behind the magic number and the name, which has its length before it.
            bytes.putInt(Integer.BYTES + 1 + "segments".length(), version);
            CRC32 sum = new CRC32();
            int end = bytes.capacity() - Long.BYTES;
            sum.update(bytes.array(), 0, end);
            bytes.putLong(end, sum.getValue());
            Files.write(segments, bytes.array());
            UncheckedIOException e = assertThrows(UncheckedIOException.class, () -> ImageIndex.open(kept).close());
            assertEquals("the index in " + kept + " cannot be used: it was written by another version of Stormsight "
                    + "or Lucene; use that version, or index the images again in another folder", e.getMessage());
        }
    }

    @Test
    void aLockWithBytesIsNamed() throws IOException {
        Path kept = index("locked");
        Path lock = Files.writeString(kept.resolve("write.lock"), "x");
        UncheckedIOException e = assertThrows(UncheckedIOException.class, () -> ImageIndex.open(kept).close());
        assertEquals("the index in " + kept + " cannot be used: " + lock + " is not empty, as Lucene leaves it; "
                + "delete that file", e.getMessage());
        Files.delete(lock);
        ImageIndex.open(kept).close();
    }

    /** Each of its files in turn: cut, emptied, gone. */
    @Test
    void aDamagedIndexSaysWhatToDo() throws IOException {
        for (int damage = 0; damage < 3; damage++) {
            for (int file = 0; file < 4; file++) {
                Path kept = index("damaged" + damage + file);
                List<Path> files;
                try (Stream<Path> list = Files.list(kept)) {
                    files = list.filter(each -> !each.endsWith("write.lock")).sorted().toList();
                }
                assertEquals(4, files.size());
                Path damaged = files.get(file);
                if (damage == 2 && damaged.getFileName().toString().startsWith("segments")) {
                    // Without it there is no index, and one begins.
                    continue;
                }
                switch (damage) {
                    case 0 -> Files.write(damaged, Arrays.copyOf(Files.readAllBytes(damaged), 100));
                    case 1 -> Files.write(damaged, new byte[0]);
                    default -> Files.delete(damaged);
                }
                UncheckedIOException e = assertThrows(UncheckedIOException.class, () -> ImageIndex.open(kept).close());
                assertEquals("the index in " + kept + " cannot be used: a file in it is damaged or missing; delete the "
                        + "folder and index the images again", e.getMessage(), damaged.toString());
            }
        }
    }

    /** Widths around Lucene's own limit of 1024, of SigLIP so400m among them; files survive the index. */
    @Test
    void findsTheNearestOfAll() throws IOException {
        for (int columns : new int[] {1, 7, 1024, 1152}) {
            Random random = new Random(columns);
            Path kept = folder.resolve("index" + columns);
            List<float[]> embeddings = new ArrayList<>();
            List<Path> files = new ArrayList<>();
            try (ImageIndex index = ImageIndex.open(kept)) {
                assertEquals(Optional.empty(), index.model());
                for (int i = 0; i < 300; i++) {
                    files.add(Files.writeString(folder.resolve(i + ".png"), "x"));
                    embeddings.add(unit(random, columns));
                    index.put(files.get(i), ImageIndex.stamp(files.get(i)), embeddings.get(i));
                }
                index.commit("a model");
            }
            try (ImageIndex index = ImageIndex.open(kept)) {
                assertEquals(Optional.of("a model"), index.model());
                assertEquals(300, index.size());
                float[] query = embeddings.get(17);
                List<ImageIndex.Hit> found = index.search(query, 3);
                assertEquals(3, found.size());
                assertEquals(1, found.getFirst().cosine(), COSINE);
                List<Double> nearest = embeddings.stream().map(each -> -Similarity.cosine(query, each)).sorted()
                        .limit(3).map(each -> -each).toList();
                for (int i = 0; i < 3; i++) {
                    assertEquals(nearest.get(i), found.get(i).cosine(), COSINE);
                    int file = files.indexOf(found.get(i).image());
                    assertEquals(nearest.get(i), Similarity.cosine(query, embeddings.get(file)), COSINE);
                }
                assertThrows(
                        IllegalArgumentException.class,
                        () -> index.put(files.getFirst(), "", new float[columns + 1]));
                assertThrows(UncheckedIOException.class, () -> ImageIndex.open(kept));
            }
        }
    }
}

package stormsight.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Features in a folder: found, damaged, foreign, too many, and of several processes. */
class FeatureCacheTest {
    private static final long PLENTY = 1 << 20;
    /** Of an entry of the values below. */
    private static final long ENTRY = 22 + 32 + 5 * 4 + 32;

    @TempDir
    private Path folder;

    private FeatureCache cache(long bytes) {
        return new FeatureCache(folder, bytes, "a model");
    }

    private static FeatureCache.Key key(FeatureCache cache, int image) {
        return cache.key(List.of(new byte[] {(byte) image}), false);
    }

    private static MemorySegment values(int image) {
        return MemorySegment.ofArray(new float[] {image, -image, 0.5f, Float.MIN_VALUE, -0.0f});
    }

    private static void keep(FeatureCache cache, int image) {
        cache.write(key(cache, image), values(image));
    }

    private static boolean has(FeatureCache cache, int image) {
        MemorySegment read = MemorySegment.ofArray(new float[5]);
        boolean found = cache.read(key(cache, image), read);
        if (found) {
            assertArrayEquals(
                    values(image).toArray(ValueLayout.JAVA_INT_UNALIGNED),
                    read.toArray(ValueLayout.JAVA_INT_UNALIGNED));
        }
        return found;
    }

    private Path only() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.reduce((a, b) -> {
                throw new AssertionError("more than one file: " + a + ", " + b);
            }).orElseThrow();
        }
    }

    @Test
    void whatWasKeptIsFound() {
        FeatureCache first = cache(PLENTY);
        assertFalse(has(first, 1));
        keep(first, 1);
        assertTrue(has(first, 1));
        assertTrue(has(cache(PLENTY), 1));
        assertFalse(has(first, 2));
        assertEquals(1, first.found());
        assertEquals(1, first.kept());
    }

    @Test
    void everythingThatFeaturesFollowFromIsInTheKey() {
        FeatureCache cache = cache(PLENTY);
        FeatureCache.Key key = cache.key(List.of(new byte[] {1, 2}), false);
        for (FeatureCache.Key other : List.of(
                cache.key(List.of(new byte[] {1, 3}), false),
                cache.key(List.of(new byte[] {1, 2}), true),
                cache.key(List.of(new byte[] {1}, new byte[] {2}), false),
                cache.key(List.of(new byte[] {1, 2}, new byte[] {}), false),
                new FeatureCache(folder, PLENTY, "another model").key(List.of(new byte[] {1, 2}), false))) {
            assertFalse(Arrays.equals(key.hash(), other.hash()));
        }
        assertArrayEquals(key.hash(), cache(PLENTY).key(List.of(new byte[] {1, 2}), false).hash());
    }

    @Test
    void damagedEntriesAreMadeAgain() throws IOException {
        FeatureCache cache = cache(PLENTY);
        keep(cache, 1);
        Path file = only();
        byte[] whole = Files.readAllBytes(file);
        assertEquals(ENTRY, whole.length);
        List<byte[]> damages = new ArrayList<>(List.of(
                new byte[0], Arrays.copyOf(whole, whole.length - 1), Arrays.copyOf(whole, whole.length + 1)));
        for (int i = 0; i < whole.length; i++) {
            byte[] damaged = whole.clone();
            damaged[i] ^= 4;
            damages.add(damaged);
        }
        for (byte[] damaged : damages) {
            Files.write(file, damaged);
            assertFalse(has(cache, 1));
            keep(cache, 1);
            assertArrayEquals(whole, Files.readAllBytes(file));
            assertTrue(has(cache, 1));
        }
        // Of other features under this name, and of another number of them.
        keep(cache, 2);
        Path other = folder.resolve(HexFormat.of().formatHex(key(cache, 2).hash()) + ".features");
        Files.copy(other, file, StandardCopyOption.REPLACE_EXISTING);
        assertFalse(has(cache, 1));
        assertFalse(cache.read(key(cache, 2), MemorySegment.ofArray(new float[4])));
    }

    @Test
    void whatNobodyUsedGoesFirst() throws IOException {
        FeatureCache cache = cache(3 * ENTRY);
        Files.writeString(folder.resolve("notes.txt"), "x".repeat(1000));
        for (int i = 1; i <= 3; i++) {
            keep(cache, i);
            Files.setLastModifiedTime(
                    folder.resolve(HexFormat.of().formatHex(key(cache, i).hash()) + ".features"),
                    FileTime.from(Instant.now().minus(Duration.ofDays(10 - i))));
        }
        assertTrue(has(cache, 1));
        keep(cache, 4);
        assertTrue(has(cache, 1));
        assertFalse(has(cache, 2));
        assertTrue(has(cache, 3));
        assertTrue(has(cache, 4));
        // What is not ours stays.
        assertTrue(Files.exists(folder.resolve("notes.txt")));
        // Another process counts what was there before.
        FeatureCache smaller = cache(2 * ENTRY);
        keep(smaller, 5);
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(2, files.filter(file -> file.toString().endsWith(".features")).count());
        }
        FeatureCache none = cache(ENTRY - 1);
        keep(none, 6);
        assertFalse(has(none, 6));
    }

    @Test
    void whatIsNoNumberIsNotKept() {
        FeatureCache cache = cache(PLENTY);
        cache.write(key(cache, 1), MemorySegment.ofArray(new float[] {1, Float.NaN, 1, 1, 1}));
        assertFalse(has(cache, 1));
        assertEquals(0, cache.kept());
    }

    @Test
    void aFolderThatCannotBeWrittenIsSaidOnce() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "");
        FeatureCache cache = new FeatureCache(file, PLENTY, "a model");
        keep(cache, 1);
        assertFalse(has(cache, 1));
        assertTrue(cache.failure().orElseThrow().contains("not a directory"), cache.failure().get());
    }

    /** Each as if it were a process of its own, with too little room for all. */
    @Test
    void severalMayShareAFolder() throws Exception {
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            List<Future<?>> done = new ArrayList<>();
            for (int thread = 0; thread < 4; thread++) {
                int first = thread;
                done.add(threads.submit(() -> {
                    FeatureCache cache = cache(6 * ENTRY);
                    for (int i = 0; i < 200; i++) {
                        int image = (first + i) % 10;
                        if (!has(cache, image)) {
                            keep(cache, image);
                        }
                    }
                    assertEquals(Optional.empty(), cache.failure());
                }));
            }
            for (Future<?> each : done) {
                each.get();
            }
        }
        FeatureCache last = cache(6 * ENTRY);
        keep(last, 11);
        try (Stream<Path> files = Files.list(folder)) {
            List<Path> left = files.toList();
            assertTrue(left.size() <= 6, left.toString());
            assertTrue(left.stream().allMatch(file -> file.toString().endsWith(".features")), left.toString());
        }
    }
}

package stormsight.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A library is loaded from a folder of the user's own, and only as the jar holds it. */
class NativeLibraryTest {
    private static final String VERSION = "library-1";

    /** Small, and loads wherever glibc is. */
    private static final URL LIBRARY =
            NativeLibraryTest.class.getResource("/org/bytedeco/dnnl/linux-x86_64/libgomp.so.1");

    @TempDir
    private Path temporary;

    private Path cache;
    private Path file;

    @BeforeEach
    void needsALibrary() {
        assumeTrue(LIBRARY != null, "no library for this system is on the class path");
        cache = temporary.resolve("cache");
        file = cache.resolve("stormsight").resolve(VERSION).resolve("libgomp.so.1");
    }

    private void load() throws NativeLibrary.UnusableException {
        assertTrue(NativeLibrary.load(cache, VERSION, LIBRARY).find("omp_set_num_threads").isPresent());
    }

    private static byte[] inJar() throws IOException {
        try (InputStream in = LIBRARY.openStream()) {
            return in.readAllBytes();
        }
    }

    private static String permissions(Path path) throws IOException {
        return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
    }

    @Test
    void liesInFoldersOfTheUserAlone() throws Exception {
        load();
        assertArrayEquals(inJar(), Files.readAllBytes(file));
        for (Path folder = file.getParent(); !folder.equals(temporary); folder = folder.getParent()) {
            assertEquals("rwx------", permissions(folder));
        }
        assertEquals("rw-------", permissions(file));
        try (var files = Files.list(file.getParent())) {
            assertEquals(1, files.count());
        }
        load();
    }

    /** Cut, changed in one byte, or something else altogether. */
    @Test
    void whatIsDamagedIsReplaced() throws Exception {
        load();
        byte[] right = inJar();
        byte[] changed = right.clone();
        changed[changed.length / 2] ^= 1;
        for (byte[] wrong : new byte[][] {changed, "garbage".getBytes(), {}}) {
            Files.delete(file);
            Files.write(file, wrong);
            load();
            assertArrayEquals(right, Files.readAllBytes(file));
        }
        Files.delete(file);
        Path elsewhere = temporary.resolve("elsewhere");
        Files.write(elsewhere, right);
        Files.createSymbolicLink(file, elsewhere);
        load();
        assertTrue(Files.isRegularFile(file, java.nio.file.LinkOption.NOFOLLOW_LINKS));
    }

    @Test
    void aFolderThatOthersMayWriteIsRefused() throws Exception {
        load();
        for (Path folder : new Path[] {cache, cache.resolve("stormsight"), file.getParent(), file}) {
            String before = permissions(folder);
            for (String open : new String[] {"rwxrwxrwx", "rwxrwx---"}) {
                Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString(open));
                assertRefused("others may write to");
            }
            Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString(before));
        }
        load();
    }

    @Test
    void aLinkInPlaceOfOurFolderIsRefused() throws Exception {
        Files.createDirectories(cache);
        Files.createSymbolicLink(cache.resolve("stormsight"), Files.createDirectory(temporary.resolve("other")));
        assertRefused("is a link");
    }

    @Test
    void aFolderThatCannotBeMadeIsRefused() throws Exception {
        Files.createFile(cache);
        assertRefused("it cannot be laid into " + cache + " (" + cache + " is no folder)");
        cache = Path.of("relative");
        assertRefused("no absolute path");
    }

    private void assertRefused(String why) {
        String message = assertThrows(NativeLibrary.UnusableException.class, this::load).getMessage();
        assertTrue(message.contains(why) && message.contains("XDG_CACHE_HOME"), message);
        assertEquals(1, message.lines().count());
    }
}

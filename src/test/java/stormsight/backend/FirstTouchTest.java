package stormsight.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Linux tells in /proc/self/smaps how much of each mapping is there. */
class FirstTouchTest {
    /** Two whole pieces and a page. */
    private static final int KIBIBYTES = 8196;

    @TempDir
    private Path folder;

    private static MemorySegment advice() {
        assumeTrue(FirstTouch.advice().isPresent(), "not Linux on x86-64");
        return FirstTouch.advice().orElseThrow();
    }

    private static int residentKibibytes(long address) throws IOException {
        return Integer.parseInt(told(address, "Rss:").replaceAll("\\D", ""));
    }

    /** What the system tells of the mapping that begins there. */
    private static String told(long address, String what) throws IOException {
        List<String> lines = Files.readAllLines(Path.of("/proc/self/smaps"));
        String begin = Long.toHexString(address) + "-";
        int at = 0;
        while (!lines.get(at).startsWith(begin)) {
            at++;
        }
        while (!lines.get(at).startsWith(what)) {
            at++;
        }
        return lines.get(at);
    }

    @Test
    void pagesAreMappedBeforeTheyAreRead() throws IOException {
        MemorySegment advice = advice();
        Path file = Files.write(folder.resolve("weights"), new byte[KIBIBYTES << 10]);
        try (Arena arena = Arena.ofShared(); FileChannel channel = FileChannel.open(file)) {
            MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, KIBIBYTES << 10, arena);
            long address = mapped.address();
            assertEquals(0, residentKibibytes(address));
            assumeTrue(FirstTouch.populate(advice, address + 5000, 1), "a kernel before 5.14");
            assertTrue(FirstTouch.populated(advice, mapped.asSlice(100)));
            assertEquals(KIBIBYTES, residentKibibytes(address));
        }
    }

    @Test
    void largePagesAreAskedFor() throws IOException {
        MemorySegment advice = advice();
        assumeTrue(Files.exists(Path.of("/sys/kernel/mm/transparent_hugepage")), "a kernel without large pages");
        Path file = Files.write(folder.resolve("weights"), new byte[KIBIBYTES << 10]);
        try (Arena arena = Arena.ofShared(); FileChannel channel = FileChannel.open(file)) {
            MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, KIBIBYTES << 10, arena);
            assertFalse(told(mapped.address(), "VmFlags:").contains(" hg"));
            FirstTouch.inLargePages(advice, mapped);
            assertTrue(told(mapped.address(), "VmFlags:").contains(" hg"));
        }
    }

    @Test
    void addressesThatAreNotMappedAreRefused() {
        MemorySegment advice = advice();
        assertFalse(FirstTouch.populate(advice, 1L << 40, 1 << 20));
    }
}

package stormsight.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import stormsight.backend.NativeCall;
import stormsight.program.DType;
import stormsight.program.Shape;

/** Weights that the system copies are those that are in the file. */
class FirstReadTest {
    private static final Shape SHAPE = Shape.of(37, 4192);
    private static final int FIRST = 5;
    private static final int COUNT = 17;

    @TempDir
    private Path folder;

    @BeforeEach
    void needsLinux() {
        assumeTrue(NativeCall.possible(), "not Linux on x86-64");
    }

    /** Maps a file of random bytes, one byte further than aligned. */
    private MemorySegment mapped(FileChannel file, DType dtype, Arena arena) throws IOException {
        byte[] bytes = new byte[(int) dtype.bytes(SHAPE) + 1];
        new SplittableRandom(5).nextBytes(bytes);
        file.write(ByteBuffer.wrap(bytes));
        return file.map(FileChannel.MapMode.READ_ONLY, 0, bytes.length, arena).asSlice(1);
    }

    private FileChannel file() throws IOException {
        return FileChannel.open(folder.resolve("weights"), StandardOpenOption.CREATE, StandardOpenOption.READ,
                StandardOpenOption.WRITE);
    }

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"BF16", "Q8", "Q4"})
    void rowsAreThoseThatTheProcessorReads(DType dtype) throws IOException {
        try (Arena arena = Arena.ofShared(); FileChannel file = file()) {
            Weight w = Weight.of(dtype, SHAPE, mapped(file, dtype, arena).address());
            MemorySegment expected = arena.allocate(2L * COUNT * SHAPE.columns(), 64);
            MemorySegment actual = arena.allocate(expected.byteSize(), 64);
            NarrowWeights.rows(w, FIRST, COUNT, expected.address());
            MemorySegment raw = arena.allocate(FirstRead.bytes(w, COUNT) + 1, 64);
            FirstRead read = new FirstRead(arena, 2);
            // Each way, and then the faster one.
            for (int i = 0; i < 40; i++) {
                actual.fill((byte) 0);
                read.rows(1, w, FIRST, COUNT, actual.address(), raw.address());
                assertEquals(-1, expected.mismatch(actual));
            }
        }
    }

    /** The system tells how much it could copy; what is left is read as if it had not been asked. */
    @Test
    void aFileThatIsCutShortIsAnError() throws IOException {
        try (Arena arena = Arena.ofShared(); FileChannel file = file()) {
            Weight w = Weight.of(DType.BF16, SHAPE, mapped(file, DType.BF16, arena).address());
            MemorySegment to = arena.allocate(2L * SHAPE.elements(), 64);
            FirstRead read = new FirstRead(arena, 1);
            file.truncate(8192);
            assertThrows(InternalError.class,
                    () -> read.rows(0, w, 0, Math.toIntExact(SHAPE.rows()), to.address(), 0));
        }
    }

    @Test
    void whatTheSystemRefusesIsReadByTheProcessor() {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment from = arena.allocate(100);
            from.fill((byte) 3);
            for (long process : new long[] {-1, ProcessHandle.current().pid()}) {
                MemorySegment to = arena.allocate(100);
                new FirstRead(arena, 1, process).copyBySystem(0, from.address(), to.address(), 100);
                assertEquals(-1, from.mismatch(to));
            }
        }
    }
}

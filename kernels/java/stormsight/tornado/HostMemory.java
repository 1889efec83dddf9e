package stormsight.tornado;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import stormsight.backend.BackendException;

/**
 * Zeroed memory of the C library. An arena's own memory is touched when it is allocated; this takes pages only where
 * something is written, so the host's side of a buffer that lives on the device costs nothing.
 */
final class HostMemory {
    private static final Linker LINKER = Linker.nativeLinker();
    private static final MethodHandle CALLOC = LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow("calloc"),
            FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
    private static final MethodHandle FREE = LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow("free"),
            FunctionDescriptor.ofVoid(ValueLayout.ADDRESS));

    private HostMemory() {}

    /** Memory that is freed when the arena is closed. */
    static MemorySegment allocate(Arena arena, long bytes) {
        MemorySegment start = call(bytes);
        if (start.address() == 0) {
            throw new BackendException("the host has no " + bytes + " bytes left for a buffer");
        }
        return start.reinterpret(bytes, arena, HostMemory::free);
    }

    private static MemorySegment call(long bytes) {
        try {
            return (MemorySegment) CALLOC.invokeExact(1L, bytes);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException("calloc declares no exception", e);
        }
    }

    private static void free(MemorySegment segment) {
        try {
            FREE.invokeExact(segment);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException("free declares no exception", e);
        }
    }
}

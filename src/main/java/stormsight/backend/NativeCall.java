package stormsight.backend;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Calls of C functions on Linux and x86-64, all by one handle: one for each type of function would take a new process a
 * tenth of a second to link. What is called may take up to eight integers and pointers, and two floats, in any order.
 * There floats have registers of their own, a function leaves alone what is passed behind its own arguments, and an
 * {@code int} is the lower half of what is passed or returned.
 *
 * @see <a href="https://gitlab.com/x86-psABIs/x86-64-ABI">System V ABI, 3.2.3 Parameter Passing</a>
 */
public final class NativeCall {
    private static final MethodHandle HANDLE = Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(JAVA_LONG,
            JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
            JAVA_FLOAT, JAVA_FLOAT));

    private NativeCall() {}

    /** Whether this is such a system. */
    public static boolean possible() {
        return System.getProperty("os.name").equals("Linux") && System.getProperty("os.arch").equals("amd64");
    }

    /**
     * Calls a function. The other calls leave out what it does not take.
     *
     * @param s with {@code t} the floats that it takes, in their order
     * @return what the function does; the lower half of it where that is an {@code int}
     */
    public static long call(MemorySegment function, long a, long b, long c, long d, long e, long f, long g, long h,
            float s, float t) {
        try {
            return (long) HANDLE.invokeExact(function, a, b, c, d, e, f, g, h, s, t);
        } catch (Throwable thrown) {
            // The handle throws nothing that the function behind it does not, and that is in C.
            throw new IllegalStateException("a native function was called wrongly", thrown);
        }
    }

    public static long call(MemorySegment function, long a, long b, long c, long d, long e, long f, long g, long h) {
        return call(function, a, b, c, d, e, f, g, h, 0, 0);
    }

    public static long call(MemorySegment function, long a, long b, long c, long d) {
        return call(function, a, b, c, d, 0, 0, 0, 0, 0, 0);
    }

    public static long call(MemorySegment function, long a, long b) {
        return call(function, a, b, 0, 0, 0, 0, 0, 0, 0, 0);
    }

    public static long call(MemorySegment function, long a) {
        return call(function, a, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    }
}

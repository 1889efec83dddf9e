package stormsight.backend.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Native memory by absolute address. One constant segment spans all of it, so that mapped files and allocated memory
 * look alike to the compiler and no access checks a scope; in return every address must have been checked when a
 * program was prepared.
 */
final class Memory {
    static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    /**
     * All addresses are below. {@code address & ADDRESSES} is the address itself, and tells the compiler that what lies
     * there and shortly after it is within {@link #ALL}: inner loops need no check for each access then.
     */
    static final long ADDRESSES = Long.MAX_VALUE >>> 1;

    /**
     * {@code ALL.get(FAULT, w);} must stand in every method that reads weights by vectors alone. A file may be cut
     * short while it is mapped; the JVM makes an error of that, and not the end of the process, in compiled methods
     * that hold a plain access, such as those that read scales in their loops. Outside of a loop it has to be one of a
     * byte, and no call of a method here: what runs rarely and is not that simple may be compiled apart from the method
     * that it stands in.
     */
    static final ValueLayout.OfByte FAULT = ValueLayout.JAVA_BYTE;

    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble F64 =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private Memory() {}

    static float f32(long address) {
        return ALL.get(F32, address);
    }

    static void f32(long address, float value) {
        ALL.set(F32, address, value);
    }

    static double f64(long address) {
        return ALL.get(F64, address);
    }

    static void f64(long address, double value) {
        ALL.set(F64, address, value);
    }

    static int i32(long address) {
        return ALL.get(I32, address);
    }

    static void i32(long address, int value) {
        ALL.set(I32, address, value);
    }

    static long i64(long address) {
        return ALL.get(I64, address);
    }

    static short i16(long address) {
        return ALL.get(I16, address);
    }

    static void i16(long address, short value) {
        ALL.set(I16, address, value);
    }

    static byte i8(long address) {
        return ALL.get(ValueLayout.JAVA_BYTE, address);
    }

    static void copy(long from, long to, long bytes) {
        MemorySegment.copy(ALL, from, ALL, to, bytes);
    }

    /**
     * To an array. A loop over arrays is many times as fast as one over addresses until the JVM has compiled it, and
     * compiled in less time.
     */
    static void copy(long from, float[] to, int at, int count) {
        MemorySegment.copy(ALL, F32, from, to, at, count);
    }

    static void copy(float[] from, int count, long to) {
        MemorySegment.copy(from, 0, ALL, F32, to, count);
    }

    static void copy(long from, byte[] to, int count) {
        MemorySegment.copy(ALL, ValueLayout.JAVA_BYTE, from, to, 0, count);
    }

    static void zero(long address, long bytes) {
        fill(address, bytes, (byte) 0);
    }

    static void fill(long address, long bytes, byte value) {
        ALL.asSlice(address, bytes).fill(value);
    }
}

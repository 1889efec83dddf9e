package stormsight.checkpoint;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;
import stormsight.program.DType;
import stormsight.program.Shape;

/**
 * Element type of a tensor in a safetensors file, under its name there.
 *
 * @see <a href="https://github.com/huggingface/safetensors">safetensors</a>
 */
public enum StoredType {
    BOOL(8),
    F4(4),
    F6_E2M3(6),
    F6_E3M2(6),
    U8(8),
    I8(8),
    F8_E5M2(8),
    F8_E4M3(8),
    F8_E8M0(8),
    F8_E4M3FNUZ(8),
    F8_E5M2FNUZ(8),
    I16(16),
    U16(16),
    F16(16),
    BF16(16),
    I32(32),
    U32(32),
    F32(32),
    C64(64),
    F64(64),
    I64(64),
    U64(64);

    private static final Map<String, StoredType> BY_NAME =
            Arrays.stream(values()).collect(Collectors.toUnmodifiableMap(StoredType::name, Function.identity()));

    private final int bits;

    StoredType(int bits) {
        this.bits = bits;
    }

    /** Bits of one element. */
    public int bits() {
        return bits;
    }

    /**
     * Bytes of a whole tensor.
     *
     * @throws ArithmeticException if they overflow a long or are not a whole number
     */
    public long bytes(Shape shape) {
        long total = Math.multiplyExact(shape.elements(), bits);
        if (total % 8 != 0) {
            throw new ArithmeticException(total + " bits are not a whole number of bytes");
        }
        return total / 8;
    }

    /** The type of that name in a header. */
    public static Optional<StoredType> named(String name) {
        return Optional.ofNullable(BY_NAME.get(name));
    }

    /** How a tensor of that type is stored. */
    public static StoredType of(DType dtype) {
        return named(dtype.name())
                .orElseThrow(() -> new IllegalArgumentException(dtype + " is stored as two tensors"));
    }

    /**
     * The type that a weight of this stored type has in a program: F32, F16 and BF16 are used as they are stored, F64
     * is rounded to F32, no other is used.
     */
    public Optional<DType> weightType() {
        return this == F64
                ? Optional.of(DType.F32)
                : Arrays.stream(DType.values())
                        .filter(type -> type.isWeight() && type.name().equals(name()))
                        .findFirst();
    }
}

package stormsight.checkpoint;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import stormsight.program.DType;

/**
 * Element type of a tensor in a GGUF file, under its name in llama.cpp. Quantized ones are stored as blocks of a row,
 * in which the scale stands beside the integers that it belongs to.
 *
 * @see <a href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md">GGUF</a>
 */
enum GgufType {
    F32(0, StoredType.F32),
    F16(1, StoredType.F16),
    /** 32 weights: a scale in F16, and 16 bytes of two levels plus 8, weight i in the lower half of byte i. */
    Q4_0(2, 32, 18, DType.Q4),
    /** 32 weights: a scale in F16, and 32 levels. */
    Q8_0(8, 32, 34, DType.Q8),
    /** 256 weights: scale and minimum in F16, of each 32 six bits of scale and of minimum, and levels of four bits. */
    Q4_K(12, 256, 144, DType.Q8),
    /** 256 weights: lower four bits of levels plus 32, upper two bits, of each 16 a scale of 8 bits, and one in F16. */
    Q6_K(14, 256, 210, DType.Q8),
    F64(28, StoredType.F64),
    BF16(30, StoredType.BF16);

    /** Types that are not read. */
    private static final Map<Integer, String> OTHER_TYPES = Map.ofEntries(
            Map.entry(3, "Q4_1"),
            Map.entry(6, "Q5_0"),
            Map.entry(7, "Q5_1"),
            Map.entry(10, "Q2_K"),
            Map.entry(11, "Q3_K"),
            Map.entry(13, "Q5_K"),
            Map.entry(16, "IQ2_XXS"),
            Map.entry(17, "IQ2_XS"),
            Map.entry(18, "IQ3_XXS"),
            Map.entry(19, "IQ1_S"),
            Map.entry(20, "IQ4_NL"),
            Map.entry(21, "IQ3_S"),
            Map.entry(22, "IQ2_S"),
            Map.entry(23, "IQ4_XS"));

    private final int id;
    private final int block;
    private final int blockBytes;
    private final Optional<StoredType> plain;
    private final DType becomes;

    GgufType(int id, StoredType plain) {
        this(id, 1, plain.bits() / Byte.SIZE, Optional.of(plain), null);
    }

    GgufType(int id, int block, int blockBytes, DType becomes) {
        this(id, block, blockBytes, Optional.empty(), becomes);
    }

    GgufType(int id, int block, int blockBytes, Optional<StoredType> plain, DType becomes) {
        this.id = id;
        this.block = block;
        this.blockBytes = blockBytes;
        this.plain = plain;
        this.becomes = becomes;
    }

    /** The type of that number in a file; empty if it is one that is not read. */
    static Optional<GgufType> of(int id) {
        return Arrays.stream(values()).filter(type -> type.id == id).findFirst();
    }

    /** What a type that is not read is called. */
    static String name(int id) {
        return OTHER_TYPES.getOrDefault(id, "number " + Integer.toUnsignedString(id));
    }

    /** Weights of a block, of which a row has a whole number; 1 where there are no blocks. */
    int block() {
        return block;
    }

    /** Bytes of a block. */
    int blockBytes() {
        return blockBytes;
    }

    /** The type under which weights are used in place; empty where they have to be taken apart. */
    Optional<StoredType> plain() {
        return plain;
    }

    /** The blocked type that weights get which cannot be used in place. */
    DType becomes() {
        return becomes;
    }
}

package stormsight.backend;

/** How precise products are, and attention where it runs on the same units. */
public enum Precision {
    /** 32 bits even where the device has faster units for 16: tensor cores, AVX-512 BF16, AMX. */
    STRICT,
    /**
     * The fastest that a backend takes by itself: on a processor activations are rounded to bfloat16 where it has units
     * for that; for tensor cores they are sums of two such numbers.
     */
    FAST,
    /** Activations are rounded to bfloat16 for tensor cores, too; only for devices that have them. */
    BF16
}

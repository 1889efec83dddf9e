package stormsight.tokenizer;

/** Watches whether bytes that come one by one make characters of UTF-8. */
final class Utf8 {
    /** Continuation bytes that the current character still needs. */
    private int missing;

    /**
     * Range of the next continuation byte: narrower after some first bytes, which excludes overlong forms and
     * surrogates.
     */
    private int low;

    private int high;

    /**
     * Takes the next byte.
     *
     * @return whether it can follow those before it; if not, the next byte begins anew
     */
    boolean push(int value) {
        boolean possible;
        if (missing > 0) {
            possible = value >= low && value <= high;
            missing--;
            low = 0x80;
            high = 0xbf;
        } else if (value < 0x80) {
            possible = true;
        } else {
            possible = value >= 0xc2 && value <= 0xf4;
            missing = value < 0xe0 ? 1 : value < 0xf0 ? 2 : 3;
            low = value == 0xe0 ? 0xa0 : value == 0xf0 ? 0x90 : 0x80;
            high = value == 0xed ? 0x9f : value == 0xf4 ? 0x8f : 0xbf;
        }
        missing = possible ? missing : 0;
        return possible;
    }

    /** Whether no character is begun. */
    boolean complete() {
        return missing == 0;
    }

    void reset() {
        missing = 0;
    }
}

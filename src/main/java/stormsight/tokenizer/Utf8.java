package stormsight.tokenizer;

/** Watches whether bytes that come one by one can still become valid UTF-8. */
final class Utf8 {
    private boolean possible = true;

    /** Continuation bytes that the current character still needs. */
    private int missing;

    /** Range of the next continuation byte: narrower after some first bytes, which excludes overlong forms and surrogates. */
    private int low;

    private int high;

    boolean possible() {
        return possible;
    }

    void push(int value) {
        if (missing > 0) {
            possible &= value >= low && value <= high;
            missing--;
            low = 0x80;
            high = 0xbf;
        } else if (value >= 0x80) {
            possible &= value >= 0xc2 && value <= 0xf4;
            missing = value < 0xe0 ? 1 : value < 0xf0 ? 2 : 3;
            low = value == 0xe0 ? 0xa0 : value == 0xf0 ? 0x90 : 0x80;
            high = value == 0xed ? 0x9f : value == 0xf4 ? 0x8f : 0xbf;
        }
    }

    void reset() {
        possible = true;
        missing = 0;
    }
}

package stormsight.bench;

/**
 * What is timed.
 *
 * @param promptTokens rows of the prefill, image tokens included; 0 where there is none
 * @param newTokens tokens that are decoded; 0 where there are none
 * @param depth tokens in the cache before the first one that is decoded
 * @param sequences each with a prompt of so many tokens of its own, or with so many decoded; decoded together
 */
public record Trial(Part part, int promptTokens, int newTokens, int depth, int sequences) {
    /** Parts of an answer or of an embedding. */
    public enum Part {
        /** From the bytes of the image file in memory to pixels. */
        IMAGE_DECODE("image decode"),
        /** From pixels to the patches that the vision tower takes. */
        RESIZE("resize"),
        /** From patches in host memory to image features, the projector included. */
        ENCODE("encode"),
        /** The projector alone: its product is a part of encode's. */
        PROJECTOR("projector"),
        /** From a prompt's ids in host memory to the id of the first token. */
        PREFILL("pp"),
        /** Tokens one by one, each read by the host before the next is fed. */
        DECODE("tg"),
        /** A prefill and the tokens after it. */
        PREFILL_AND_DECODE("pp+tg"),
        /** From the bytes of the image file and a text to the id of the first token: all of the above. */
        FIRST_TOKEN("first token"),
        /** From patches in host memory to an embedding, or the scores of labels, in host memory. */
        IMAGE("image"),
        /** From a text to its embedding in host memory. */
        TEXT("text"),
        /** From a text, and an image that was encoded before, to whether they belong together. */
        PAIR("pair"),
        /** From the bytes of the image file to what {@link #IMAGE} makes: file, resize and tower. */
        IMAGE_FILE("image file");

        private final String text;

        Part(String text) {
            this.text = text;
        }

        /** Whether it is of a model that answers, and ends in a token. */
        boolean answers() {
            return switch (this) {
                case PREFILL, DECODE, PREFILL_AND_DECODE, FIRST_TOKEN -> true;
                default -> false;
            };
        }
    }

    public Trial {
        if (promptTokens < 0 || newTokens < 0 || depth < 0 || sequences < 1) {
            throw new IllegalArgumentException(promptTokens + " prompt tokens, " + newTokens + " new tokens, depth "
                    + depth + ", " + sequences + " sequences");
        }
    }

    static Trial of(Part part) {
        return new Trial(part, 0, 0, 0, 1);
    }

    public static Trial prefill(int promptTokens) {
        return new Trial(Part.PREFILL, promptTokens, 0, 0, 1);
    }

    public static Trial decode(int newTokens, int depth) {
        return new Trial(Part.DECODE, 0, newTokens, depth, 1);
    }

    public static Trial prefillAndDecode(int promptTokens, int newTokens) {
        return new Trial(Part.PREFILL_AND_DECODE, promptTokens, newTokens, promptTokens, 1);
    }

    /** The same with several sequences in one run. */
    public Trial withSequences(int count) {
        return new Trial(part, promptTokens, newTokens, depth, count);
    }

    /**
     * As tables show it: {@code pp272}, {@code tg32@272}, {@code pp272+tg32}, {@code encode}, and {@code tg32@272 x8}
     * with 8 sequences.
     */
    public String name() {
        String one = switch (part) {
            case PREFILL -> "pp" + promptTokens;
            case DECODE -> "tg" + newTokens + "@" + depth;
            case PREFILL_AND_DECODE -> "pp" + promptTokens + "+tg" + newTokens;
            default -> part.text;
        };
        return sequences == 1 ? one : one + " x" + sequences;
    }

    /** What a rate counts: tokens of all sequences, or the image or text that is encoded; 0 where there is no rate. */
    public int counted() {
        return switch (part) {
            case IMAGE, TEXT, PAIR, IMAGE_FILE -> 1;
            default -> sequences * (promptTokens + newTokens);
        };
    }

    /** Of a rate. */
    String rateUnit() {
        return switch (part) {
            case IMAGE, IMAGE_FILE -> "image/s";
            case TEXT -> "text/s";
            case PAIR -> "pair/s";
            default -> "tok/s";
        };
    }

    /** Positions in the cache that each of its sequences needs. */
    int positions() {
        return Math.max(promptTokens, depth) + newTokens;
    }
}

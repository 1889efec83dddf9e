package stormsight.tokenizer;

import java.util.Arrays;
import stormsight.checkpoint.CheckpointException;

/**
 * The tokens before PaliGemma's answer: the image, {@code <bos>}, the text, a newline.
 *
 * <p>The text is tokenised by itself and the newline is a token of its own, as in big_vision; transformers tokenises the joined
 * string, where a newline at the end of the text would merge with the one that follows it. Newlines at the end of the text are
 * therefore dropped; elsewhere they stay.
 *
 * <p>{@code <image>} in the text is refused. (transformers replaces each by the tokens of an image and puts {@code <bos>} after
 * the last of them.) All other tokens that the tokenizer adds are taken where the text spells them, as transformers does:
 * {@code <loc0001>} and {@code <seg001>} to ask about places, but {@code <bos>} and {@code <eos>} too, which then stand in the
 * middle of the prompt and do not end it.
 */
public final class PaliGemmaPrompt {
    private static final String IMAGE = "<image>";

    private final int imageTokens;
    private final int image;
    private final int[] text;

    /**
     * @param imageTokens how many tokens an image takes, 0 for none
     * @throws IllegalArgumentException if the text holds {@code <image>}
     * @throws CheckpointException if the tokenizer has no {@code <bos>}, newline or {@code <image>}
     */
    public PaliGemmaPrompt(Tokenizer tokenizer, int imageTokens, String text) {
        if (imageTokens < 0) {
            throw new IllegalArgumentException(imageTokens + " image tokens");
        }
        check(text);
        this.imageTokens = imageTokens;
        this.image = tokenizer.require(IMAGE);
        int[] middle = tokenizer.encode(text.replaceFirst("[\r\n]+\\z", ""));
        this.text = new int[middle.length + 2];
        this.text[0] = tokenizer.require("<bos>");
        System.arraycopy(middle, 0, this.text, 1, middle.length);
        this.text[middle.length + 1] = tokenizer.require("\n");
    }

    /** @throws IllegalArgumentException if the text cannot be a prompt: it holds {@code <image>} */
    public static void check(String text) {
        if (text.contains(IMAGE)) {
            throw new IllegalArgumentException("the prompt holds " + IMAGE + ": the image is placed before the text by itself");
        }
    }

    /** Tokens of the prompt, all of which see each other. */
    public int length() {
        return imageTokens + text.length;
    }

    /** Tokens of the image, which come first. */
    public int imageTokens() {
        return imageTokens;
    }

    /** The ids that {@link stormsight.program.Op.Embed} takes: row n of the image is {@code -1 - n}. */
    public int[] ids() {
        int[] ids = new int[length()];
        for (int n = 0; n < imageTokens; n++) {
            ids[n] = -1 - n;
        }
        System.arraycopy(text, 0, ids, imageTokens, text.length);
        return ids;
    }

    /** The ids with {@code <image>} in each place of the image, as transformers has its input_ids. */
    public int[] plainIds() {
        int[] ids = new int[length()];
        Arrays.fill(ids, 0, imageTokens, image);
        System.arraycopy(text, 0, ids, imageTokens, text.length);
        return ids;
    }
}

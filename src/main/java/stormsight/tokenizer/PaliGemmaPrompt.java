package stormsight.tokenizer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
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
    private final String spelled;
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
        spelled = text.replaceFirst("[\r\n]+\\z", "");
        int[] middle = tokenizer.encode(spelled);
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

    /**
     * Places in the prompt of the tokens that spell a part of its text, where the part occurs last. A token that spells more than the part, the space before
     * it say, counts.
     *
     * @throws IllegalArgumentException if the part is empty or the text does not hold it
     */
    public List<Integer> tokensOf(Tokenizer tokenizer, String part) {
        int at = spelled.lastIndexOf(part);
        if (part.isEmpty() || at < 0) {
            throw new IllegalArgumentException("the prompt \"" + spelled + "\" does not hold \"" + part + "\"");
        }
        int from = spelled.codePointCount(0, at);
        int to = from + part.codePointCount(0, part.length());
        List<Integer> tokens = new ArrayList<>();
        List<Tokenizer.Piece> pieces = tokenizer.pieces(spelled);
        for (int i = 0; i < pieces.size(); i++) {
            if (pieces.get(i).from() < to && pieces.get(i).to() > from) {
                tokens.add(imageTokens + 1 + i);
            }
        }
        return tokens;
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

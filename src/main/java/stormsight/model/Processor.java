package stormsight.model;

import java.util.List;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.tokenizer.Tokenizer;

/**
 * What a family does to images and texts before its programs see them. Nobody else knows sizes of images and patches,
 * templates or special tokens. Safe for use by several threads.
 */
public interface Processor {
    /** Cuts an image into what the vision tower takes. Needs no tokenizer. */
    Views views(RgbImage image);

    /** Most views of one image. */
    int mostViews();

    /** Most places that one image takes in a prompt. */
    int imageTokens();

    /** Limits of prompts of up to so many places about one image. */
    default Limits limits(int promptTokens, int newTokens) {
        return new Limits(promptTokens, newTokens, mostViews());
    }

    /**
     * Looks at a text before anything is computed: whether it names as many images as there are, say. Needs no
     * tokenizer.
     *
     * @throws IllegalArgumentException if the text cannot be a prompt about so many images
     */
    void check(String text, int images);

    /**
     * The most places that a text can take, those around it counted, images not. Needs no tokenizer: no token of
     * Gemma's, Llama's or OPT's stands for less than a byte of the text, in which a space may become the three bytes of
     * U+2581.
     */
    int textTokensAtMost(String text);

    /**
     * A prompt about images, with everything around the text that the family's models were trained with. Waits for the
     * tokenizer. Where the text spells the family's image token, an image stands there: {@code PromptWriter.text} sees
     * to it. It must not stay in the prompt as a word.
     *
     * @param images in the order in which they are encoded
     * @throws IllegalArgumentException as {@link #check}, or if the text wants another number of images
     */
    Prompt prompt(String text, List<Views> images);

    /**
     * The same without a chat template: texts stand as they are, and the family's own token says where images are.
     * Itself where a family has no chat template.
     */
    default Processor raw() {
        return this;
    }

    /** Whether models write a caption where the text is empty. */
    default boolean captions() {
        return false;
    }

    /** A prompt that asks a question for a short answer, as the family's models were trained to. */
    String questionPrompt(String question);

    /** Of a resize, as the model's files or the user say. */
    Resampling resampling();

    /** The tokenizer, read or not. */
    LazyTokenizer lazyTokenizer();

    /** Whether there is a tokenizer that could be read. */
    default boolean hasTokenizer() {
        return lazyTokenizer().present();
    }

    /** @throws stormsight.checkpoint.CheckpointException if a file that is read later is not there */
    default void requireFiles() {
        lazyTokenizer().requirePresent();
    }

    /** Begins to read the tokenizer beside everything else, for it takes long; others wait for it when they need it. */
    default void readTokenizer() {
        lazyTokenizer().read();
    }

    /** @throws stormsight.checkpoint.CheckpointException if the tokenizer is broken or does not belong to the model */
    default Tokenizer tokenizer() {
        return lazyTokenizer().get();
    }
}

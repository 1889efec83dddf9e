package stormsight.model.blip2;

import java.nio.charset.StandardCharsets;
import java.util.List;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.LazyTokenizer;
import stormsight.model.Processor;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.model.nn.PromptWriter;
import stormsight.tokenizer.Tokenizer;

/**
 * What stands before BLIP-2's answer: a row for each query, {@code </s>}, the text as it is. Without a text the answer
 * is a caption; a text is gone on with; {@code Question: .. Answer:} is how the models were asked in training.
 *
 * <p>Early revisions have no {@code <image>} in their tokenizer; their prompts are the same.
 */
final class Blip2Processor implements Processor {
    static final String IMAGE = "<image>";

    private final Blip2Images images;
    private final LazyTokenizer tokenizer;

    Blip2Processor(Blip2Images images, LazyTokenizer tokenizer) {
        this.images = images;
        this.tokenizer = tokenizer;
    }

    @Override
    public Views views(RgbImage image) {
        return images.views(image);
    }

    @Override
    public int mostViews() {
        return 1;
    }

    @Override
    public int imageTokens() {
        return images.queries();
    }

    @Override
    public void check(String text, int images) {
        if (text.contains(IMAGE)) {
            throw new IllegalArgumentException(
                    "the prompt holds " + IMAGE + ": the image is placed before the text by itself");
        }
        if (images != 1) {
            throw new IllegalArgumentException("a prompt of BLIP-2 is about one image, not " + images);
        }
    }

    /** No token stands for less than a byte of the text; {@code </s>} stands before it. */
    @Override
    public int textTokensAtMost(String text) {
        return text.getBytes(StandardCharsets.UTF_8).length + 1;
    }

    @Override
    public Prompt prompt(String text, List<Views> about) {
        check(text, about.size());
        Tokenizer words = tokenizer.get();
        PromptWriter writer = new PromptWriter(text);
        writer.image(about.getFirst());
        writer.ids(words.encodeWithSpecials(""));
        writer.text(words.pieces(text));
        return writer.prompt(false);
    }

    @Override
    public boolean captions() {
        return true;
    }

    @Override
    public String questionPrompt(String question) {
        return "Question: " + question + " Answer:";
    }

    @Override
    public Resampling resampling() {
        return images.resampling();
    }

    @Override
    public LazyTokenizer lazyTokenizer() {
        return tokenizer;
    }
}

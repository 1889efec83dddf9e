package stormsight.model.paligemma;

import java.nio.charset.StandardCharsets;
import java.util.List;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.LazyTokenizer;
import stormsight.model.Processor;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.model.nn.PromptWriter;
import stormsight.model.nn.VisionTower;
import stormsight.tokenizer.Tokenizer;

/**
 * What stands before PaliGemma's answer: the image, {@code <bos>}, the text, a newline.
 *
 * <p>The text is tokenised by itself and the newline is a token of its own, as in big_vision; transformers tokenises
 * the joined string, where a newline at the end of the text would merge with the one that follows it. Newlines at the
 * end of the text are therefore dropped; elsewhere they stay.
 *
 * <p>Where the text holds {@code <image>}, images stand there, in order, and {@code <bos>} stands after the last of
 * them, as transformers has it: text between images comes before {@code <bos>}. All other tokens that the tokenizer
 * adds are taken where the text spells them, as transformers does: {@code <loc0001>} and {@code <seg001>} to ask about
 * places, but {@code <bos>} and {@code <eos>} too, which then stand in the middle of the prompt and do not end it.
 */
final class PaliGemmaProcessor implements Processor {
    static final String IMAGE = "<image>";

    /** {@code <bos>} and the newline. */
    private static final int AROUND = 2;

    private final VisionTower.Config vision;
    private final Preprocessing preprocessing;
    private final LazyTokenizer tokenizer;

    PaliGemmaProcessor(VisionTower.Config vision, Preprocessing preprocessing, LazyTokenizer tokenizer) {
        this.vision = vision;
        this.preprocessing = preprocessing;
        this.tokenizer = tokenizer;
    }

    @Override
    public Views views(RgbImage image) {
        return Views.single(preprocessing.resize(image), preprocessing.patches(),
                new Views.Layout(vision.patchSize(), vision.firstPatch(), vision.rows()), preprocessing.area(image));
    }

    @Override
    public int mostViews() {
        return 1;
    }

    @Override
    public int imageTokens() {
        return vision.patches();
    }

    @Override
    public void check(String text, int images) {
        if (text.contains(IMAGE)) {
            PromptWriter.requireImages(PromptWriter.count(text, IMAGE), IMAGE, images);
        }
    }

    /** No token stands for less than a byte of the text, in which spaces become U+2581. */
    @Override
    public int textTokensAtMost(String text) {
        return text.replace(' ', '\u2581').getBytes(StandardCharsets.UTF_8).length + AROUND;
    }

    @Override
    public Prompt prompt(String text, List<Views> images) {
        check(text, images.size());
        Tokenizer words = tokenizer.get();
        String spelled = text.replaceFirst("[\r\n]+\\z", "");
        int begin = words.require("<bos>");
        PromptWriter writer = new PromptWriter(spelled);
        List<Tokenizer.Piece> pieces = words.pieces(spelled);
        if (spelled.contains(IMAGE)) {
            writer.text(pieces, images, IMAGE, words.require(IMAGE), begin);
        } else {
            images.forEach(writer::image);
            writer.ids(begin);
            writer.text(pieces);
        }
        writer.ids(words.require("\n"));
        return writer.prompt(true);
    }

    @Override
    public String questionPrompt(String question) {
        return "answer en " + question;
    }

    @Override
    public Resampling resampling() {
        return preprocessing.resampling();
    }

    @Override
    public LazyTokenizer lazyTokenizer() {
        return tokenizer;
    }
}

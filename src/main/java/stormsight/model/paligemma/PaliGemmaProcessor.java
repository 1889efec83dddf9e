package stormsight.model.paligemma;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.LazyTokenizer;
import stormsight.model.Processor;
import stormsight.model.Prompt;
import stormsight.model.Span;
import stormsight.model.Views;
import stormsight.model.nn.VisionTower;
import stormsight.tokenizer.Tokenizer;

/**
 * What stands before PaliGemma's answer: the image, {@code <bos>}, the text, a newline.
 *
 * <p>The text is tokenised by itself and the newline is a token of its own, as in big_vision; transformers tokenises
 * the joined string, where a newline at the end of the text would merge with the one that follows it. Newlines at the
 * end of the text are therefore dropped; elsewhere they stay.
 *
 * <p>{@code <image>} in the text is refused. (transformers replaces each by the tokens of an image and puts {@code
 * <bos>} after the last of them.) All other tokens that the tokenizer adds are taken where the text spells them, as
 * transformers does: {@code <loc0001>} and {@code <seg001>} to ask about places, but {@code <bos>} and {@code <eos>}
 * too, which then stand in the middle of the prompt and do not end it.
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
    public void check(String text) {
        if (text.contains(IMAGE)) {
            throw new IllegalArgumentException(
                    "the prompt holds " + IMAGE + ": the image is placed before the text by itself");
        }
    }

    /** No token stands for less than a byte of the text, in which spaces become U+2581. */
    @Override
    public int textTokensAtMost(String text) {
        return text.replace(' ', '\u2581').getBytes(StandardCharsets.UTF_8).length + AROUND;
    }

    @Override
    public Prompt prompt(String text, List<Views> images) {
        check(text);
        Tokenizer words = tokenizer.get();
        List<Span> spans = new ArrayList<>();
        IntStream before = IntStream.empty();
        int place = 0;
        int row = 0;
        for (int i = 0; i < images.size(); i++) {
            before = IntStream.concat(before, Arrays.stream(images.get(i).ids(row)));
            spans.addAll(images.get(i).spans(i, place));
            place += images.get(i).length();
            row += images.get(i).featureRows();
        }
        String spelled = text.replaceFirst("[\r\n]+\\z", "");
        List<Tokenizer.Piece> pieces = words.pieces(spelled);
        spans.add(new Span.Text(place + 1, spelled, pieces));
        IntStream after = IntStream.concat(
                IntStream.concat(
                        IntStream.of(words.require("<bos>")), pieces.stream().mapToInt(Tokenizer.Piece::id)),
                IntStream.of(words.require("\n")));
        int[] ids = IntStream.concat(before, after).toArray();
        return new Prompt(ids, spans, ids.length);
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
    public boolean hasTokenizer() {
        return tokenizer.present();
    }

    @Override
    public void requireFiles() {
        tokenizer.requirePresent();
    }

    @Override
    public void readTokenizer() {
        tokenizer.read();
    }

    @Override
    public Tokenizer tokenizer() {
        return tokenizer.get();
    }
}

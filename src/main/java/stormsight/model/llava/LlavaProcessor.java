package stormsight.model.llava;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
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
 * Images and prompts of LLaVA-1.5 and LLaVA-NeXT. A text is put into the checkpoint's chat template, its images in
 * front; where a text holds {@code <image>} itself, images stand there. The whole is tokenised at once, {@code <s>} in
 * front, and each {@code <image>} becomes the rows of an image.
 */
final class LlavaProcessor implements Processor {
    static final String IMAGE = "<image>";

    /** As the attention-knockout paper and LLaVA's own evaluations ask. */
    private static final String SHORT_ANSWER = "\nAnswer the question using a single word or phrase.";

    private final VisionTower.Config vision;
    private final Optional<AnyResolution> tiles;
    private final Preprocessing preprocessing;
    private final Template template;
    private final LazyTokenizer tokenizer;

    LlavaProcessor(LlavaConfig config, Preprocessing preprocessing, Template template, LazyTokenizer tokenizer) {
        this(config.vision(), config.tiles(), preprocessing, template, tokenizer);
    }

    private LlavaProcessor(
            VisionTower.Config vision,
            Optional<AnyResolution> tiles,
            Preprocessing preprocessing,
            Template template,
            LazyTokenizer tokenizer) {
        this.vision = vision;
        this.tiles = tiles;
        this.preprocessing = preprocessing;
        this.template = template;
        this.tokenizer = tokenizer;
    }

    @Override
    public Views views(RgbImage image) {
        Views.Layout layout = new Views.Layout(vision.patchSize(), vision.firstPatch(), vision.rows());
        if (tiles.isPresent()) {
            return tiles.get().views(image, preprocessing.resampling(), preprocessing.patches(), layout);
        }
        return Views.single(preprocessing.resize(image), preprocessing.patches(), layout, preprocessing.area(image));
    }

    @Override
    public int mostViews() {
        return tiles.map(AnyResolution::mostViews).orElse(1);
    }

    @Override
    public int imageTokens() {
        return tiles.map(AnyResolution::mostPlaces).orElse(vision.patches());
    }

    @Override
    public void check(String text, int images) {
        template.apply(text, 0);
        if (template != Template.NONE && text.contains(IMAGE)) {
            PromptWriter.requireImages(PromptWriter.count(text, IMAGE), IMAGE, images);
        }
        if (template == Template.NONE && !text.contains(IMAGE)) {
            throw new IllegalArgumentException("a prompt without the chat template says with " + IMAGE
                    + " where the image stands, as in \"USER: " + IMAGE + "\\nWhat is this? ASSISTANT:\"");
        }
    }

    /**
     * No token stands for less than a byte of the text, in which spaces become U+2581; one more stands before the text
     * and behind each added token, of which none is shorter than three characters.
     */
    @Override
    public int textTokensAtMost(String text) {
        String spelled = template.apply(text, 1);
        return 2 + spelled.replace(' ', '\u2581').getBytes(StandardCharsets.UTF_8).length + spelled.length() / 3;
    }

    @Override
    public Processor raw() {
        return new LlavaProcessor(vision, tiles, preprocessing, Template.NONE, tokenizer);
    }

    @Override
    public Prompt prompt(String asked, List<Views> images) {
        String text = template.apply(asked, asked.contains(IMAGE) ? 0 : images.size());
        Tokenizer words = tokenizer.get();
        PromptWriter writer = new PromptWriter(text);
        writer.ids(words.encodeWithSpecials(""));
        writer.text(words.pieces(text), images, IMAGE, words.require(IMAGE));
        return writer.prompt(false);
    }

    @Override
    public String questionPrompt(String question) {
        return question + SHORT_ANSWER;
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

package stormsight.model;

import java.util.List;
import java.util.Optional;
import stormsight.program.Tensor;
import stormsight.tokenizer.Tokenizer;

/** What puts images and texts into one space of vectors, where those that belong together lie close. */
public non-sealed interface DualEncoder extends ImageEncoder {
    /** What a model was trained to make of the logits of images and texts. */
    enum Objective {
        /** Each pair by itself: {@code 1 / (1 + exp(-logit))}. */
        SIGMOID,
        /** Which of the texts: a softmax over them. */
        SOFTMAX
    }

    /**
     * The programs of a model. A logit is {@code exp(scale) * cosine + bias}.
     *
     * @param scale weight of one number
     * @param bias weight of one number, if the model has one
     */
    record Encoders(Encoding image, Encoding text, Tensor scale, Optional<Tensor> bias) {
        List<Encoding> both() {
            return List.of(image, text);
        }
    }

    Objective objective();

    /** Numbers in an embedding. */
    int columns();

    /** What names the ids of texts. Waits for the tokenizer. */
    Tokenizer tokenizer();

    /**
     * The ids of a text as its encoder takes them: cut off, padded and with special tokens as the model was trained.
     * Waits for the tokenizer.
     *
     * @throws stormsight.checkpoint.CheckpointException if the text holds a token that has no row in the embedding
     *     table
     */
    int[] ids(String text);

    /**
     * The ids that a run needs of ids that are padded already: without those behind the one that stands for the text,
     * if none sees them.
     */
    int[] needed(int[] padded);

    /**
     * Writes the model's programs. Every weight is asked of {@code weights} where it is used, whether they hold values
     * or not.
     *
     * @param together images or texts that a run takes; an encoder may take fewer, see {@link Encoding#together}
     */
    Encoders build(Weights weights, int together);

    /** For one image or text at a time. */
    default Encoders build(Weights weights) {
        return build(weights, 1);
    }

    @Override
    default List<Encoding> encodings(Weights weights) {
        return build(weights).both();
    }
}

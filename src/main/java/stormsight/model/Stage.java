package stormsight.model;

import java.util.List;
import java.util.Optional;
import stormsight.program.Tensor;

/**
 * A place in a program that a probe can be put at.
 *
 * @param name as golden folders name it: {@code vision.layers}; those of prefill begin with {@code dec.}
 * @param title as people name it
 * @param segment name of the program's segment, or the beginning of the names of several, see {@link
 *     stormsight.program.Segment}
 * @param result tensor that shows the stage's result at the end of the segment, of each layer if it has some
 */
public record Stage(String name, String title, String segment, Tensor result) {
    /** What the vision tower's first layer reads, or its first norm. */
    public static final String VISION_EMBEDDINGS = "vision.embeddings";
    /** Each layer of the vision tower. */
    public static final String VISION_LAYERS = "vision.layers";
    /** The one row that a pooling head with an attention makes of the tower's rows, if there is one. */
    public static final String POOLED = "vision.pooled";
    /** Each layer in which queries read the rows of the vision tower, where rows of features are queries. */
    public static final String QUERIES = "qformer.cross";
    /** Rows of features, as the decoder reads them. */
    public static final String PROJECTOR = "vision.projector";
    /** What the decoder's first layer reads in prefill, [promptTokens, hiddenSize]. */
    public static final String DECODER_EMBEDDINGS = "dec.embeddings";
    /** Each decoder layer's result in prefill; of the last one only with {@link Options.PromptRows#STATES} or more. */
    public static final String DECODER_LAYERS = "dec.layers";
    /** After the final norm: the last row alone, or all of them with {@link Options.PromptRows#LOGITS}. */
    public static final String FINAL_NORM = "dec.final_norm";
    /** Each layer of a text tower. */
    public static final String TEXT_LAYERS = "text.layers";

    /** The stage of that name, if there is one. */
    public static Optional<Stage> find(List<Stage> stages, String name) {
        return stages.stream().filter(stage -> stage.name.equals(name)).findFirst();
    }

    /** @throws IllegalArgumentException if there is no stage of that name */
    public static Stage of(List<Stage> stages, String name) {
        return find(stages, name).orElseThrow(() -> new IllegalArgumentException("no stage " + name));
    }
}

package stormsight.model;

import java.util.List;

/** What scores an image for labels of its own. */
public non-sealed interface Classifier extends ImageEncoder {
    /** One a column of the logits. */
    List<String> labels();

    /**
     * Writes the model's program. Every weight is asked of {@code weights} where it is used, whether they hold values
     * or not.
     *
     * @param together images that a run takes
     */
    Encoding build(Weights weights, int together);

    /** For one image at a time. */
    default Encoding build(Weights weights) {
        return build(weights, 1);
    }

    @Override
    default List<Encoding> encodings(Weights weights) {
        return List.of(build(weights));
    }
}

package stormsight.model;

import java.util.List;
import java.util.Map;
import stormsight.image.RgbImage;

/** What scores an image for labels of its own. */
public interface Classifier extends Model {
    /** As people name it. */
    String title();

    /** Lines about its parts, for people, by the part's name. */
    Map<String, String> parts();

    /** One a column of the logits. */
    List<String> labels();

    /** An image as the model takes it. */
    Views views(RgbImage image);

    /** Writes the model's program. Every weight is asked of {@code weights} where it is used, whether they hold values or not. */
    Encoding build(Weights weights);

    @Override
    default void declare(Weights weights) {
        build(weights);
    }
}

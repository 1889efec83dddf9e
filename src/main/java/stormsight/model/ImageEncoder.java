package stormsight.model;

import java.util.List;
import java.util.Map;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;

/** What makes rows of numbers of an image, and answers nothing. */
public sealed interface ImageEncoder extends Model permits DualEncoder, Matcher, Classifier {
    /** As people name it. */
    String title();

    /** Lines about its parts, for people, by the part's name. */
    Map<String, String> parts();

    /** The vision tower. */
    Description.Vision vision();

    /** An image as the model takes it. */
    Views views(RgbImage image);

    /** Of a resize, as the model's files or the user say. */
    Resampling resampling();

    /**
     * The model's programs. Every weight is asked of {@code weights} where it is used, whether they hold values or not.
     */
    List<Encoding> encodings(Weights weights);

    @Override
    default void declare(Weights weights) {
        encodings(weights);
    }
}

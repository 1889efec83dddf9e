package stormsight.model.nn;

import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.PreprocessorConfig;
import stormsight.model.Views;

/** Prepares an image for a tower that takes one view of it. */
public record ImageProcessor(VisionTower.Config vision, Preprocessing preprocessing) {
    /**
     * As a checkpoint's files say.
     *
     * @param published what holds where they say nothing
     * @param resize how images are resized, if not as the files say
     */
    public static ImageProcessor read(
            Path directory, VisionTower.Config vision, Preprocessing published, Optional<Resampling> resize) {
        Preprocessing stored = PreprocessorConfig.read(directory, published);
        return new ImageProcessor(vision, resize.map(stored::with).orElse(stored));
    }

    public Views views(RgbImage image) {
        return Views.single(preprocessing.resize(image), preprocessing.patches(),
                new Views.Layout(vision.patchSize(), vision.firstPatch(), vision.rows()), preprocessing.area(image));
    }

    /** A line about the tower, for people. */
    public String describe() {
        return String.format(
                Locale.ROOT,
                "%d layers, width %d, %d heads of %d, MLP %d, %d x %d px in patches of %d: %d rows",
                vision.layers(),
                vision.width(),
                vision.layer().attention().heads().queryHeads(),
                vision.layer().attention().heads().headDim(),
                vision.layer().mlp().width(),
                vision.imageSize(),
                vision.imageSize(),
                vision.patchSize(),
                vision.rows());
    }
}

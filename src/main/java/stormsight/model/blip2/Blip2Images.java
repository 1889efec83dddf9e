package stormsight.model.blip2;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.Span;
import stormsight.model.Views;
import stormsight.model.nn.ImageProcessor;
import stormsight.model.nn.VisionTower;

/**
 * Prepares an image: each side is resized by itself, with the mean and deviation of CLIP. As many rows as there are
 * queries stand for it, none of which belongs to a place of the image: each reads all of it.
 */
record Blip2Images(ImageProcessor images, int queries) {
    /** @param resize how images are resized, if not as the files say */
    static Blip2Images read(Path directory, VisionTower.Config vision, int queries, Optional<Resampling> resize) {
        Preprocessing clip = Preprocessing.clip(vision.imageSize());
        return new Blip2Images(
                ImageProcessor.read(
                        directory,
                        vision,
                        new Preprocessing(
                                clip.size(),
                                Preprocessing.Fit.STRETCH,
                                clip.resampling(),
                                clip.rescale(),
                                clip.mean(),
                                clip.std()),
                        resize),
                queries);
    }

    Views views(RgbImage image) {
        VisionTower.Config vision = images.vision();
        Preprocessing preprocessing = images.preprocessing();
        return new Views(
                List.of(preprocessing.resize(image)),
                preprocessing.patches(),
                new Views.Layout(vision.patchSize(), vision.firstPatch(), queries),
                IntStream.range(0, queries).toArray(),
                List.of(new Span.Image(
                        "image",
                        0,
                        0,
                        queries,
                        Optional.empty(),
                        Optional.of(new Span.Grid(
                                vision.grid(), vision.grid(), vision.grid(), preprocessing.area(image))))));
    }

    Resampling resampling() {
        return images.preprocessing().resampling();
    }
}

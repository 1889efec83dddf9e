package stormsight.model.llava;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;
import stormsight.image.RgbImage;
import stormsight.model.Span;
import stormsight.model.Views;

/** Against what transformers 5.18 makes of images of these sizes with the published settings. */
class AnyResolutionTest {
    private static final AnyResolution PUBLISHED = new AnyResolution(
            336,
            14,
            List.of(
                    resolution(336, 672),
                    resolution(672, 336),
                    resolution(672, 672),
                    resolution(1008, 336),
                    resolution(336, 1008)));

    private static AnyResolution.Resolution resolution(int height, int width) {
        return new AnyResolution.Resolution(height, width);
    }

    @ParameterizedTest
    @CsvSource({
        "336, 336, 336, 672, 336, 336, 24, 24, 1176",
        "100, 100, 336, 672, 336, 336, 24, 24, 1176",
        "640, 480, 672, 672, 504, 672, 36, 48, 2340",
        "480, 640, 672, 672, 672, 504, 48, 36, 2352",
        "1024, 1024, 672, 672, 672, 672, 48, 48, 2928",
        "1920, 1080, 672, 672, 378, 672, 28, 48, 1948",
        "1200, 400, 336, 1008, 336, 1008, 24, 72, 2328",
        "1344, 336, 336, 1008, 252, 1008, 18, 72, 1890",
        "300, 1200, 1008, 336, 1008, 252, 72, 18, 1944",
        // Without rounding to 7 decimals there would be 1224, 1872 and 1598.
        "99, 88, 336, 672, 336, 378, 24, 28, 1272",
        "396, 704, 672, 672, 672, 378, 48, 28, 1968",
        "1128, 235, 336, 1008, 210, 1008, 16, 72, 1744"
    })
    void cutsAsTransformersDoes(
            int width,
            int height,
            int bestHeight,
            int bestWidth,
            int resizedHeight,
            int resizedWidth,
            int rows,
            int columns,
            int places) {
        AnyResolution.Layout layout = PUBLISHED.layout(width, height);
        assertEquals(resolution(bestHeight, bestWidth), layout.best());
        assertEquals(resolution(resizedHeight, resizedWidth), layout.resized());

        Views views = PUBLISHED.views(
                new RgbImage(width, height, new byte[3 * width * height]),
                Resampling.BICUBIC,
                Preprocessing.clip(336).patches(),
                new Views.Layout(14, 1, 577));
        assertEquals(places, views.length());
        assertEquals(1 + bestHeight / 336 * (bestWidth / 336), views.count());
        Span.Image tiles = (Span.Image) views.spans(0, 0).getLast();
        assertEquals("tiles", tiles.name());
        assertEquals(
                List.of(rows, columns, columns + 1),
                List.of(
                        tiles.grid().orElseThrow().rows(),
                        tiles.grid().orElseThrow().columns(),
                        tiles.grid().orElseThrow().stride()));
        // Every row of patches ends with the newline, which stands in the class token's row of the first view.
        assertEquals(-1, views.ids(0)[views.length() - 1]);
        assertEquals(rows, Arrays.stream(views.ids(0)).filter(id -> id == -1).count());
    }

    @ParameterizedTest
    @CsvSource({"2928, 5"})
    void knowsTheLargest(int places, int views) {
        assertEquals(places, PUBLISHED.mostPlaces());
        assertEquals(views, PUBLISHED.mostViews());
    }
}

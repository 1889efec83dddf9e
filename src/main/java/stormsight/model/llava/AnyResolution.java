package stormsight.model.llava;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import stormsight.image.Box;
import stormsight.image.Patches;
import stormsight.image.Resampling;
import stormsight.image.Resize;
import stormsight.image.RgbImage;
import stormsight.model.Span;
import stormsight.model.Views;

/**
 * LLaVA-NeXT's way with images of any shape: a base view that shows all of the image squeezed into a square, and tiles
 * that show it in its own shape on the best of some resolutions. Rows of features on the padding are left out, and each
 * row of patches of the tiles ends with a row of its own.
 *
 * @param tile side of a view in pixels
 * @param patch side of a patch in pixels
 * @param resolutions that the tiles may fill together, in the order of config.json
 * @see <a href="https://llava-vl.github.io/blog/2024-01-30-llava-next/">LLaVA-NeXT</a>
 */
record AnyResolution(int tile, int patch, List<Resolution> resolutions) {
    /** Of the newline in the features of the first view: the class token's, which no prompt uses. */
    private static final int NEWLINE_ROW = 0;

    /** In pixels, multiples of a tile. */
    record Resolution(int height, int width) {}

    /**
     * An image of that size on its resolution.
     *
     * @param resized size of the image without padding
     * @param top rows of padding above it
     * @param left columns of padding before it
     */
    record Layout(Resolution best, Resolution resized, int top, int left) {}

    AnyResolution {
        resolutions = List.copyOf(resolutions);
    }

    private int grid() {
        return tile / patch;
    }

    private int views(Resolution resolution) {
        return 1 + resolution.height() / tile * (resolution.width() / tile);
    }

    /** Most views of an image, the base view included. */
    int mostViews() {
        return resolutions.stream().mapToInt(this::views).max().orElseThrow();
    }

    /** Most places of an image in a prompt: of one that fills the resolution that takes most. */
    int mostPlaces() {
        return grid() * grid() + resolutions.stream()
                .mapToInt(resolution -> resolution.height() / tile * grid() * (resolution.width() / tile * grid() + 1))
                .max().orElseThrow();
    }

    /**
     * How an image of that size lies on its resolution: the one that keeps most of its pixels, and of equal ones that
     * which wastes least.
     */
    Layout layout(int width, int height) {
        Resolution best = null;
        long mostKept = -1;
        long leastWasted = 0;
        for (Resolution resolution : resolutions) {
            double scale = Math.min((double) resolution.width() / width, (double) resolution.height() / height);
            long kept = Math.min((long) (width * scale) * (long) (height * scale), (long) width * height);
            long wasted = (long) resolution.width() * resolution.height() - kept;
            if (kept > mostKept || kept == mostKept && wasted < leastWasted) {
                best = resolution;
                mostKept = kept;
                leastWasted = wasted;
            }
        }
        double byWidth = (double) best.width() / width;
        double byHeight = (double) best.height() / height;
        Resolution resized = byWidth < byHeight
                ? new Resolution(Math.min((int) Math.ceil(height * byWidth), best.height()), best.width())
                : new Resolution(best.height(), Math.min((int) Math.ceil(width * byHeight), best.width()));
        return new Layout(best, resized, (best.height() - resized.height()) / 2, (best.width() - resized.width()) / 2);
    }

    /** Cuts an image. */
    Views views(RgbImage image, Resampling resampling, Patches pixels, Views.Layout rows) {
        Layout layout = layout(image.width(), image.height());
        List<RgbImage> views = new ArrayList<>();
        views.add(Resize.resize(image, tile, tile, resampling));
        RgbImage padded = Resize.resize(image, layout.resized().width(), layout.resized().height(), resampling)
                .onBlack(layout.best().width(), layout.best().height(), layout.left(), layout.top());
        int tilesAcross = layout.best().width() / tile;
        for (int down = 0; down < layout.best().height() / tile; down++) {
            for (int across = 0; across < tilesAcross; across++) {
                views.add(padded.crop(across * tile, down * tile, tile, tile));
            }
        }
        int baseRows = grid() * grid();
        IntStream.Builder places = IntStream.builder();
        IntStream.range(0, baseRows).map(cell -> rows.firstPatch() + cell).forEach(places::add);
        Kept kept = kept(image.width(), image.height(), layout.best());
        for (int row = kept.top(); row < kept.bottom(); row++) {
            for (int column = kept.left(); column < kept.right(); column++) {
                int view = 1 + row / grid() * tilesAcross + column / grid();
                places.add(view * rows.rowsPerView() + rows.firstPatch() + row % grid() * grid() + column % grid());
            }
            places.add(NEWLINE_ROW);
        }
        int down = kept.bottom() - kept.top();
        int across = kept.right() - kept.left();
        double scaleX = (double) image.width() / layout.resized().width();
        double scaleY = (double) image.height() / layout.resized().height();
        Box shown = new Box(
                (kept.left() * patch - layout.left()) * scaleX,
                (kept.top() * patch - layout.top()) * scaleY,
                across * patch * scaleX,
                down * patch * scaleY);
        return new Views(
                views,
                pixels,
                rows,
                places.build().toArray(),
                List.of(
                        new Span.Image(
                                "base",
                                0,
                                0,
                                baseRows,
                                Optional.of(new Span.Grid(
                                        grid(), grid(), grid(), new Box(0, 0, image.width(), image.height())))),
                        new Span.Image(
                                "tiles",
                                0,
                                baseRows,
                                down * (across + 1),
                                Optional.of(new Span.Grid(down, across, across + 1, shown)))));
    }

    /** Rows and columns of patches of all tiles that are not on the padding; the ends are not included. */
    private record Kept(int top, int bottom, int left, int right) {}

    /** As transformers cuts; where an odd number is padding, one line of it stays. */
    private Kept kept(int width, int height, Resolution best) {
        int rows = best.height() / tile * grid();
        int columns = best.width() / tile * grid();
        if ((double) width / height > (double) columns / rows) {
            int cut = (rows - rounded(height * ((double) columns / width))) / 2;
            return new Kept(cut, rows - cut, 0, columns);
        }
        int cut = (columns - rounded(width * ((double) rows / height))) / 2;
        return new Kept(0, rows, cut, columns - cut);
    }

    /** Rounded to 7 decimals, then down: what should be a whole number is one. */
    private static int rounded(double value) {
        return new BigDecimal(value).setScale(7, RoundingMode.HALF_EVEN).intValue();
    }
}

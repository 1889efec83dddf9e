package stormsight.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import stormsight.image.Box;
import stormsight.image.ImageException;
import stormsight.image.Patches;
import stormsight.image.RgbImage;

/**
 * An image as a vision tower takes it: one view or several, each of the tower's size, and which rows of features stand
 * for it in a prompt.
 *
 * <p>Encode runs once a view and makes as many rows of features each time; row r of view v is row {@code v *
 * rowsPerView + r} of the image.
 */
public final class Views {
    private final List<RgbImage> views;
    private final Patches pixels;
    private final Layout layout;
    private final int[] rows;
    private final List<Span.Image> spans;

    /**
     * How a view becomes rows.
     *
     * @param patchSize pixels of a patch's side
     * @param firstPatch rows that encode takes before that of the first patch: 1 for a class token, whose row of patch
     *     values is zero
     * @param rowsPerView rows of features that encode makes of a view
     * @param cellSize pixels of the side of what a row of features shows: a patch, or a square of several
     * @param firstCell rows of features before that of the first such cell; cells come row by row
     */
    public record Layout(int patchSize, int firstPatch, int rowsPerView, int cellSize, int firstCell) {
        /** Encode makes a row of features of each row that it takes, or rows that show no place of their own. */
        public Layout(int patchSize, int firstPatch, int rowsPerView) {
            this(patchSize, firstPatch, rowsPerView, patchSize, firstPatch);
        }

        /**
         * Encode makes one row of features of each square of patches, and none of a class token.
         *
         * @param side patches of a square's side
         */
        public static Layout ofSquares(int patchSize, int firstPatch, int side, int rowsPerView) {
            return new Layout(patchSize, firstPatch, rowsPerView, side * patchSize, 0);
        }
    }

    /** A square of a view, in pixels. */
    public record Square(RgbImage view, int x, int y, int size) {}

    /**
     * @param rows the rows of features that stand for the image in a prompt, in order
     * @param spans parts of these rows, places counted from the first
     * @throws IllegalArgumentException if rows show places of the image, and a view has more of them than encode makes
     *     rows
     */
    public Views(List<RgbImage> views, Patches pixels, Layout layout, int[] rows, List<Span.Image> spans) {
        this.views = List.copyOf(views);
        this.pixels = pixels;
        this.layout = layout;
        this.rows = rows.clone();
        this.spans = List.copyOf(spans);
        int cells = Patches.count(views.getFirst().width(), views.getFirst().height(), layout.cellSize());
        if (showsPlaces() && layout.firstCell() + cells > layout.rowsPerView()) {
            throw new IllegalArgumentException("a view has " + cells + " cells of " + layout.cellSize()
                    + " pixels behind row " + layout.firstCell() + ", encode makes " + layout.rowsPerView() + " rows");
        }
    }

    private boolean showsPlaces() {
        return spans.stream().anyMatch(span -> span.grid().isPresent());
    }

    /**
     * One view that shows all of an image, whose cells stand for it in their order.
     *
     * @param area what the view shows, in pixels of the image
     */
    public static Views single(RgbImage view, Patches pixels, Layout layout, Box area) {
        int columns = view.width() / layout.cellSize();
        int down = view.height() / layout.cellSize();
        int[] rows = IntStream.range(0, columns * down).map(cell -> layout.firstCell() + cell).toArray();
        return new Views(List.of(view), pixels, layout, rows, List.of(new Span.Image("image", 0, 0, rows.length,
                Optional.of(new Span.Grid(down, columns, columns, area)))));
    }

    /**
     * The views of a file's image.
     *
     * @param cutting what a model makes of an image
     * @throws ImageException naming the file if it has a shape that cannot be cut, such as one pixel's width
     */
    public static Views of(Function<RgbImage, Views> cutting, RgbImage image, String file) {
        try {
            return cutting.apply(image);
        } catch (IllegalArgumentException e) {
            throw new ImageException(file, "has a shape that this model cannot take: " + e.getMessage(), e);
        }
    }

    /** The same of several, named by their numbers. */
    public static List<Views> of(Function<RgbImage, Views> cutting, List<RgbImage> images) {
        return IntStream.range(0, images.size())
                .mapToObj(i -> of(cutting, images.get(i), "image " + (i + 1)))
                .toList();
    }

    public int count() {
        return views.size();
    }

    /** A view after the resize, in 8 bits. */
    public RgbImage view(int view) {
        return views.get(view);
    }

    /** Rows of features that all views make. */
    public int featureRows() {
        return views.size() * layout.rowsPerView();
    }

    /** Places that the image takes in a prompt. */
    public int length() {
        return rows.length;
    }

    /** The ids of the image's places, see {@link Prompt#ids}. */
    public int[] ids(int firstFeatureRow) {
        return Arrays.stream(rows).map(row -> -1 - firstFeatureRow - row).toArray();
    }

    /** Parts of the image, its first place at {@code place}. */
    public List<Span> spans(int image, int place) {
        return spans.stream().<Span>map(span -> span.ofImage(image).shifted(place)).toList();
    }

    /**
     * Writes a view as encode takes it.
     *
     * @param out [firstPatch + patches, 3 x patchSize x patchSize] F32, patches row by row, values of each ordered
     *     channel, y, x
     */
    public void write(int view, MemorySegment out) {
        long before = (long) Float.BYTES * patchColumns() * firstPatch();
        out.asSlice(0, before).fill((byte) 0);
        pixels.write(views.get(view), layout.patchSize(), out.asSlice(before));
    }

    /** A view as transformers has its pixel_values, [3, height, width]. */
    public float[] pixels(int view) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(Float.BYTES * 3L * views.get(view).width() * views.get(view).height());
            pixels.writePixels(views.get(view), out);
            return out.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    /** Rows before that of the first patch. */
    public int firstPatch() {
        return layout.firstPatch();
    }

    /** Values of a row. */
    public int patchColumns() {
        return 3 * layout.patchSize() * layout.patchSize();
    }

    /** The patches of a view, row by row. */
    public List<Square> squares(int view) {
        return squares(view, layout.patchSize());
    }

    private List<Square> squares(int view, int size) {
        RgbImage image = views.get(view);
        int columns = image.width() / size;
        return IntStream.range(0, Patches.count(image.width(), image.height(), size))
                .mapToObj(patch -> new Square(image, patch % columns * size, patch / columns * size, size))
                .toList();
    }

    /**
     * Rows of features of which what they show, a patch or a square of several, has a property. Rows of views that are
     * not in a prompt may be among them.
     *
     * @throws IllegalArgumentException if rows show no places
     */
    public List<Integer> rowsWhere(Predicate<Square> property) {
        if (!showsPlaces()) {
            throw new IllegalArgumentException(
                    "this model's " + rows.length + " image tokens are queries over the whole image, so none of them "
                            + "shows an object alone");
        }
        List<Integer> found = new ArrayList<>();
        for (int view = 0; view < views.size(); view++) {
            List<Square> cells = squares(view, layout.cellSize());
            for (int cell = 0; cell < cells.size(); cell++) {
                if (property.test(cells.get(cell))) {
                    found.add(view * layout.rowsPerView() + layout.firstCell() + cell);
                }
            }
        }
        return found;
    }
}

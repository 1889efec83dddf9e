package stormsight.report;

import java.awt.image.BufferedImage;
import java.util.stream.IntStream;
import stormsight.image.Resampling;
import stormsight.image.Resize;
import stormsight.image.RgbImage;

/** Images and maps as pixels of a size. */
final class Picture {
    private Picture() {}

    static BufferedImage of(RgbImage image, int width, int height) {
        RgbImage sized = sized(image, width, height);
        return paint(width, height, (x, y) -> rgb(sized, x, y));
    }

    static BufferedImage of(HeatMap map, Range range, MapStyle style, int width, int height) {
        return paint(width, height, (x, y) -> style.colors().rgb(position(map, range, style, x, y, width, height)));
    }

    static BufferedImage over(RgbImage image, HeatMap map, Range range, MapStyle style, int width, int height) {
        RgbImage sized = sized(image, width, height);
        return paint(
                width,
                height,
                (x, y) -> style.over(rgb(sized, x, y), position(map, range, style, x, y, width, height)));
    }

    private interface Pixels {
        int rgb(int x, int y);
    }

    private static BufferedImage paint(int width, int height, Pixels pixels) {
        BufferedImage picture = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
        IntStream.range(0, height).parallel().forEach(y -> {
            int[] row = new int[width];
            for (int x = 0; x < width; x++) {
                row[x] = pixels.rgb(x, y);
            }
            picture.setRGB(0, y, width, 1, row, 0, width);
        });
        return picture;
    }

    private static RgbImage sized(RgbImage image, int width, int height) {
        return image.width() == width && image.height() == height
                ? image
                : Resize.resize(image, width, height, Resampling.BILINEAR);
    }

    private static int rgb(RgbImage image, int x, int y) {
        return image.sample(x, y, 0) << 16 | image.sample(x, y, 1) << 8 | image.sample(x, y, 2);
    }

    private static double position(HeatMap map, Range range, MapStyle style, int x, int y, int width, int height) {
        double column = (x + 0.5) / width * map.columns();
        double row = (y + 0.5) / height * map.rows();
        return range.position(
                style.smooth() ? map.at(column, row) : map.values()[(int) row * map.columns() + (int) column]);
    }
}

package stormsight.report;

import java.awt.image.BufferedImage;
import java.util.stream.IntStream;
import stormsight.image.Resampling;
import stormsight.image.Resize;
import stormsight.image.RgbImage;

/** Images and maps as pixels of a size. */
final class Picture {
    /** How much of the map and how much of the image shows: both are to be recognised. */
    private static final double OPACITY = 0.5;

    private Picture() {}

    static BufferedImage of(RgbImage image, int width, int height) {
        RgbImage sized = Resize.resize(image, width, height, Resampling.BILINEAR);
        return paint(width, height, (x, y) -> rgb(sized, x, y));
    }

    static BufferedImage of(HeatMap map, Range range, int width, int height) {
        return paint(width, height, (x, y) -> color(map, range, x, y, width, height));
    }

    static BufferedImage over(RgbImage image, HeatMap map, Range range, int width, int height) {
        RgbImage sized = Resize.resize(image, width, height, Resampling.BILINEAR);
        return paint(width, height, (x, y) -> blend(rgb(sized, x, y), color(map, range, x, y, width, height)));
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

    private static int rgb(RgbImage image, int x, int y) {
        return image.sample(x, y, 0) << 16 | image.sample(x, y, 1) << 8 | image.sample(x, y, 2);
    }

    private static int color(HeatMap map, Range range, int x, int y, int width, int height) {
        double value = map.at((x + 0.5) / width * map.columns(), (y + 0.5) / height * map.rows());
        return ColorMap.JET.rgb(range.position(value));
    }

    private static int blend(int below, int above) {
        int mixed = 0;
        for (int shift = 16; shift >= 0; shift -= 8) {
            double channel = (1 - OPACITY) * (below >> shift & 0xff) + OPACITY * (above >> shift & 0xff);
            mixed |= (int) Math.round(channel) << shift;
        }
        return mixed;
    }
}

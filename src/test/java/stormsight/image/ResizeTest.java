package stormsight.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Pillow's own results are compared in {@link GoldenImagesTest}. */
class ResizeTest {
    /** F32 against double before the cut to 8 bits. */
    private static final double F32_SUMS = 1e-3;

    private static RgbImage random(int width, int height) {
        RgbImage image = RgbImage.black(width, height);
        new Random(31L * width + height).nextBytes(image.rgb());
        return image;
    }

    @ParameterizedTest
    @CsvSource({"1,1,7,5", "7,5,1,1", "61,47,56,56", "30,20,60,61", "100,3,17,31", "500,300,14,13", "8,8,4,16"})
    void bigVisionIsATriangleFilterCutDown(int width, int height, int toWidth, int toHeight) {
        RgbImage image = random(width, height);
        RgbImage resized = Resize.resize(image, toWidth, toHeight, Resampling.BILINEAR_BIG_VISION);
        for (int y = 0; y < toHeight; y++) {
            for (int x = 0; x < toWidth; x++) {
                for (int channel = 0; channel < 3; channel++) {
                    double exact = triangle(image, (double) width / toWidth, x, (double) height / toHeight, y, channel);
                    int actual = resized.sample(x, y, channel);
                    assertTrue(exact > actual - F32_SUMS && exact < actual + 1 + F32_SUMS, exact + " became " + actual);
                }
            }
        }
    }

    /** The definition, in two dimensions at once. */
    private static double triangle(RgbImage image, double scaleX, int x, double scaleY, int y, int channel) {
        double sum = 0;
        double weights = 0;
        for (int v = 0; v < image.height(); v++) {
            for (int u = 0; u < image.width(); u++) {
                double dx = Math.abs(u + 0.5 - (x + 0.5) * scaleX) / Math.max(scaleX, 1);
                double dy = Math.abs(v + 0.5 - (y + 0.5) * scaleY) / Math.max(scaleY, 1);
                double weight = Math.max(1 - dx, 0) * Math.max(1 - dy, 0);
                weights += weight;
                sum += weight * image.sample(u, v, channel);
            }
        }
        return sum / weights;
    }

    @ParameterizedTest
    @EnumSource
    void keepsPlainColours(Resampling resampling) {
        RgbImage image = RgbImage.black(37, 23);
        Arrays.fill(image.rgb(), (byte) 200);
        for (int size : new int[] {1, 2, 13, 23, 64}) {
            for (byte sample : Resize.resize(image, size, size + 1, resampling).rgb()) {
                // Cutting down may lose a level to rounding in the sum of the weights.
                assertEquals(200, sample & 0xff, resampling == Resampling.BILINEAR_BIG_VISION ? 1 : 0);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void leavesAnImageOfThatSize(Resampling resampling) {
        RgbImage image = random(5, 9);
        assertSame(image, Resize.resize(image, 5, 9, resampling));
    }

    @ParameterizedTest
    @EnumSource
    void takesExtremeShapes(Resampling resampling) {
        assertEquals(3 * 4 * 4, Resize.resize(random(100_000, 1), 4, 4, resampling).rgb().length);
        assertEquals(3 * 4 * 4, Resize.resize(random(1, 100_000), 4, 4, resampling).rgb().length);
        assertThrows(IllegalArgumentException.class, () -> Resize.resize(random(1, 1), 50_000, 50_000, resampling));
        assertThrows(IllegalArgumentException.class, () -> Resize.resize(random(1, 1), 0, 1, resampling));
    }

    /** Since Pillow 12.2; the results of the two orders differ in their last bits. */
    @ParameterizedTest
    @CsvSource({
        "10,1001,56,56,true",
        "10,1000,56,56,false",
        "3,301,56,56,true",
        "10,1500,20,3000,false",
        "2000,10,56,56,false"
    })
    void resizesTallImagesAlongColumnsFirst(int width, int height, int toWidth, int toHeight, boolean columnsFirst) {
        RgbImage image = random(width, height);
        RgbImage between = columnsFirst ? Resize.resize(image, width, toHeight, Resampling.BICUBIC)
                : Resize.resize(image, toWidth, height, Resampling.BICUBIC);
        assertArrayEquals(Resize.resize(between, toWidth, toHeight, Resampling.BICUBIC).rgb(),
                Resize.resize(image, toWidth, toHeight, Resampling.BICUBIC).rgb());
    }

    @Test
    void cropsTheMiddle() {
        RgbImage image = random(7, 4);
        RgbImage crop = image.centreCrop(2);
        assertArrayEquals(
                new int[] {image.sample(2, 1, 0), image.sample(3, 1, 1), image.sample(2, 2, 2)},
                new int[] {crop.sample(0, 0, 0), crop.sample(1, 0, 1), crop.sample(0, 1, 2)});
        RgbImage shorter = Resize.shorterSide(random(30, 47), 10, Resampling.BICUBIC);
        assertEquals(10, shorter.width());
        assertEquals(15, shorter.height());
        assertThrows(IllegalArgumentException.class, () -> image.centreCrop(5));
    }
}

package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import stormsight.image.Mask;
import tools.jackson.databind.json.JsonMapper;

class RegionFileTest {
    /** Known codes: 25 pixels outside; 2 outside, 4 inside, 2 outside and 1 inside, which is relative to the second. */
    @Test
    void writesRunsAsCocoDoes() {
        assertEquals(
                Map.of("size", List.of(5, 5), "counts", "i0"), RegionFile.segmentation(mask(5, 5, new int[0])));
        // Columns: .., # #, ##, . . -> with height 3 and width 3, column by column 2 out, 4 in, 2 out, 1 in.
        assertEquals("242M", RegionFile.segmentation(mask(3, 3, 2, 3, 4, 5, 8)).get("counts"));
    }

    /** @param inside pixels, counted column by column */
    private static Mask mask(int width, int height, int... inside) {
        boolean[] pixels = new boolean[width * height];
        for (int pixel : inside) {
            pixels[pixel % height * width + pixel / height] = true;
        }
        return new Mask(width, height, pixels);
    }

    @Test
    void masksComeBack() {
        Random random = new Random(3);
        for (int[] size : new int[][] {{1, 1}, {7, 3}, {64, 48}, {500, 400}}) {
            for (double share : new double[] {0, 0.01, 0.5, 1}) {
                boolean[] pixels = new boolean[size[0] * size[1]];
                for (int i = 0; i < pixels.length; i++) {
                    pixels[i] = random.nextDouble() < share;
                }
                Mask mask = new Mask(size[0], size[1], pixels);
                String json = JsonMapper.shared().writeValueAsString(RegionFile.segmentation(mask));
                assertArrayEquals(
                        pixels, CocoMasks.decode(JsonMapper.shared().readTree(json)).inside());
            }
        }
    }
}

package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.image.RgbImage;

class ContactSheetTest {
    @TempDir
    private Path directory;

    /** Five images in rows of two, every one in its own colour. */
    @Test
    void showsEveryImageInItsPlace() throws IOException {
        int[] colors = {0xff0000, 0x00ff00, 0x0000ff, 0xffff00, 0xff00ff};
        List<ContactSheet.Item> items = new ArrayList<>();
        for (int color : colors) {
            byte[] rgb = new byte[3 * 40 * 20];
            for (int i = 0; i < rgb.length; i++) {
                rgb[i] = (byte) (color >> 16 - 8 * (i % 3));
            }
            items.add(
                    new ContactSheet.Item(new RgbImage(40, 20, rgb), "image of colour " + Integer.toHexString(color)));
        }
        Path png = directory.resolve("sheet.png");
        ContactSheet.write(png, "five images", items, 2);
        BufferedImage sheet = ImageIO.read(png.toFile());
        int[] x = new int[5];
        int[] y = new int[5];
        for (int i = 0; i < 5; i++) {
            int pixels = 0;
            for (int row = 0; row < sheet.getHeight(); row++) {
                for (int column = 0; column < sheet.getWidth(); column++) {
                    if ((sheet.getRGB(column, row) & 0xffffff) == colors[i]) {
                        pixels++;
                        x[i] = column;
                        y[i] = row;
                    }
                }
            }
            // 240 x 120 within an edge of a pixel.
            assertEquals(238 * 118, pixels);
        }
        assertEquals(List.of(x[0], x[1], x[0]), List.of(x[2], x[3], x[4]));
        assertTrue(y[0] == y[1] && y[0] < y[2] && y[2] == y[3] && y[3] < y[4]);
        assertThrows(IllegalArgumentException.class, () -> ContactSheet.write(png, "", List.of(), 2));
        assertThrows(IllegalArgumentException.class, () -> ContactSheet.write(png, "", items, 0));
    }
}

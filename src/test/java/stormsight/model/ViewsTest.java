package stormsight.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;
import stormsight.image.ImageException;
import stormsight.image.Resampling;
import stormsight.image.Resize;
import stormsight.image.RgbImage;

class ViewsTest {
    /** Models that keep the proportions would make it longer than an array. */
    @Test
    void anImageThatIsTooThinIsNamed() {
        RgbImage thin = new RgbImage(1, 15_000, new byte[3 * 15_000]);
        ImageException thrown = assertThrows(ImageException.class, () -> Views.of(image -> {
            Resize.shorterSide(image, 224, Resampling.BICUBIC);
            return null;
        }, thin, "thin.png"));
        assertEquals("thin.png: has a shape that this model cannot take: a resize from 1 x 15000 to 224 x 3360000 is "
                + "too large", thrown.getMessage());
    }
}

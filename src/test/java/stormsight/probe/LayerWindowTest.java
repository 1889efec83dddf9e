package stormsight.probe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class LayerWindowTest {
    @Test
    void isTruncatedAtBothEnds() {
        assertEquals(new LayerWindow(0, 5), LayerWindow.around(0, 9, 18));
        assertEquals(new LayerWindow(1, 10), LayerWindow.around(5, 9, 18));
        assertEquals(new LayerWindow(13, 18), LayerWindow.around(17, 9, 18));
        assertEquals(new LayerWindow(0, 5), LayerWindow.around(4, 9, 5));
    }

    @Test
    void anEvenWindowReachesFurtherDown() {
        assertEquals(new LayerWindow(3, 7), LayerWindow.around(5, 4, 18));
        assertEquals(new LayerWindow(4, 6), LayerWindow.around(5, 2, 18));
    }

    @Test
    void sizesFromOneToHuge() {
        assertEquals(new LayerWindow(3, 4), LayerWindow.around(3, 1, 18));
        assertEquals("layer 3", LayerWindow.around(3, 1, 18).toString());
        assertEquals(new LayerWindow(0, 18), LayerWindow.around(17, Integer.MAX_VALUE, 18));
        assertEquals("layers 0 to 17", LayerWindow.around(17, Integer.MAX_VALUE, 18).toString());
        assertThrows(IllegalArgumentException.class, () -> LayerWindow.around(0, 0, 18));
    }
}

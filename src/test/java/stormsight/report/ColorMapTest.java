package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class ColorMapTest {
    /** Of a channel: the map holds every eighth colour of matplotlib's table. */
    private static final int TABLE = 2;

    /** Entries of matplotlib 3.10's tables, at and between the colours that are kept. */
    @ParameterizedTest
    @CsvSource({
        "VIRIDIS,0,440154",
        "VIRIDIS,64,3b528b",
        "VIRIDIS,100,2a768e",
        "VIRIDIS,128,21918c",
        "VIRIDIS,200,70cf57",
        "VIRIDIS,255,fde725",
        "INFERNO,0,000004",
        "INFERNO,64,57106e",
        "INFERNO,100,902568",
        "INFERNO,128,bc3754",
        "INFERNO,200,fb9d07",
        "INFERNO,255,fcffa4"
    })
    void viridisAndInfernoAreMatplotlibs(ColorMap map, int place, String hex) {
        int expected = Integer.parseInt(hex, 16);
        int rgb = map.rgb(place / 255.0);
        for (int shift = 16; shift >= 0; shift -= 8) {
            assertEquals(expected >> shift & 0xff, rgb >> shift & 0xff, TABLE, map + " at " + place);
        }
    }

    /** Corners of matplotlib's jet, as its documentation plots them. */
    @Test
    void jetIsMatplotlibs() {
        assertEquals(0x000080, ColorMap.JET.rgb(0));
        assertEquals(0x800000, ColorMap.JET.rgb(1));
        // matplotlib.colormaps["jet"](0.5) is (0.4901, 1, 0.4775).
        assertEquals(0x7dff7a, ColorMap.JET.rgb(0.5));
    }

    @ParameterizedTest
    @EnumSource
    void numbersBeyondTheEndsHaveTheColoursOfTheEnds(ColorMap map) {
        assertEquals(map.rgb(0), map.rgb(-3));
        assertEquals(map.rgb(1), map.rgb(7));
    }

    /**
     * What "perceptually even" means: lightness rises all the way, no eighth of the map by more than 1.5 times its
     * share. Jet's falls.
     */
    @Test
    void lightnessRisesInEvenSteps() {
        for (ColorMap map : new ColorMap[] {ColorMap.VIRIDIS, ColorMap.INFERNO}) {
            double share = (lightness(map.rgb(1)) - lightness(map.rgb(0))) / 8;
            for (int i = 0; i < 8; i++) {
                double step = lightness(map.rgb((i + 1) / 8.0)) - lightness(map.rgb(i / 8.0));
                assertTrue(
                        step > 0.5 * share && step < 1.5 * share,
                        map + ": step " + i + " is " + step + ", its share " + share);
            }
        }
        assertTrue(lightness(ColorMap.JET.rgb(1)) < lightness(ColorMap.JET.rgb(0.5)));
    }

    /** L* of CIELAB, 0 to 100. */
    private static double lightness(int rgb) {
        double y = 0.2126 * linear(rgb >> 16 & 0xff) + 0.7152 * linear(rgb >> 8 & 0xff) + 0.0722 * linear(rgb & 0xff);
        return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
    }

    private static double linear(int channel) {
        double c = channel / 255.0;
        return c <= 0.04045 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4);
    }

    /** The image keeps its colours where there is no weight, and is covered the more, the larger the weight is. */
    @ParameterizedTest
    @EnumSource
    void theImageShowsWhereWeightsAreSmall(ColorMap map) {
        MapStyle style = new MapStyle(map, true);
        assertEquals(0x123456, style.over(0x123456, 0));
        assertEquals(0, MapStyle.opacity(-1));
        double last = 0;
        for (int i = 1; i <= 20; i++) {
            double opacity = MapStyle.opacity(i / 20.0);
            assertTrue(opacity > last && opacity < 1);
            last = opacity;
        }
    }
}

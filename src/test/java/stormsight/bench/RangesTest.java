package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RangesTest {
    @Test
    void listsAndRangesAsLlamaBenchTakesThem() {
        assertEquals(List.of(64), Ranges.parse("64"));
        assertEquals(List.of(64, 128, 0), Ranges.parse("64, 128,0"));
        assertEquals(List.of(16, 32, 64), Ranges.parse("16-64*2"));
        assertEquals(List.of(16, 48), Ranges.parse("16-64*3"));
        assertEquals(List.of(1, 3, 5, 7), Ranges.parse("1-8+2"));
        assertEquals(List.of(3, 4, 5, 1), Ranges.parse("3-5,1"));
        assertEquals(List.of(1, 2, 3), Ranges.parse("1-2,2-3"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"", "a", "1,", "-1", "4-1", "1-4+0", "1-4*1", "0-4*2", "1-4/2", "1.5", "1-100000", "9999999999"})
    void otherTextsAreRefused(String text) {
        assertThrows(IllegalArgumentException.class, () -> Ranges.parse(text));
    }
}

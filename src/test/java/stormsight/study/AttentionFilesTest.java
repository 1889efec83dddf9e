package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

class AttentionFilesTest {
    @Test
    void layersThatFollowEachOtherAreRanges() {
        assertEquals("0, 3-5", AttentionFiles.ranges(List.of(0, 3, 4, 5)));
        assertEquals("7", AttentionFiles.ranges(List.of(7)));
    }
}

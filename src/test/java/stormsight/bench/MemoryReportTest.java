package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import stormsight.backend.DeviceInfo;
import stormsight.backend.DeviceMemory;

class MemoryReportTest {
    private static MemoryReport report(long memoryBytes) {
        DeviceInfo device = new DeviceInfo("0", "test", "a card", "", "", "", DeviceInfo.Kind.GPU, memoryBytes, 0, 0, 1,
                1, Set.of());
        return new MemoryReport(device, Map.of("bf16", new DeviceMemory(0, 0, 0, 0, List.of())), List.of());
    }

    /** Nobody says that what is unknown is enough. */
    @Test
    void unknownMemoryIsNotEnough() {
        assertTrue(report(0).text().contains("a card does not say how much memory it has"), report(0).text());
        assertFalse(report(0).json().containsKey("fits_device"));
        assertTrue(report(1000).text().contains("a card has it"), report(1000).text());
        assertEquals(true, report(1000).json().get("fits_device"));
    }
}

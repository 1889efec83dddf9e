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
        return report(memoryBytes, new DeviceMemory(0, 0, 0, 0, List.of()));
    }

    private static MemoryReport report(long memoryBytes, DeviceMemory needs) {
        DeviceInfo device = new DeviceInfo("0", "test", "a card", "", "", "", DeviceInfo.Kind.GPU, memoryBytes, 0, 0, 1,
                1, Set.of());
        return new MemoryReport(device, Map.of("bf16", needs), List.of());
    }

    /** Nobody says that what is unknown is enough. */
    @Test
    void unknownMemoryIsNotEnough() {
        assertTrue(report(0).text().contains("a card does not say how much memory it has"), report(0).text());
        assertFalse(report(0).json().containsKey("fits_device"));
        assertTrue(report(1000).text().contains("a card has it"), report(1000).text());
        assertEquals(true, report(1000).json().get("fits_device"));
    }

    /** A small model's caches are no 0.00 GB. */
    @Test
    void sizesHaveTheUnitThatShowsThem() {
        String text = report(1000, new DeviceMemory(5_840_000_000L, 9_000_000, 400_000, 0, List.of())).text();
        assertTrue(
                text.startsWith("memory: 5.84 GB of weights, 9.0 MB of caches, 400.0 kB of activations, 0.0 kB of "
                        + "scratch, 5.85 GB in all; a card has 1.0 kB: too little"),
                text);
    }
}

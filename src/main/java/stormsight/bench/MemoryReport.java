package stormsight.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import stormsight.backend.DeviceInfo;
import stormsight.backend.DeviceMemory;
import stormsight.backend.PlannedLaunch;
import stormsight.report.Bytes;
import stormsight.report.TextTable;

/**
 * Whether programs fit a device, and which cards they would fit.
 *
 * @param forms what they take by how weights are held, the form that was planned first; further ones are compared for
 *     cards
 * @param launches of the form that was planned
 */
public record MemoryReport(DeviceInfo device, Map<String, DeviceMemory> forms, List<PlannedLaunch> launches) {
    /** Memory of common cards, in GB of 10^9 bytes; they have some more, which drivers take. */
    private static final List<Integer> CARDS = List.of(24, 48, 80, 141);
    private static final long GIB = 1L << 30;

    public MemoryReport {
        // Map.copyOf has no order.
        forms = new LinkedHashMap<>(forms);
        launches = List.copyOf(launches);
    }

    private DeviceMemory planned() {
        return forms.values().iterator().next();
    }

    private static boolean fits(DeviceMemory memory, long bytes) {
        return memory.total() <= bytes;
    }

    /** For people; ends with a newline. */
    public String text() {
        DeviceMemory memory = planned();
        String has = device.memoryBytes() == 0 ? "does not say how much memory it has"
                : fits(memory, device.memoryBytes()) ? "has it"
                : "has " + Bytes.text(device.memoryBytes()) + ": too little";
        StringBuilder text = new StringBuilder();
        text.append(String.format("memory: %s of weights, %s of caches, %s of activations, %s of scratch, %s in all; "
                        + "%s %s%n",
                Bytes.text(memory.weights()), Bytes.text(memory.caches()), Bytes.text(memory.activations()),
                Bytes.text(memory.scratch()), Bytes.text(memory.total()), device.name(), has));
        if (!memory.buffers().isEmpty()) {
            DeviceMemory.Buffer largest = memory.buffers().getFirst();
            text.append(String.format(Locale.ROOT, "buffers: %d, the largest %s (%s); %d over 2 GiB, %d over 4 "
                            + "GiB; at most %d elements, an index has room for %d%n",
                    memory.buffers().size(), Bytes.text(largest.bytes()), largest.holds(), memory.largerThan(2 * GIB),
                    memory.largerThan(4 * GIB), mostElements(memory), Integer.MAX_VALUE));
        }
        if (largestGroup() > 0) {
            text.append(String.format(Locale.ROOT, "launches: groups of up to %d items with up to %d bytes of local "
                    + "memory%n", largestGroup(), mostLocalBytes()));
        }
        if (forms.size() > 1) {
            List<String> header = new ArrayList<>(List.of("card"));
            forms.forEach((form, needs) ->
                    header.add(form + ": " + Bytes.text(needs.total())));
            TextTable table = new TextTable(header);
            for (int card : CARDS) {
                List<String> row = new ArrayList<>(List.of(card + " GB"));
                forms.values().forEach(needs -> row.add(fits(needs, bytes(card)) ? "fits" : "does not fit"));
                table.row(row);
            }
            text.append('\n').append(table.plain());
        }
        return text.toString();
    }

    private static long bytes(int card) {
        return card * 1_000_000_000L;
    }

    private static long mostElements(DeviceMemory memory) {
        return memory.buffers().stream().mapToLong(DeviceMemory.Buffer::elements).max().orElse(0);
    }

    private int largestGroup() {
        return launches.stream().mapToInt(PlannedLaunch::groupSize).max().orElse(0);
    }

    private int mostLocalBytes() {
        return launches.stream().mapToInt(PlannedLaunch::localBytes).max().orElse(0);
    }

    /** The same for programs. */
    public Map<String, Object> json() {
        DeviceMemory memory = planned();
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("weights", memory.weights());
        object.put("caches", memory.caches());
        object.put("activations", memory.activations());
        object.put("scratch", memory.scratch());
        object.put("total", memory.total());
        if (device.memoryBytes() > 0) {
            object.put("fits_device", fits(memory, device.memoryBytes()));
        }
        object.put("buffers", memory.buffers().size());
        object.put("largest_buffer",
                memory.buffers().stream().mapToLong(DeviceMemory.Buffer::bytes).findFirst().orElse(0));
        object.put("buffers_over_2_gib", memory.largerThan(2 * GIB));
        object.put("buffers_over_4_gib", memory.largerThan(4 * GIB));
        object.put("most_elements", mostElements(memory));
        object.put("largest_group", largestGroup());
        object.put("most_local_bytes", mostLocalBytes());
        if (forms.size() > 1) {
            List<Map<String, Object>> cards = new ArrayList<>();
            for (int card : CARDS) {
                Map<String, Object> fit = new LinkedHashMap<>();
                fit.put("gb", card);
                forms.forEach((form, needs) -> fit.put(form, fits(needs, bytes(card))));
                cards.add(fit);
            }
            object.put("cards", cards);
        }
        return object;
    }
}

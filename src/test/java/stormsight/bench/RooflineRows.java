package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.LinkedHashMap;
import java.util.Map;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;

/** What rows of a stage have to be. */
public final class RooflineRows {
    private RooflineRows() {}

    /** Every operation is there once, in order, with a call for each step and layer of any segment that has it. */
    public static void assertComplete(Program program, Roofline.Stage stage) {
        Map<Op, String> segments = new LinkedHashMap<>();
        Map<Op, Integer> calls = new LinkedHashMap<>();
        for (Segment segment : program.segments()) {
            for (Op op : segment.ops()) {
                segments.putIfAbsent(op, segment.name());
                calls.merge(op, segment.layers() * stage.runs(), Integer::sum);
            }
        }
        assertEquals(
                calls.keySet().stream()
                        .map(op -> segments.get(op) + " " + op + " " + calls.get(op))
                        .toList(),
                stage.rows().stream()
                        .filter(row -> row.op().isPresent())
                        .map(row -> row.segment() + " " + row.op().orElseThrow() + " " + row.calls())
                        .toList());
    }
}

package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

class RegressionsTest {
    private static final double TOLERATED = 0.05;
    private static final List<Double> STEADY = List.of(10.0, 10.1, 9.9);

    private static List<JsonNode> recorded(Row... rows) {
        return List.of(rows).stream().map(row -> (JsonNode) JsonMapper.shared().valueToTree(row.fields())).toList();
    }

    private static Regressions against(List<Double> then, List<Double> now) {
        return Regressions.of(
                List.of(Rows.row(Trial.prefill(16), "cpu", now)),
                recorded(Rows.row(Trial.prefill(16), "cpu", then)),
                TOLERATED);
    }

    @Test
    void slowerBeyondNoiseIsFlagged() {
        Regressions slower = against(STEADY, List.of(15.0, 15.1, 14.9));
        assertTrue(slower.any());
        assertTrue(slower.markdown().contains("1.50x slower"), slower.markdown());
        assertTrue(slower.markdown().contains("REGRESSION"), slower.markdown());
    }

    @Test
    void othersAreNot() {
        assertFalse(against(STEADY, STEADY).any());
        assertFalse(against(STEADY, List.of(5.0, 5.1, 4.9)).any(), "faster");
        assertFalse(against(STEADY, List.of(10.4, 10.401, 10.402)).any(), "slower by less than is tolerated");
        assertFalse(against(STEADY, List.of(5.0, 40.0, 15.0)).any(), "noise");
        assertFalse(against(STEADY, List.of(20.0)).any(), "one sample");
        assertTrue(against(STEADY, List.of(20.0)).markdown().contains("the noise is not known"));
    }

    @Test
    void whatTookNoTimeHasNoRatio() {
        List<Double> none = List.of(0.0, 0.0);
        for (Regressions regressions :
                List.of(against(none, none), against(none, STEADY), against(STEADY, List.of(0.0, 10.0)))) {
            assertFalse(regressions.any());
            assertTrue(regressions.markdown().contains("no time: the noise is not known"), regressions.markdown());
        }
    }

    @Test
    void theSameDeviceAndModelArePreferred() {
        List<JsonNode> two = recorded(
                Rows.row(Trial.prefill(16), "cpu", List.of(1.0, 1.1)), Rows.row(Trial.prefill(16), "cpu", STEADY));
        for (String field : List.of("device_id", "model")) {
            ((ObjectNode) two.getFirst()).put(field, "another");
            Regressions regressions =
                    Regressions.of(List.of(Rows.row(Trial.prefill(16), "cpu", STEADY)), two, TOLERATED);
            assertEquals(10, regressions.found().getFirst().then(), 1e-9, field);
        }
        Regressions other =
                Regressions.of(List.of(Rows.row(Trial.prefill(16), "cpu", STEADY)), two.subList(0, 1), TOLERATED);
        assertEquals(1, other.found().size(), "one of another name is compared, too");
    }

    @Test
    void whatCannotBeComparedIsListed() {
        Regressions regressions = Regressions.of(
                List.of(Rows.row(Trial.prefill(16), "tornado", STEADY), Rows.row(Trial.decode(4, 16), "cpu", STEADY)),
                recorded(Rows.row(Trial.prefill(16), "cpu", STEADY)),
                TOLERATED);
        assertEquals(List.of(), regressions.found());
        assertEquals(
                List.of(
                        "pp16 on tornado: backend is tornado, in the file cpu",
                        "tg4@16 on cpu: no such row in the file"),
                regressions.incomparable());
    }
}

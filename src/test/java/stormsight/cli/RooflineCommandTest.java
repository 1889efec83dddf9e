package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.bench.ResultSchema;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class RooflineCommandTest {
    private static final String[] SHORT = {
        "roofline",
        "--model",
        Goldens.folder("paligemma-mqa").toString(),
        "--backend",
        "cpu",
        "-r",
        "1",
        "-n",
        "1",
        "--warm-up",
        "0",
        "--prompt-tokens",
        "3"
    };

    @TempDir
    private Path temporary;

    private record Run(int exitCode, String out, String err) {}

    private static Run run(String[] first, String... more) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        String[] arguments = Stream.concat(Arrays.stream(first), Arrays.stream(more)).toArray(String[]::new);
        int exitCode = Main.execute(new PrintWriter(out, true), new PrintWriter(err, true), arguments);
        return new Run(exitCode, out.toString(), err.toString());
    }

    @Test
    void tablesAndPlotShowEveryStage() throws IOException {
        Path plot = temporary.resolve("roof.svg");
        Run run = run(SHORT, "--plot", plot.toString());
        assertEquals(0, run.exitCode(), run.err());
        for (String expected : List.of(
                "| read | ",
                "| multiply-add | ",
                "encode, ",
                "prefill, ",
                "decode, 1 row from position ",
                "| gatedMatMul | gate_proj, up_proj | ",
                "| attention | ",
                "| sample | token | ")) {
            assertTrue(run.out().replaceAll(" +", " ").contains(expected), expected + " in " + run.out());
        }
        // Which of the two bounds an operation depends on the machine.
        assertTrue(
                run.out()
                        .lines()
                        .filter(line -> line.startsWith("| attention "))
                        .allMatch(line -> line.matches(".* (compute|memory) +\\| .*")),
                run.out());
        assertEquals(3, run.out().lines().filter(line -> line.startsWith("| all ")).count());
        String svg = Files.readString(plot);
        for (String stage : List.of("encode", "prefill", "decode", "GB/s")) {
            assertTrue(svg.contains(stage), stage);
        }
    }

    @Test
    void jsonHoldsARowForEveryOperation() {
        Run run = run(SHORT, "--format", "json");
        assertEquals(0, run.exitCode(), run.err());
        JsonNode file = JsonMapper.shared().readTree(run.out());
        assertEquals(List.of(), ResultSchema.problems(run.out()));
        Set<String> names = new HashSet<>();
        for (JsonNode row : file.get("rows")) {
            assertTrue(names.add(row.get("name").asString()), row::toString);
            assertEquals("roofline", row.get("kind").asString());
            assertTrue(
                    row.get("mean").asDouble() > 0
                            && row.get("ceiling").asDouble() > 0
                            && row.get("ceiling_share").asDouble() > 0,
                    row::toString);
        }
        assertTrue(
                names.stream().anyMatch(name -> name.matches("decode matMul_1x\\d+x\\d+_f32 q_proj")), names::toString);
    }

    @Test
    void wrongOptionsAreRefusedBeforeAnythingIsMeasured() {
        for (String[] wrong : List.of(
                new String[] {"-n", "0"},
                new String[] {"--prompt-tokens", "0"},
                new String[] {"--warm-up", "-1"},
                new String[] {"--plot", temporary.resolve("roof.gif").toString()})) {
            Run run = run(new String[] {"roofline"}, wrong);
            assertEquals(2, run.exitCode(), run.err());
            assertEquals("", run.out());
            assertTrue(run.err().startsWith("stormsight: ") && run.err().contains(wrong[0]), run.err());
            assertFalse(run.err().contains("measuring"), run.err());
        }
    }
}

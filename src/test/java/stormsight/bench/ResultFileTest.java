package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.DeviceInfo;
import stormsight.program.DType;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class ResultFileTest {
    private static final List<Row> ROWS = List.of(Rows.row(Trial.prefill(16), "cpu", List.of(8.0, 16.0)),
            Rows.row(Trial.of(Trial.Part.ENCODE), "cpu", List.of(3.0)));

    @TempDir
    private Path temporary;

    @Test
    void everyCommittedFileFitsTheSchema() throws IOException {
        try (Stream<Path> files = Files.list(Path.of("bench/results"))) {
            for (Path file : files.filter(path -> path.toString().endsWith(".json") && !path.endsWith("schema.json"))
                    .toList()) {
                assertEquals(List.of(), ResultSchema.problems(Files.readString(file)), file.toString());
            }
        }
    }

    @Test
    void jsonFitsTheSchemaAndIsReadBack() throws IOException {
        String text = ResultFile.text(ROWS, ResultFile.Format.JSON);
        assertEquals(List.of(), ResultSchema.problems(text));
        assertFalse(
                ResultSchema.problems(text.replace("\"dtype\"", "\"type\"")).isEmpty(),
                "the schema finds what is missing");
        assertFalse(
                ResultSchema.problems(text.replace("[ 3.0 ]", "[ \"3\" ]")).isEmpty(), "the schema finds a wrong type");
        List<JsonNode> rows = ResultFile.read(Files.writeString(temporary.resolve("results.json"), text));
        assertEquals(List.of("pp16", "encode"), rows.stream().map(row -> row.get("name").asString()).toList());
    }

    @Test
    void whatTookNoTimeIsReadBack() throws IOException {
        String text = ResultFile.text(
                List.of(Rows.row(Trial.of(Trial.Part.ENCODE), "cpu", List.of(0.0, 0.0))), ResultFile.Format.JSON);
        assertEquals(1, ResultFile.read(Files.writeString(temporary.resolve("results.json"), text)).size());
    }

    @Test
    void ratesAreOfEachSample() {
        JsonNode row = JsonMapper.shared().valueToTree(ROWS.getFirst().fields());
        assertEquals(12, row.get("mean").asDouble());
        // 16 tokens in 8 ms and in 16 ms.
        assertEquals((2000 + 1000) / 2.0, row.get("rate_mean").asDouble());
        assertEquals("tok/s", row.get("rate_unit").asString());
        assertTrue(ROWS.getLast().rates().isEmpty());
    }

    @Test
    void jsonlIsOneRowALine() {
        List<String> lines = ResultFile.text(ROWS, ResultFile.Format.JSONL).lines().toList();
        assertEquals(2, lines.size());
        assertEquals("encode", JsonMapper.shared().readTree(lines.getLast()).get("name").asString());
    }

    @Test
    void csvQuotesWhatNeedsIt() {
        List<String> lines = ResultFile.text(ROWS, ResultFile.Format.CSV).lines().toList();
        assertEquals(3, lines.size());
        long columns = lines.getFirst().split(",").length;
        assertTrue(lines.getFirst().startsWith("kind,name,cold,"), lines.getFirst());
        for (String line : lines.subList(1, 3)) {
            assertTrue(line.contains("\"a \"\"CPU\"\", quoted\""), line);
            assertEquals(columns, line.replaceAll("\"([^\"]|\"\")*\"", "quoted").split(",", -1).length, line);
        }
        assertTrue(lines.get(1).contains(",8.0 16.0,"), lines.get(1));
    }

    @Test
    void markdownHasATableForEachSetting() {
        String text = ResultFile.text(
                List.of(ROWS.getFirst(), Rows.row(Trial.prefill(16), "tornado", List.of(1.0))), ResultFile.Format.MD);
        assertEquals(2, text.lines().filter(line -> line.matches("\\| model +\\| dtype .*")).count(), text);
        assertTrue(
                text.replaceAll(" +", " ").contains("| pp16 | 12.00 ± 5.66 | 1500.0 ± 707.1 | 2 | scalar: equal |"),
                text);
    }

    /** Results whose activations were rounded are told from others, and by what rounded them. */
    @Test
    void theRuntimeSaysWhatWasRounded() {
        DeviceInfo device = new DeviceInfo("0:0", "tornado", "GPU", "Test", "TornadoVM CUDA", "",
                DeviceInfo.Kind.GPU, 1, 1, 1, 256, 1, Set.of(DType.BF16));
        assertEquals("TornadoVM CUDA", Setting.runtime(device, false));
        assertEquals("TornadoVM CUDA, activations rounded to bf16", Setting.runtime(device, true));
        try (Backend cpu = Backends.open("cpu", BackendOptions.DEFAULT)) {
            assertEquals(cpu.device().runtime() + ", oneDNN", Setting.runtime(cpu.device(), true));
        }
    }

    @Test
    void whatIsNoResultFileIsNamed() throws IOException {
        for (String text : List.of("", "[]", "{}", "{\"format\": \"stormsight-results-1\"}",
                "{\"format\": \"stormsight-results-1\", \"rows\": [{\"name\": \"encode\", \"samples\": []}]}",
                "{\"format\": \"stormsight-results-1\", \"rows\": [{\"name\": \"encode\", \"samples\": [-1]}]}")) {
            Path file = Files.writeString(temporary.resolve("broken.json"), text);
            String message = assertThrows(IllegalArgumentException.class, () -> ResultFile.read(file)).getMessage();
            assertTrue(message.contains("broken.json"), message);
        }
        assertThrows(IllegalArgumentException.class, () -> ResultFile.read(temporary.resolve("nothing.json")));
    }
}

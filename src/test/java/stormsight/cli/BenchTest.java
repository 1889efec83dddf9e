package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.Goldens;
import stormsight.bench.ResultSchema;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** bench and compare as users call them, on a small model. Nothing here depends on how fast anything is. */
class BenchTest {
    private static final String MODEL = Goldens.folder("paligemma-mqa").toString();
    private static final List<String> COLD = List.of(
            "cold jvm", "cold load", "cold image", "cold encode", "cold prefill", "cold first token", "cold JVM JIT");

    @TempDir
    private Path temporary;

    private record Run(int exitCode, String out, String err) {}

    private static Run run(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int exitCode = Main.execute(new PrintWriter(out, true), new PrintWriter(err, true), arguments);
        return new Run(exitCode, out.toString(), err.toString());
    }

    /** Quick: no warm-up, one thread, two samples. */
    private static Run quick(String command, String... more) {
        List<String> arguments = new ArrayList<>(List.of(command, "-m", MODEL, "-r", "2", "--no-warmup", "-n", "3"));
        arguments.addAll(Arrays.asList(more));
        return run(arguments.toArray(String[]::new));
    }

    private static void fails(int exitCode, String said, String... arguments) {
        Run run = run(arguments);
        assertEquals(exitCode, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertTrue(run.err().contains(said), run.err());
        assertTrue(run.err().startsWith("stormsight: "), run.err());
        assertTrue(run.err().lines().count() <= 2, run.err());
    }

    private static List<String> names(JsonNode file) {
        return file.get("rows").valueStream().map(row -> row.get("name").asString()).toList();
    }

    @Test
    void benchWritesRowsThatFitTheSchema() throws IOException {
        Path output = temporary.resolve("results.json");
        Path plot = temporary.resolve("plot.svg");
        Run run = quick(
                "bench",
                "--backend",
                "cpu",
                "-t",
                "1",
                "-p",
                "4,20",
                "-d",
                "0,6",
                "-pg",
                "5,2",
                "--cold",
                "1",
                "--out",
                output.toString(),
                "--plot",
                plot.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of(), ResultSchema.problems(Files.readString(output)));
        JsonNode file = JsonMapper.shared().readTree(Files.readString(output));
        List<String> expected = new ArrayList<>(List.of(
                "image decode",
                "resize",
                "encode",
                "projector",
                "pp4",
                "pp20",
                "tg3@0",
                "tg3@6",
                "pp5+tg2",
                "first token"));
        expected.addAll(COLD);
        assertEquals(expected, names(file));
        for (JsonNode row : file.get("rows")) {
            boolean cold = row.get("cold").asBoolean();
            assertEquals(cold ? 1 : 2, row.get("samples").size());
            assertEquals(1, row.get("threads").asInt());
            assertEquals("cpu", row.get("backend").asString());
            assertFalse(row.get("checked_against").asString().isEmpty());
            assertTrue(row.get("mean").asDouble() > 0, row.toString());
            assertEquals(row.get("name").asString().matches("(pp|tg)\\d.*"), row.has("rate_mean"), row.toString());
        }
        // Small enough for the slow reference.
        assertTrue(
                file.get("rows").get(4).get("checked_against").asString().startsWith("scalar: cosine"),
                file.get("rows").get(4).toString());
        double sum = 0;
        for (JsonNode row : file.get("rows")) {
            sum += List.of("cold jvm", "cold load", "cold image", "cold encode", "cold prefill")
                            .contains(row.get("name").asString())
                    ? row.get("mean").asDouble()
                    : 0;
        }
        assertEquals(
                file.get("rows")
                        .get(expected.indexOf("cold first token"))
                        .get("mean")
                        .asDouble(),
                sum,
                1e-6 * sum);
        for (String row : expected) {
            assertTrue(run.out().replaceAll(" +", " ").contains("| " + row + " |"), run.out());
        }
        assertTrue(Files.readString(plot).contains("<svg"));
        assertTrue(Files.readString(temporary.resolve("plot-cold.svg")).contains("cold load"));
    }

    /** Models that compare or name have rows of their own, with what they encode a second. */
    @ParameterizedTest
    @CsvSource({"models/shapes-dual, 0", "src/test/resources/goldens/vit, 1", "tiny-blip2-itm, 0"})
    void benchTimesModelsThatCompareOrName(String model, int cold) throws IOException {
        String directory = model;
        List<String> expected = new ArrayList<>(List.of("image decode", "resize", "image", "image file"));
        if (model.contains("itm")) {
            directory = temporary.resolve(model).toString();
            assertEquals(0, run("synthesize", "--like", model, directory).exitCode());
            expected.addAll(List.of("text", "pair"));
        } else if (model.contains("dual")) {
            expected.add("text");
        }
        if (cold > 0) {
            expected.addAll(List.of(
                    "cold jvm", "cold load", "cold image", "cold encode", "cold first embedding", "cold JVM JIT"));
        }
        Path output = temporary.resolve("encoder.json");
        Path plot = temporary.resolve("encoder.svg");
        List<String> arguments = List.of(
                "bench", "-m", directory, "-r", "2", "--no-warmup", "--backend", "cpu", "-t", "1", "--cold",
                String.valueOf(cold));
        Run run = run(with(arguments, "--out", output.toString(), "--plot", plot.toString()));
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of(), ResultSchema.problems(Files.readString(output)));
        JsonNode file = JsonMapper.shared().readTree(Files.readString(output));
        assertEquals(expected, names(file));
        for (JsonNode row : file.get("rows")) {
            String name = row.get("name").asString();
            String rate = switch (name) {
                case "image", "image file" -> "image/s";
                case "text", "pair" -> name + "/s";
                default -> "";
            };
            assertEquals(rate, row.path("rate_unit").asString(""), name);
            if (!rate.isEmpty()) {
                double first = 1e3 / row.get("samples").get(0).asDouble();
                double second = 1e3 / row.get("samples").get(1).asDouble();
                assertEquals((first + second) / 2, row.get("rate_mean").asDouble(), 1e-6 * first);
                assertTrue(row.get("checked_against").asString().startsWith("scalar: cosine"), row.toString());
            }
        }
        assertTrue(Files.readString(plot).contains("Parts of an embedding"));
        if (cold == 0) {
            Run compared = run(with(arguments, "--against", output.toString(), "--tolerance", "1000"));
            assertEquals(0, compared.exitCode(), compared.err());
            assertTrue(compared.out().contains("image file"), compared.out());
        }
    }

    private static String[] with(List<String> arguments, String... more) {
        return Stream.concat(arguments.stream(), Stream.of(more)).toArray(String[]::new);
    }

    @Test
    void sizesOfPromptsMeanNothingToModelsThatCompare() {
        fails(2, "sizes of prompts and answers", "bench", "-m", "models/shapes-dual", "-p", "16", "--backend", "cpu");
    }

    /** Its projector has a row for each query, fewer than the tower has. */
    @Test
    void benchTimesAModelWithQueries() {
        Run run = run("bench", "-m", Goldens.folder("blip2-opt").toString(), "-r", "2", "--no-warmup", "-n", "3",
                "--backend", "cpu", "-t", "1", "-p", "8", "--cold", "0");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().contains("projector"), run.out());
    }

    @Test
    void benchComparesWithAFile() throws IOException {
        Path file = temporary.resolve("results.json");
        String[] options = {"--backend", "cpu", "-t", "1", "-p", "4", "--cold", "0"};
        assertEquals(0, quick("bench", with(options, "--out", file.toString())).exitCode());
        // Whatever the machine does, nothing is a hundred times slower than it is.
        Run same = quick("bench", with(options, "--against", file.toString(), "--tolerance", "100"));
        assertEquals(0, same.exitCode(), same.err());
        assertTrue(same.out().replaceAll(" +", " ").contains("| row | then ms | now ms | verdict |"), same.out());
        assertFalse(same.out().contains("not compared"), same.out());

        String text = Files.readString(file);
        Path impossible = Files.writeString(
                temporary.resolve("impossible.json"),
                Pattern.compile("\"samples\" : \\[[^]]*]")
                        .matcher(text)
                        .replaceAll("\"samples\" : [ 1e-9, 1.00000001e-9 ]"));
        Run slower = quick("bench", with(options, "--against", impossible.toString()));
        assertEquals(8, slower.exitCode(), slower.err());
        assertTrue(slower.out().contains("REGRESSION"), slower.out());

        Path other = Files.writeString(
                temporary.resolve("other.json"), text.replaceAll("\"cpu\" : \"[^\"]*\"", "\"cpu\" : \"another\""));
        Run incomparable = quick("bench", with(options, "--against", other.toString()));
        assertEquals(2, incomparable.exitCode(), incomparable.out());
        assertTrue(incomparable.out().contains("not compared: pp4 on cpu: cpu is "), incomparable.out());
        assertTrue(incomparable.err().contains("no row can be compared"), incomparable.err());
    }

    private static String[] with(String[] options, String... more) {
        List<String> all = new ArrayList<>(Arrays.asList(options));
        all.addAll(Arrays.asList(more));
        return all.toArray(String[]::new);
    }

    /** Each number of sequences has rows of its own, whose tokens are those of all sequences. */
    @Test
    void benchRunsSeveralSequencesTogether() throws IOException {
        Path output = temporary.resolve("results.json");
        Path plot = temporary.resolve("plot.svg");
        String[] options = {"--backend", "cpu", "-t", "1", "-p", "20", "-d", "0,20", "-pg", "5,2", "-b", "1,3"};
        Run run = quick("bench", with(options, "--cold", "0", "-o", output.toString(), "--plot", plot.toString()));
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of(), ResultSchema.problems(Files.readString(output)));
        JsonNode file = JsonMapper.shared().readTree(Files.readString(output));
        assertEquals(
                List.of("image decode", "resize", "encode", "projector", "pp20", "pp20 x3", "tg3@0", "tg3@0 x3",
                        "tg3@20", "tg3@20 x3", "pp5+tg2", "pp5+tg2 x3", "first token"),
                names(file));
        for (JsonNode row : file.get("rows")) {
            boolean together = row.get("name").asString().endsWith(" x3");
            assertEquals(together, row.has("sequences"), row.toString());
            if (together) {
                assertEquals(3, row.get("sequences").asInt());
                int tokens = 3 * (row.path("prompt_tokens").asInt(0) + row.path("new_tokens").asInt(0));
                double rate = 0;
                for (JsonNode sample : row.get("samples")) {
                    rate += tokens * 1e3 / sample.asDouble() / row.get("samples").size();
                }
                assertEquals(rate, row.get("rate_mean").asDouble(), 1e-6 * rate);
                String checked = row.get("checked_against").asString();
                assertTrue(checked.startsWith("scalar: cosine"), checked);
                assertTrue(checked.endsWith("; one by one: equal"), checked);
            }
        }
        assertTrue(Files.readString(plot).contains("tg3@20 x3"));

        Run same = quick("bench", with(options, "--cold", "0", "--against", output.toString(), "--tolerance", "100"));
        assertEquals(0, same.exitCode(), same.err());
        assertTrue(same.out().contains("| pp20 x3"), same.out());
        assertFalse(same.out().contains("not compared"), same.out());
        fails(2, "--parallel 17 is not in 1 .. 16", "bench", "-m", MODEL, "--parallel", "1,17");
    }

    /** The device's error is in steps of several sequences alone. */
    @Test
    void sequencesThatDifferFromThoseAloneAreNotTimed() {
        Run run = quick("bench", "--backend", "wrong", "--device", "together", "-p", "4", "--cold", "0", "-b", "1");
        assertEquals(0, run.exitCode(), run.err());
        run = quick("bench", "--backend", "wrong", "--device", "together", "-p", "4", "--cold", "0", "-b", "1,2");
        assertEquals(7, run.exitCode(), run.out() + run.err());
        assertTrue(run.err().contains("tg3@4 x2 on wrong differs from the same sequences one by one"), run.err());
        assertEquals("", run.out());
    }

    @Test
    void everyCheckFindsAWrongBackend() {
        for (String check : List.of("scalar", "cpu", "self")) {
            Run run = quick("bench", "--backend", "wrong", "-p", "4", "--cold", "0", "--check", check);
            assertEquals(7, run.exitCode(), check + ": " + run.out() + run.err());
            assertEquals("", run.out());
        }
    }

    @Test
    void modelsThatAreTooLargeForAReferenceAreCheckedAgainstThemselves() {
        for (String weights : List.of("stored", "q8")) {
            Run run = quick(
                    "bench",
                    "--backend",
                    "cpu",
                    "-p",
                    "4,20",
                    "-d",
                    "0,20",
                    "--cold",
                    "0",
                    "--check",
                    "self",
                    "--weights",
                    weights,
                    "--format",
                    "jsonl");
            assertEquals(0, run.exitCode(), run.err());
            assertEquals(9, run.out().lines().count(), run.out());
            assertTrue(
                    run.out()
                            .lines()
                            .filter(line -> line.contains("\"pp20\""))
                            .allMatch(line -> line.contains("itself, ")),
                    run.out());
        }
    }

    @Test
    void noBackendIsComparedWithItself() {
        for (String backend : List.of("cpu", "scalar")) {
            Run run = quick(
                    "bench", "--backend", backend, "-p", "4", "--cold", "0", "--check", backend, "--format", "jsonl");
            assertEquals(0, run.exitCode(), run.err());
            assertTrue(
                    run.out()
                            .lines()
                            .filter(line -> line.contains("\"pp4\""))
                            .allMatch(line -> line.contains("itself, ")),
                    run.out());
        }
    }

    @Test
    void compareWritesWhatItIsToldTo() throws IOException {
        Path output = temporary.resolve("comparison.txt");
        Run run = quick(
                "compare",
                "--backend",
                "cpu",
                "--config",
                "threads=1",
                "--config",
                "weights=q8",
                "-p",
                "4",
                "-b",
                "1,2",
                "--questions",
                "1",
                "--format",
                "md",
                "--out",
                output.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(run.out(), Files.readString(output));
        assertTrue(run.out().contains("baseline threads=1 weights=stored: "), run.out());
        assertTrue(run.out().contains("| tg3@4 x2"), run.out());
    }

    @Test
    void compareShowsSpeedAndAgreement() {
        Run run = quick(
                "compare",
                "--config",
                "backend=cpu threads=1",
                "--config",
                "backend=scalar",
                "--config",
                "backend=cpu threads=1 weights=q8",
                "-p",
                "4",
                "--questions",
                "2",
                "--format",
                "json");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of(), ResultSchema.problems(run.out()));
        JsonNode file = JsonMapper.shared().readTree(run.out());
        assertEquals(3 * List.of("encode", "projector", "pp4", "tg3@4", "first token").size(), file.get("rows").size());
        JsonNode comparison = file.get("comparison");
        assertEquals("backend=cpu threads=1 weights=stored", comparison.get("baseline").asString());
        assertEquals(2 * 5, comparison.get("speed").size());
        JsonNode agreement = comparison.get("agreement");
        assertEquals(3, agreement.size());
        JsonNode baseline = agreement.get(0);
        JsonNode scalar = agreement.get(1);
        JsonNode quantized = agreement.get(2);
        assertEquals(0, baseline.get("largest_logit_error").asDouble());
        assertEquals(1, scalar.get("share").asDouble(), scalar.toString());
        assertTrue(
                scalar.get("largest_logit_error").asDouble()
                        < 1e-3 * scalar.get("logit_scale").asDouble(),
                scalar.toString());
        assertEquals(
                baseline.get("perplexity").asDouble(),
                scalar.get("perplexity").asDouble(),
                1e-3 * baseline.get("perplexity").asDouble());
        assertTrue(
                quantized.get("largest_logit_error").asDouble()
                        > scalar.get("largest_logit_error").asDouble(),
                quantized.toString());
        assertTrue(baseline.get("text_tokens").asInt() > 0);
    }

    @Test
    void wrongOptionsAreOneLine() throws IOException {
        fails(2, "-p: '1-'", "bench", "-m", MODEL, "-p", "1-");
        fails(2, "--repetitions 0", "bench", "-m", MODEL, "-r", "0");
        fails(2, "--repetitions 1", "compare", "-m", MODEL, "-r", "1", "--weights", "stored,q8");
        fails(2, "--check 'nothing'", "bench", "-m", MODEL, "--check", "nothing");
        fails(2, "-pg '5'", "bench", "-m", MODEL, "-pg", "5");
        fails(2, "--threads 5000", "bench", "-m", MODEL, "-t", "5000", "--backend", "cpu");
        fails(2, "1 configuration:", "compare", "-m", MODEL);
        fails(2, "the same", "compare", "-m", MODEL, "--config", "threads=1", "--config", "threads=1");
        fails(2, "no key 'speed'; there are model, ", "compare", "-m", MODEL, "--config", "speed=1", "--config",
                "threads=1");
        fails(2, "no key 'precision'; write math=bf16", "compare", "-m", MODEL, "--config", "precision=bf16",
                "--config", "threads=1");
        fails(
                2,
                "nothing.json: no such file",
                "bench",
                "-m",
                MODEL,
                "--against",
                temporary.resolve("nothing.json").toString());
        fails(
                1,
                "is not a directory",
                "bench",
                "-m",
                MODEL,
                "--out",
                Path.of(MODEL, "config.json", "result.json").toString());
        fails(1, "it is a directory", "bench", "-m", MODEL, "--out", "/");
        fails(1, "it is a directory", "bench", "-m", MODEL, "--plot", "/");
        fails(1, "it is a directory", "roofline", "-m", MODEL, "--plot", "/");
        fails(2, "neither .svg nor .png", "bench", "-m", MODEL, "--plot", temporary.resolve("plot.pdf").toString());
    }

    /** Slashes, dots and where a path begins make no other model of it. */
    @Test
    void aModelIsTheSameHoweverItsPathIsWritten() {
        String relative = Path.of("").toAbsolutePath().relativize(Path.of(MODEL).toAbsolutePath()).toString();
        fails(2, "the same", "compare", "-m", MODEL, "-m", Path.of(MODEL).resolve(".").toString());
        fails(2, "the same", "compare", "-m", relative, "-m", Path.of(relative).toAbsolutePath().toString());
        fails(2, "the same", "compare", "--config", "model=" + MODEL, "--config", "model=" + MODEL + "/");
        fails(3, "nowhere: no such directory", "compare", "-m", MODEL, "-m", "nowhere");
    }

    @Test
    void errorsOfMeasuringProcessesKeepTheirExitCode() {
        fails(3, "no such directory", "bench", "-m", temporary.resolve("nowhere").toString());
        fails(4, "nothing.png", "bench", "-m", MODEL, "-i", temporary.resolve("nothing.png").toString());
        fails(5, "'quantum' is not present", "bench", "-m", MODEL, "--backend", "quantum");
        fails(6, "positions", "bench", "-m", MODEL, "--backend", "cpu", "-p", "100000");
    }
}

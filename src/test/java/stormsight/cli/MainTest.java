package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import stormsight.Goldens;
import stormsight.backend.BackendException;
import stormsight.checkpoint.CheckpointException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Every command as a user calls it: what it prints, its exit code, and one line for every error. */
class MainTest {
    private static final String GOLDEN = Goldens.folder("paligemma-mqa").toString();
    private static final String IMAGE = Goldens.folder("paligemma-mqa").resolve("input.png").toString();

    @TempDir
    private Path temporary;

    record Run(int exitCode, String out, String err) {}

    static Run run(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int exitCode = Main.execute(new PrintWriter(out, true), new PrintWriter(err, true), arguments);
        return new Run(exitCode, out.toString(), err.toString());
    }

    static void fails(int exitCode, String said, String... arguments) {
        Run run = run(arguments);
        assertEquals(exitCode, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertTrue(run.err().contains(said), run.err());
        assertTrue(run.err().startsWith("stormsight: "), run.err());
        assertTrue(run.err().lines().count() <= 2, run.err());
        assertFalse(run.err().contains("\tat "), run.err());
    }

    @Test
    void generateAnswers() throws IOException {
        JsonNode prompt = JsonMapper.shared()
                .readTree(Files.readString(Path.of(GOLDEN, "expected.json")))
                .get("prompts")
                .get(1);
        Run json = run(
                "generate",
                "--model",
                GOLDEN,
                "--image",
                IMAGE,
                "--prompt",
                prompt.get("text").asString(),
                "--backend",
                "cpu",
                "--threads",
                "1",
                "--json");
        assertEquals(0, json.exitCode(), json.err());
        JsonNode answer = JsonMapper.shared().readTree(json.out());
        assertEquals(prompt.get("greedy").size(), answer.get("tokens").size());
        for (int i = 0; i < answer.get("tokens").size(); i++) {
            assertEquals(prompt.get("greedy").get(i).asInt(), answer.get("tokens").get(i).get("id").asInt());
            assertTrue(answer.get("tokens").get(i).get("log_probability").asDouble() < 0);
        }
        assertEquals("end", answer.get("stop").asString());
        assertTrue(answer.get("seconds").get("prefill").asDouble() > 0);

        Run text = run("generate", "--model", GOLDEN, "--image", IMAGE, "--prompt", prompt.get("text").asString());
        assertEquals(0, text.exitCode(), text.err());
        assertEquals(answer.get("answer").asString() + System.lineSeparator(), text.out());
        for (String line :
                new String[] {"load", "image", "encode", "prefill", "first token", "decode", "peak memory"}) {
            assertTrue(text.err().lines().anyMatch(each -> each.startsWith(line)), line + " in " + text.err());
        }
    }

    @Test
    void generateReadsStandardInput() throws IOException {
        String expected = run("generate", "-m", GOLDEN, "-i", IMAGE, "-p", "caption en").out();
        InputStream terminal = System.in;
        try {
            System.setIn(Files.newInputStream(Path.of(IMAGE)));
            assertEquals(expected, run("generate", "-m", GOLDEN, "-i", "-", "-p", "caption en").out());
            System.setIn(new ByteArrayInputStream("caption en\n".getBytes(StandardCharsets.UTF_8)));
            assertEquals(expected, run("generate", "-m", GOLDEN, "-i", IMAGE, "-p", "-").out());
        } finally {
            System.setIn(terminal);
        }
        fails(2, "standard input", "generate", "-m", GOLDEN, "-i", "-", "-p", "-");
    }

    @Test
    void usageErrors() {
        fails(2, "a command is missing");
        fails(2, "--image", "generate", "--model", GOLDEN, "--prompt", "x");
        fails(2, "'--frobnicate'", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--frobnicate");
        fails(2, "--threads", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--threads", "0");
        fails(2, "--threads", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--threads", "1000000");
        fails(2, "--max-tokens", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--max-tokens", "0");
        fails(2, "--max-new-tokens", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--max-tokens", "many");
        fails(2, "top-p", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--top-p", "1.5");
        fails(2, "temperature", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--temperature", "-1");
        fails(2, "<image>", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "is <image> or <image>?");
    }

    @Test
    void checkpointErrors() throws IOException {
        fails(
                3,
                "no such directory",
                "generate",
                "-m",
                temporary.resolve("nowhere").toString(),
                "-i",
                IMAGE,
                "-p",
                "x");
        fails(3, "config.json", "generate", "-m", temporary.toString(), "-i", IMAGE, "-p", "x");
        Files.writeString(temporary.resolve("config.json"), "{\"model_type\": \"llama\"}");
        fails(3, "'llama' is not supported; supported are paligemma", "inspect", temporary.toString());
        Files.writeString(temporary.resolve("config.json"), "{\"model_type\": ");
        fails(3, "config.json", "inspect", temporary.toString());
        Goldens.copy("paligemma-mqa", temporary);
        Path weights = temporary.resolve("model.safetensors");
        byte[] whole = Files.readAllBytes(weights);
        Files.write(weights, Arrays.copyOf(whole, whole.length - 1));
        fails(3, "model.safetensors", "inspect", temporary.toString());
        Files.delete(temporary.resolve("tokenizer.json"));
        Files.write(weights, whole);
        fails(3, "tokenizer.json", "inspect", temporary.toString());
    }

    @Test
    void imageErrors() throws IOException {
        fails(4, "nothing.png", "generate", "-m", GOLDEN, "-i", temporary.resolve("nothing.png").toString(), "-p", "x");
        Path text = Files.writeString(temporary.resolve("text.png"), "this is no image");
        fails(4, "text.png", "generate", "-m", GOLDEN, "-i", text.toString(), "-p", "x");
    }

    @Test
    void backendErrors() {
        fails(5, "'quantum' is not present", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--backend", "quantum");
        fails(5, "7", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "x", "--backend", "cpu", "--device", "7");
    }

    @Test
    void limitErrors() {
        fails(6, "positions", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "cat ".repeat(9000));
        fails(
                6,
                "positions",
                "generate",
                "-m",
                GOLDEN,
                "-i",
                IMAGE,
                "-p",
                "x",
                "-n",
                String.valueOf(Integer.MAX_VALUE));
        fails(6, "positions", "inspect", GOLDEN, "-n", String.valueOf(Integer.MAX_VALUE));
        fails(6, "positions", "inspect", GOLDEN, "--prompt-tokens", String.valueOf(Integer.MAX_VALUE));
    }

    /** A full disk, or a reader that left: no success, and no work for nobody. */
    @Test
    void outputThatCannotBeWrittenIsAnError() {
        OutputStream full = new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                throw new IOException("no space left on device");
            }
        };
        for (String[] arguments : new String[][] {
            {"--version"},
            {"devices"},
            {"generate", "-m", GOLDEN, "-i", IMAGE, "-p", "caption en"},
            {"generate", "-m", GOLDEN, "-i", IMAGE, "-p", "caption en", "--json"}
        }) {
            StringWriter err = new StringWriter();
            assertEquals(1, Main.execute(new PrintWriter(full, true), new PrintWriter(err, true), arguments));
            assertEquals("stormsight: standard output cannot be written" + System.lineSeparator(), err.toString());
        }
    }

    @Test
    void tooLittleMemoryIsOneLine() {
        InputStream terminal = System.in;
        try {
            System.setIn(new InputStream() {
                @Override
                public int read() {
                    throw new OutOfMemoryError("Java heap space");
                }
            });
            fails(5, "not enough memory: Java heap space", "generate", "-m", GOLDEN, "-i", IMAGE, "-p", "-");
        } finally {
            System.setIn(terminal);
        }
    }

    @Test
    void promptsMayBeginWithAnAt() throws IOException {
        Path file = Files.writeString(temporary.resolve("prompt.txt"), "several words");
        Run run = run("generate", "-m", GOLDEN, "-i", IMAGE, "-p", "@" + file, "-n", "1");
        assertEquals(0, run.exitCode(), run.err());
    }

    @Test
    void tokenizersOfOtherModelsAreRefused() throws IOException {
        Goldens.copy("paligemma-mqa", temporary);
        Path config = temporary.resolve("config.json");
        Files.writeString(config, Files.readString(config).replaceFirst("(\"image_token_index\": ?)\\d+", "$11"));
        fails(3, "<image>", "generate", "-m", temporary.toString(), "-i", IMAGE, "-p", "x");
    }

    @Test
    void preprocessingThatWouldDivideByZeroIsRefused() throws IOException {
        Goldens.copy("paligemma-mqa", temporary);
        Path config = temporary.resolve("preprocessor_config.json");
        String text = Files.readString(config);
        Files.writeString(config, text.replaceFirst("\"image_std\":\\s*\\[[^]]*]", "\"image_std\": [0.5, 0, 0.5]"));
        fails(3, "image_std", "inspect", temporary.toString());
        Files.writeString(config, text.replaceFirst("\"do_rescale\": true", "\"do_rescale\": false"));
        fails(3, "do_rescale", "inspect", temporary.toString());
    }

    @Test
    void verifyTellsWhetherValuesAgree() throws IOException {
        Run same = run("verify", "--golden", GOLDEN, "--backend", "scalar");
        assertEquals(0, same.exitCode(), same.err());
        assertTrue(same.out().contains("p0.prefill_logits"), same.out());
        assertTrue(same.out().contains("all values agree"), same.out());
        Goldens.copy("paligemma-mqa", temporary);
        Path expected = temporary.resolve("expected.json");
        Files.writeString(
                expected, Files.readString(expected).replaceFirst("\"greedy\": ?\\[\\s*429", "\"greedy\": [430"));
        Run different = run("verify", "--golden", temporary.toString());
        assertEquals(7, different.exitCode(), different.out());
        assertTrue(different.out().contains("p0.greedy") && different.out().contains("DIFFERS"), different.out());
    }

    @Test
    void verifyComparesBackends() {
        Run same = run("verify", "--model", GOLDEN, "--image", IMAGE, "--backend", "cpu", "--oracle", "scalar");
        assertEquals(0, same.exitCode(), same.err());
        assertTrue(same.out().contains("decoder layer 1") && same.out().contains(" agree"), same.out());
        fails(2, "--golden brings its own model", "verify", "--golden", GOLDEN, "--model", GOLDEN);
        fails(2, "--golden or --image is missing", "verify");
    }

    @Test
    void verifyNamesWhatIsWrongWithAFolder() throws IOException {
        Goldens.copy("paligemma-mqa", temporary);
        Path json = temporary.resolve("expected.json");
        Files.writeString(json, "{}");
        fails(3, "expected.json: no prompts", "verify", "--golden", temporary.toString());
        String recorded = Files.readString(Goldens.folder("paligemma-mqa").resolve("expected.json"));
        String[][] changes = {
            {"\"ids\":", "\"other\":", "prompts[0]: \"ids\" is missing"},
            {"\"greedy\":", "\"other\":", "prompts[0]: \"greedy\" is missing"},
            {"\"greedy\":", "\"greedy\": [], \"other\":", "prompts[0].greedy: no tokens"},
            {"\"greedy\":", "\"greedy\": [1e9], \"other\":", "prompts[0].greedy[0]: "},
            {"\"text\":", "\"other\":", "prompts[0]: \"text\" is missing, which the folder's tokenizer is checked"},
            {"\"text\":", "\"text\": 7, \"other\":", "prompts[0].text: 7 found, a text expected"},
            {"\"text\":", "\"images\": [1], \"text\":", "prompts[0].images[0]: 1 found, an integer from 0 to 0 expected"
            },
            {
                "\"base_token\":",
                "\"base_token\": -1, \"other\":",
                "knockout[0].base_token: -1 found, an integer from 0 to 671 expected"
            },
            {"\"windows\":", "\"windows\": [[0]], \"other\":", "knockout[0].windows: 1 values found, 4 expected"},
            {"\"prompts\":", "\"prompts\": 3, \"other\":", "prompts: 3 found, an array expected"}
        };
        for (String[] change : changes) {
            Files.writeString(json, recorded.replaceFirst(change[0], change[1]));
            Run run = run("verify", "--golden", temporary.toString(), "--backend", "cpu");
            assertEquals(3, run.exitCode(), change[2] + " in " + run.err());
            assertTrue(run.err().contains("expected.json: " + change[2]), run.err());
            assertEquals(1, run.err().lines().count(), run.err());
        }
    }

    @Test
    void synthesizedCheckpointRuns() throws IOException {
        Path first = temporary.resolve("first");
        Path second = temporary.resolve("second");
        assertEquals(0, run("synthesize", "--like", "tiny", "--seed", "7", first.toString()).exitCode());
        assertEquals(0, run("synthesize", "--like", "tiny", "--seed", "7", second.toString()).exitCode());
        assertEquals(-1, Files.mismatch(first.resolve("model.safetensors"), second.resolve("model.safetensors")));
        Run inspected = run("inspect", first.toString());
        assertEquals(0, inspected.exitCode(), inspected.err());
        assertTrue(inspected.out().contains("PaliGemma 1, 56 px"), inspected.out());
        Run answered = run("generate", "-m", first.toString(), "-i", IMAGE, "-p", "caption en", "-n", "5");
        assertEquals(0, answered.exitCode(), answered.err());
        fails(2, "is not empty", "synthesize", "--like", "tiny", first.toString());
        fails(2, "paligemma2-28b-896", "synthesize", "--like", "gpt", temporary.resolve("third").toString());
        assertFalse(Files.exists(temporary.resolve("third")));
    }

    @Test
    void devicesMarksTheDefault() {
        Run devices = run("devices");
        assertEquals(0, devices.exitCode(), devices.err());
        assertTrue(devices.out().lines().anyMatch(line -> line.startsWith("* ")), devices.out());
        assertTrue(devices.out().lines().anyMatch(line -> line.contains("cpu 0")), devices.out());
    }

    /** The line is about the files, in whichever order the two came; the trace has the device, too. */
    @Test
    void whatChangedFilesExplainIsInTheTrace() {
        CheckpointException changed = new CheckpointException(Path.of("model.safetensors"), "was changed");
        BackendException lost = new BackendException("the device is lost");
        lost.addSuppressed(changed);
        CheckpointException explained = new CheckpointException(Path.of("model.safetensors"), "was changed");
        explained.addSuppressed(new BackendException("the device is lost"));
        for (RuntimeException thrown : List.of(lost, explained)) {
            Main main = new Main();
            new CommandLine(main).parseArgs("--verbose");
            StringWriter err = new StringWriter();
            assertEquals(3, main.report(thrown, new PrintWriter(err, true)));
            String said = err.toString();
            assertTrue(said.startsWith("stormsight: model.safetensors: was changed" + System.lineSeparator()), said);
            assertTrue(said.contains("CheckpointException: model.safetensors: was changed"), said);
            assertTrue(said.contains("BackendException: the device is lost"), said);
        }
    }

    @Test
    void helpNamesEveryCommandAndExitCode() {
        Run help = run("--help");
        assertEquals(0, help.exitCode());
        for (String said :
                new String[] {"generate", "verify", "inspect", "synthesize", "devices", "generate-completion", "130"}) {
            assertTrue(help.out().contains(said), said);
        }
        // The list shows the first part of each description.
        for (String name : Main.COMMANDS) {
            CommandSpec spec = new CommandLine(Main.command(name)).getCommandSpec();
            assertTrue(spec.usageMessage().description()[0].endsWith("."), name);
        }
        assertTrue(run("generate-completion").out().contains("complete"));
        assertTrue(run("--version").out().startsWith("stormsight "));
    }

    @Test
    void aCommandAloneIsWhatItIsAmongAll() {
        for (String name : Main.COMMANDS) {
            Run alone = run(name, "--help");
            assertEquals(0, alone.exitCode(), name);
            assertTrue(alone.out().startsWith("Usage: stormsight " + name + " "), alone.out());
            assertEquals(run("--verbose", name, "--help").out(), alone.out());
        }
    }
}

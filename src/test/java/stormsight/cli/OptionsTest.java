package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static stormsight.cli.MainTest.fails;
import static stormsight.cli.MainTest.run;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.lang.reflect.ParameterizedType;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;
import stormsight.Goldens;
import stormsight.checkpoint.CheckpointException;
import stormsight.model.Preset;
import stormsight.model.family.Families;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What people type: options under the names that they know from elsewhere, values of every kind, and what comes out as
 * JSON.
 */
class OptionsTest {
    private static final String MODEL = Goldens.folder("paligemma-mqa").toString();
    private static final String IMAGE = Goldens.folder("paligemma-mqa").resolve("input.png").toString();

    @TempDir
    private Path temporary;

    private static MainTest.Run ask(String... more) {
        List<String> arguments = new ArrayList<>(List.of("generate", "-m", MODEL, "--backend", "cpu"));
        arguments.addAll(Arrays.asList(more));
        return run(arguments.toArray(String[]::new));
    }

    private static JsonNode json(String... arguments) {
        MainTest.Run run = run(arguments);
        assertEquals(0, run.exitCode(), run.err());
        return JsonMapper.shared().readTree(run.out());
    }

    @Test
    void namesThatPeopleKnow() {
        MainTest.Run plain = ask(
                "--image",
                IMAGE,
                "--prompt",
                "caption en",
                "--max-tokens",
                "3",
                "--temperature",
                "0",
                "--threads",
                "1");
        assertEquals(0, plain.exitCode(), plain.err());
        assertEquals(plain.out(), ask("-i", IMAGE, "-p", "caption en", "-n", "3", "--temp", "0", "-t", "1").out());
        assertEquals(plain.out(), ask("-i", IMAGE, "-p", "caption en", "--max-new-tokens", "3").out());
    }

    /** A name means the same wherever it is taken, and has the same other names. */
    @Test
    void aNameHasOneMeaning() {
        Map<String, Set<String>> names = new HashMap<>();
        for (String command : Main.COMMANDS) {
            for (OptionSpec option : new CommandLine(Main.command(command)).getCommandSpec().options()) {
                // A prompt has its length in a benchmark, as with llama-bench.
                boolean measures = command.equals("bench") || command.equals("compare");
                for (String name : option.names()) {
                    if (!(measures && name.equals("-p"))) {
                        Set<String> before = names.putIfAbsent(name, Set.of(option.names()));
                        assertTrue(
                                before == null || before.equals(Set.of(option.names())),
                                command + " " + name + ": " + before);
                    }
                }
            }
        }
        assertEquals(Set.of("-o", "--out"), names.get("-o"));
        assertEquals(Set.of("--format"), names.get("--format"));
        assertEquals(Set.of("-n", "--max-new-tokens", "--max-tokens"), names.get("-n"));
        assertEquals(Set.of("-t", "--threads"), names.get("-t"));
        assertEquals(Set.of("--prompt-tokens"), names.get("--prompt-tokens"));
        assertNull(names.get("--output"));
    }

    /** Without the chat template, a prompt can hold a conversation. */
    @Test
    void aRawPromptIsAskedAsItStands() throws IOException {
        Path folder = Goldens.folder("llava-chat");
        JsonNode prompts =
                JsonMapper.shared().readTree(Files.readString(folder.resolve("expected.json"))).get("prompts");
        String image = folder.resolve("input_0.png").toString();
        String[] command = {"generate", "-m", folder.toString(), "--backend", "cpu", "-i", image, "-n", "12", "--json"};
        for (int prompt : new int[] {0, 2}) {
            List<String> raw = new ArrayList<>(Arrays.asList(command));
            raw.addAll(List.of("--raw-prompt", "-p", prompts.get(prompt).get("text").asString()));
            JsonNode answer = json(raw.toArray(String[]::new));
            assertEquals(prompts.get(prompt).get("text_skip_special").asString(), answer.get("answer").asString());
            assertTrue(answer.get("inputs").get("raw_prompt").asBoolean());
        }
        fails(
                2,
                "--prompt: a prompt without the chat template says with <image> where the image stands",
                "generate",
                "-m",
                folder.toString(),
                "-i",
                image,
                "--raw-prompt",
                "-p",
                "What is this?");
    }

    @Test
    void asksAboutSeveralImages() throws IOException {
        Path folder = Goldens.folder("paligemma-multi");
        JsonNode prompts =
                JsonMapper.shared().readTree(Files.readString(folder.resolve("expected.json"))).get("prompts");
        String first = folder.resolve("input_0.png").toString();
        String second = folder.resolve("input_1.png").toString();
        String[] command = {
            "generate", "-m", folder.toString(), "--backend", "cpu", "-n", "12", "--json", "-i", first, "-i", second,
            "-p"
        };
        for (int prompt : new int[] {0, 1}) {
            List<String> arguments = new ArrayList<>(Arrays.asList(command));
            arguments.add(prompts.get(prompt).get("text").asString());
            JsonNode found = json(arguments.toArray(String[]::new));
            assertEquals(prompts.get(prompt).get("text_skip_special").asString(), found.get("answer").asString());
            assertEquals(2, found.get("inputs").get("images").size());
        }
        // Images that the text does not place stand before it.
        List<String> arguments = new ArrayList<>(Arrays.asList(command));
        arguments.add(prompts.get(0).get("text").asString().replace("<image>", ""));
        assertEquals(
                prompts.get(0).get("text_skip_special").asString(),
                json(arguments.toArray(String[]::new)).get("answer").asString());
        arguments.set(arguments.size() - 1, "<image>caption en");
        fails(
                2,
                "--prompt: the prompt has 1 places <image> for 2 images",
                arguments.toArray(String[]::new));
        arguments.add("--draw");
        arguments.add("x.png");
        fails(2, "--boxes, --draw and --masks are for one image", arguments.toArray(String[]::new));
    }

    /** The embedded model finds a star where the card of the example says. */
    @Test
    void boxesComeInPixels() throws IOException {
        Path drawn = temporary.resolve("drawn.png");
        MainTest.Run text = run("generate", "--backend", "cpu", "-i", "examples/kitchen.png", "-p", "detect star",
                "--boxes", "text", "--draw", drawn.toString());
        assertEquals(0, text.exitCode(), text.err());
        Matcher line = Pattern.compile(" *(\\d+) +(\\d+) +(\\d+) +(\\d+)  star\\s*").matcher(text.out());
        assertTrue(line.matches(), text.out());
        double[] known = {159, 250, 111, 111};
        for (int i = 0; i < known.length; i++) {
            assertEquals(known[i], Double.parseDouble(line.group(i + 1)), 8, text.out());
        }
        assertTrue(Files.size(drawn) > 0);
        JsonNode coco = json("generate", "--backend", "cpu", "-i", "examples/kitchen.png", "-p", "detect star",
                "--boxes", "coco");
        assertEquals("star", coco.get("categories").get(0).get("name").asString());
        assertEquals(448, coco.get("images").get(0).get("width").asInt());
        JsonNode annotation = coco.get("annotations").get(0);
        assertEquals(Integer.parseInt(line.group(3)), annotation.get("bbox").get(2).asInt());
        double score = annotation.get("score").asDouble();
        assertTrue(score > 0 && score <= 1, annotation.toString());
        MainTest.Run none = run("generate", "--backend", "cpu", "-i", "examples/kitchen.png", "-p", "caption en",
                "--boxes", "json");
        assertEquals("[ ]", none.out().strip());
        assertTrue(none.err().contains("The answer marks no object: "), none.err());
        fails(2, "--boxes and --json exclude each other", "generate", "-i", "examples/kitchen.png", "-p", "detect star",
                "--boxes", "json", "--json");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "-n hello", "--json", "-5 degrees", "-h", "@file", "--unknown=1", "-i", "- a\n- b", "--", "-- x"
            })
    void aValueMayBeginWithADash(String prompt) {
        MainTest.Run attached = ask("-i", IMAGE, "--prompt=" + prompt, "-n", "2");
        assertEquals(0, attached.exitCode(), attached.err());
        assertFalse(attached.out().isBlank());
    }

    @Test
    void aValueMayStandAloneUnlessItIsTheNameOfAnOption() {
        String image = ask("-i", IMAGE, "--prompt=-5 degrees", "-n", "2").out();
        assertEquals(image, ask("-i", IMAGE, "--prompt", "-5 degrees", "-n", "2").out());
        assertEquals(0, ask("-i", IMAGE, "-p", "-n hello", "-n", "2").exitCode());
        assertEquals(
                ask("-i", IMAGE, "--prompt=--", "-n", "2").out(), ask("-i", IMAGE, "-p", "--", "-n", "2").out());
        // Alone it ends the options.
        assertEquals(0, run("inspect", "--", MODEL).exitCode());
        fails(
                2,
                "--prompt needs a value before --json; a value that is the name of an option is written "
                        + "--prompt=--json",
                "generate",
                "-m",
                MODEL,
                "-i",
                IMAGE,
                "--prompt",
                "--json");
        fails(
                2,
                "-p needs a value before --max-tokens=3",
                "generate",
                "-m",
                MODEL,
                "-i",
                IMAGE,
                "-p",
                "--max-tokens=3");
        fails(2, "--prompt", "generate", "-m", MODEL, "-i", IMAGE, "--prompt");
    }

    @Test
    void imagesComeFromUrlsOfFilesAndOfData() throws IOException {
        String expected = ask("-i", IMAGE, "-p", "caption en", "-n", "3").out();
        byte[] file = Files.readAllBytes(Path.of(IMAGE));
        String base64 = Base64.getEncoder().encodeToString(file);
        Path spaced = Files.copy(Path.of(IMAGE), temporary.resolve("with space é.png"));
        StringBuilder percent = new StringBuilder();
        for (byte b : file) {
            percent.append(String.format("%%%02X", b));
        }
        for (String image : List.of(
                Path.of(IMAGE).toAbsolutePath().toUri().toString(),
                spaced.toUri().toString(),
                "data:image/png;base64," + base64,
                "DATA:;base64," + base64.replace("+", "%2B"),
                "data:image/png," + percent)) {
            MainTest.Run run = ask("-i", image, "-p", "caption en", "-n", "3");
            assertEquals(0, run.exitCode(), run.err());
            assertEquals(expected, run.out());
        }
        MainTest.Run lens = run(
                "lens",
                "-m",
                MODEL,
                "-i",
                "data:image/png;base64," + base64,
                "-p",
                "answer en what?",
                "-n",
                "2",
                "--backend",
                "cpu");
        assertEquals(0, lens.exitCode(), lens.err());
    }

    /** In every command, not in generate alone. */
    @Test
    void imagesComeFromStandardInput() throws IOException {
        InputStream terminal = System.in;
        try {
            for (List<String> command : List.of(
                    List.of("generate"),
                    List.of("lens"),
                    List.of("verify", "--backend", "cpu"),
                    List.of("attend", "-o", temporary.toString()))) {
                System.setIn(Files.newInputStream(Path.of(IMAGE)));
                List<String> arguments = new ArrayList<>(command);
                arguments.addAll(List.of("-m", MODEL, "-i", "-", "-p", "caption en", "-n", "1"));
                MainTest.Run run = run(arguments.toArray(String[]::new));
                assertEquals(0, run.exitCode(), run.err());
            }
            System.setIn(InputStream.nullInputStream());
            fails(4, "--image -: standard input is empty", "generate", "-m", MODEL, "-i", "-", "-p", "caption en");
        } finally {
            System.setIn(terminal);
        }
    }

    @Test
    void otherUrlsAreRefusedWithWhatToDo() {
        for (String command : new String[] {"generate", "attend", "knockout", "lens", "verify"}) {
            for (String url : new String[] {
                "https://example.com/cat.jpg",
                "HTTP://example.com/cat.jpg",
                "ftp://example.com/cat.jpg",
                "s3://bucket/cat"
            }) {
                List<String> arguments = new ArrayList<>(List.of(command, "-i", url, "-p", "x"));
                arguments.addAll(command.equals("attend") ? List.of("-o", temporary.toString()) : List.of());
                fails(
                        4,
                        "is a URL, and nothing is downloaded here: download it first",
                        arguments.toArray(String[]::new));
            }
        }
        fails(4, "data:image/png;base64,@@: holds nothing", "generate", "-i", "data:image/png;base64,@@", "-p", "x");
        fails(4, "'': is an empty name", "generate", "-i", "", "-p", "x");
        fails(4, "is not base64", "generate", "-i", "data:image/png;base64,a", "-p", "x");
        fails(4, "the comma before the data is missing", "generate", "-i", "data:image/png;base64", "-p", "x");
        fails(4, "data-url", "generate", "-i", "data:,no%20image", "-p", "x");
        fails(4, "is not a URL of a file on this machine", "generate", "-i", "file://other.machine/cat.jpg", "-p", "x");
        String url = "data:text/plain" + "x".repeat(100_000);
        assertTrue(run("generate", "-i", url, "-p", "x").err().length() < 300);
    }

    @Test
    void aPromptFromWindowsIsTheSame() {
        String expected = ask("-i", IMAGE, "-p", "caption en", "-n", "3").out();
        InputStream terminal = System.in;
        try {
            for (String text :
                    new String[] {"\uFEFFcaption en\r\n", "\uFEFFcaption en", "caption en\r\n\r\n", "caption en\n"}) {
                System.setIn(new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)));
                assertEquals(expected, ask("-i", IMAGE, "-p", "-", "-n", "3").out());
            }
            for (String nothing : new String[] {"", "\n", "\uFEFF\r\n"}) {
                System.setIn(new ByteArrayInputStream(nothing.getBytes(StandardCharsets.UTF_8)));
                fails(2, "standard input is empty", "generate", "-m", MODEL, "-i", IMAGE, "-p", "-");
            }
            for (Charset charset : List.of(StandardCharsets.UTF_16, StandardCharsets.ISO_8859_1)) {
                System.setIn(new ByteArrayInputStream("answer en caf\u00e9".getBytes(charset)));
                fails(2, "--prompt -: standard input is not UTF-8", "generate", "-m", MODEL, "-i", IMAGE, "-p", "-");
                System.setIn(new ByteArrayInputStream("answer en caf\u00e9".getBytes(charset)));
                fails(2, "standard input is not UTF-8", "chat", "-m", MODEL, "-i", IMAGE);
            }
        } finally {
            System.setIn(terminal);
        }
        assertEquals(expected, ask("-i", IMAGE, "-p", "\uFEFFcaption en", "-n", "3").out());
    }

    /** The JVM's errors end a command like any other: here thrown by whoever reads the prompt. */
    @Test
    void errorsOfTheJvmAreOneLine() {
        InternalError explained = new InternalError("a fault occurred in an unsafe memory access operation");
        explained.addSuppressed(new CheckpointException(Path.of("model.safetensors"), "was changed"));
        Map<Error, String> said = Map.of(
                explained, "3 stormsight: model.safetensors: was changed",
                new StackOverflowError(), "1 internal error: the stack is full",
                new NoClassDefFoundError("some/Type"), "1 a part of Stormsight or of a library cannot be loaded: ",
                new ExceptionInInitializerError(new IllegalStateException("a reason")),
                        "1 cannot be loaded: java.lang.IllegalStateException: a reason",
                new UnsatisfiedLinkError("libx.so: noexec"), "1 libx.so: noexec",
                new InternalError("a fault occurred in an unsafe memory access operation"),
                        "3 a file of the model was cut short",
                new InternalError("something else"), "1 internal error: java.lang.InternalError: something else",
                new OutOfMemoryError("Java heap space"), "5 not enough memory: Java heap space");
        InputStream terminal = System.in;
        try {
            said.forEach((error, line) -> {
                System.setIn(new InputStream() {
                    @Override
                    public int read() {
                        throw error;
                    }
                });
                fails(line.charAt(0) - '0', line.substring(2), "generate", "-m", MODEL, "-i", IMAGE, "-p", "-");
            });
        } finally {
            System.setIn(terminal);
        }
    }

    @Test
    void reportsMakeTheirFolders() {
        Path folder = temporary.resolve("new/folder");
        MainTest.Run run = run(
                "attend",
                "-m",
                MODEL,
                "-i",
                IMAGE,
                "-p",
                "caption en",
                "-n",
                "1",
                "-o",
                folder.toString(),
                "--html",
                folder.resolve("page/report.html").toString(),
                "--backend",
                "cpu");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(Files.exists(folder.resolve("page/report.html")));
    }

    @Test
    void placesThatCannotBeWrittenAreRefusedFirst() throws IOException {
        Path file = Files.writeString(temporary.resolve("file"), "");
        for (String option : new String[] {"--out", "--html"}) {
            fails(
                    1,
                    file + " is not a directory",
                    "knockout",
                    "-m",
                    MODEL,
                    "-i",
                    IMAGE,
                    "-p",
                    "x",
                    option,
                    file.resolve("below").toString());
        }
        fails(1, file + " is not a directory", "bench", "-m", MODEL, "--out", file.resolve("below.json").toString());
        fails(1, "it is a directory", "bench", "-m", MODEL, "--out", temporary.toString());
    }

    @Test
    void everyCommandThatTellsTellsJson() {
        JsonNode inspected = json("inspect", "-m", MODEL, "--json");
        assertEquals(inspected, json("inspect", MODEL, "--json"));
        assertTrue(
                inspected.get("parameters").asLong() > 0
                        && inspected.at("/bytes/weights").asLong() > 0,
                inspected.toString());
        fails(2, "both given", "inspect", MODEL, "-m", MODEL);
        assertEquals("shapes (embedded)", json("inspect", "--json").get("model").asString());
        JsonNode devices = json("devices", "--json");
        assertEquals(
                1,
                devices.get("backends")
                        .valueStream()
                        .filter(backend -> backend.get("default").asBoolean())
                        .count());
        assertTrue(
                devices.get("backends")
                        .valueStream()
                        .anyMatch(backend -> backend.get("backend").asString().equals("cpu")
                                && backend.get("devices").size() == 1),
                devices.toString());
        JsonNode demo = json("demo", "--json", "--backend", "cpu");
        assertTrue(demo.get("answers").size() > 5, demo.toString());
        JsonNode verified = json("verify", "-m", MODEL, "-i", IMAGE, "-n", "1", "--backend", "cpu", "--json");
        assertEquals("scalar", verified.get("oracle").asString());
        assertTrue(verified.get("agree").asBoolean() && verified.get("values").size() > 5, verified.toString());
        assertTrue(json("verify", "--golden", MODEL, "--backend", "cpu", "--json").get("agree").asBoolean());
        JsonNode plan = json("plan", "-m", MODEL, "--backend", "cpu", "--json");
        assertEquals(
                List.of("encode", "prefill", "decode"),
                plan.get("programs")
                        .valueStream()
                        .map(each -> each.get("program").asString())
                        .toList());
        assertTrue(plan.toString().contains("q_proj.weight"), plan.toString());
    }

    /** A precision that somebody names is kept, or refused in one line. */
    @Test
    void aPrecisionIsNeverReplaced() {
        String[] plan = {"plan", "--like", "paligemma-3b-224", "--backend", "cpu"};
        MainTest.Run none = MainTest.run(with(plan, "--precision", "bf16"));
        assertEquals(5, none.exitCode());
        assertTrue(none.err().contains("is for tensor cores, which ") && none.err().lines().count() == 1, none.err());
        MainTest.Run unknown = MainTest.run(with(plan, "--precision", "f16"));
        assertEquals(2, unknown.exitCode());
        assertTrue(unknown.err().startsWith("stormsight: --precision is bf16 or left out, not 'f16'"), unknown.err());
        MainTest.Run both = MainTest.run(with(plan, "--precision", "bf16", "--strict-math"));
        assertEquals(2, both.exitCode());
        assertTrue(both.err().contains("--strict-math keeps in 32 bits"), both.err());
        assertEquals("fast", json(with(plan, "--json")).get("precision").asString());
        assertEquals("strict", json(with(plan, "--json", "--strict-math")).get("precision").asString());
    }

    private static String[] with(String[] arguments, String... more) {
        return Stream.concat(Arrays.stream(arguments), Arrays.stream(more)).toArray(String[]::new);
    }

    /** A model of 28B, of which nothing is on this machine, in memory that this machine need not have. */
    @Test
    void plansModelsThatAreNotHere() {
        JsonNode plan = json("plan", "--like", "paligemma2-28b-896", "--backend", "cpu", "--json");
        assertEquals("paligemma2-28b-896", plan.get("model").asString());
        JsonNode memory = plan.get("memory");
        assertEquals(55.3e9, memory.get("weights").asDouble(), 0.1e9);
        Map<Integer, List<String>> fits = new LinkedHashMap<>();
        memory.get("cards").forEach(card -> fits.put(card.get("gb").asInt(), Stream.of("bf16", "q8", "q4")
                .filter(form -> card.get(form).asBoolean()).toList()));
        assertEquals(
                Map.of(24, List.of("q4"), 48, List.of("q8", "q4"), 80, List.of("bf16", "q8", "q4"),
                        141, List.of("bf16", "q8", "q4")),
                fits);
        String text = MainTest.run("plan", "--like", "paligemma-3b-224", "--weights", "q8", "--backend", "cpu").out();
        assertTrue(text.contains("memory: ") && text.contains("24 GB   fits") && !text.contains("bf16: "), text);
        MainTest.Run both = MainTest.run("plan", "--like", "paligemma-3b-224", "-m", MODEL);
        assertEquals(2, both.exitCode());
        assertTrue(both.err().contains("--like paligemma-3b-224 stands for a model; leave out --model"), both.err());
        for (String[] option : new String[][] {{"--adapter", "nowhere"}, {"--resize", "bilinear"}, {"--strict"}}) {
            MainTest.fails(2, "leave out " + option[0], Stream.concat(
                            Stream.of("plan", "--like", "paligemma-3b-224", "--backend", "cpu"), Stream.of(option))
                    .toArray(String[]::new));
        }
        assertTrue(MainTest.run("plan", "--like", "x").err().contains("--like x is not known; there are "));
    }

    /** Only decoding has a row for each sequence. */
    @Test
    void plansSeveralSequences() {
        List<Integer> rows = new ArrayList<>();
        json("plan", "--like", "tiny-llava", "--backend", "cpu", "--parallel", "16", "--json").get("programs")
                .forEach(program -> rows.add(program.get("rows").asInt()));
        assertEquals(16, rows.get(2));
        assertTrue(rows.get(1) > 16, rows.toString());
        MainTest.fails(2, "--parallel 17 is not in 1 .. 16", "plan", "-b", "17");
        MainTest.fails(2, "--parallel 2 is of models that answer, which tiny-clip does not; leave it out", "plan",
                "--like", "tiny-clip", "--backend", "cpu", "-b", "2");
    }

    static Stream<String> presets() {
        return Families.presets().stream().map(Preset::name);
    }

    @ParameterizedTest
    @MethodSource("presets")
    void plansEveryPreset(String name) {
        JsonNode plan = json("plan", "--like", name, "--backend", "cpu", "--json");
        assertEquals(name, plan.get("model").asString());
        assertTrue(plan.get("memory").get("weights").asLong() > 0, plan.get("memory").toString());
    }

    @Test
    void sourcesNeedADeviceAndANewFolder(@TempDir Path folder) throws IOException {
        String[] plan = {"plan", "-m", MODEL, "--backend", "cpu", "--sources", folder.toString()};
        MainTest.Run none = MainTest.run(plan);
        assertEquals(5, none.exitCode());
        assertTrue(none.err().contains("runs Java as it is and generates no kernels; choose a device"), none.err());
        Files.writeString(folder.resolve("mine.txt"), "mine");
        MainTest.Run full = MainTest.run(plan);
        assertEquals(2, full.exitCode());
        assertTrue(full.err().contains("--sources " + folder + " is not empty; name a new folder"), full.err());
    }

    @Test
    void generateTellsWhatItWasAsked() {
        JsonNode answer = json(
                "generate",
                "-m",
                MODEL,
                "-i",
                IMAGE,
                "-p",
                "caption en",
                "-n",
                "2",
                "--temp",
                "0.5",
                "--top-k",
                "3",
                "--seed",
                "7",
                "--backend",
                "cpu",
                "--json");
        JsonNode inputs = answer.get("inputs");
        assertEquals("caption en", inputs.get("prompt").asString());
        assertEquals(IMAGE, inputs.get("image").asString());
        assertEquals(2, inputs.get("max_new_tokens").asInt());
        assertEquals(0.5, inputs.get("temperature").asDouble());
        assertEquals(3, inputs.get("top_k").asInt());
        assertEquals(7, inputs.get("seed").asLong());
    }

    @Test
    void aBackendIsNotComparedWithItself() {
        fails(2, "scalar would be compared with itself", "verify", "-m", MODEL, "-i", IMAGE, "--backend", "scalar");
        fails(
                2,
                "cpu would be compared with itself; choose another --oracle, such as scalar",
                "verify",
                "-m",
                MODEL,
                "-i",
                IMAGE,
                "--backend",
                "cpu",
                "--oracle",
                "cpu");
    }

    /** Every option that takes a file completes files, and every one of a closed choice its values. */
    @Test
    void completionCompletesFilesAndValues() {
        String script = run("generate-completion").out();
        for (String name : Main.COMMANDS) {
            CommandLine command = new CommandLine(Main.command(name));
            if (command.getCommandSpec().usageMessage().hidden()) {
                continue;
            }
            Matcher function = Pattern.compile(
                            "function _picocli_stormsight_" + name + "\\(\\) \\{.*?\n}", Pattern.DOTALL)
                    .matcher(script);
            assertTrue(function.find(), name);
            for (OptionSpec option : command.getCommandSpec().options()) {
                if (option.arity().max() == 0) {
                    continue;
                }
                Matcher offered = Pattern.compile(
                                "'" + Pattern.quote(option.longestName()) + "'[^)\n]*\\)\n(.*?);;", Pattern.DOTALL)
                        .matcher(function.group());
                String where = name + " " + option.longestName();
                assertTrue(offered.find(), where);
                boolean path = option.type() == Path.class
                        || option.userObject() instanceof Field field
                                && field.getGenericType() instanceof ParameterizedType type
                                && type.getActualTypeArguments()[0] == Path.class;
                if (path) {
                    assertTrue(offered.group(1).contains("compgen -f"), where + ": " + offered.group(1));
                } else if (option.completionCandidates() != null
                        || Set.of(
                                        "--backend",
                                        "--device",
                                        "--oracle",
                                        "--preset",
                                        "--flow",
                                        "--check",
                                        "--format",
                                        "--dtype")
                                .contains(option.longestName())) {
                    assertTrue(offered.group(1).contains("compReplyArray"), where + ": " + offered.group(1));
                }
            }
        }
    }
}

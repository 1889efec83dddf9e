package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.GgufFiles;
import stormsight.model.ModelDirectory;
import stormsight.model.family.Families;
import stormsight.tokenizer.Tokenizer;

/** A model in GGUF answers as the same weights do in safetensors. */
class GgufModelsTest {
    private static final Path SHAPES = Path.of("models/shapes");
    private static final String IMAGE = "examples/kitchen.png";

    @TempDir
    private Path folder;

    private static String answer(Path model, String image) {
        MainTest.Run run = MainTest.run("generate", "--backend", "cpu", "-m", model.toString(), "-i", image, "-p",
                "caption en", "-n", "5");
        assertEquals(0, run.exitCode(), run.err());
        return run.out();
    }

    @Test
    void plainWeights() throws IOException {
        Path gguf = folder.resolve("gguf");
        GgufFiles.convert(SHAPES, gguf, "gemma", "stored");
        assertEquals(answer(SHAPES, IMAGE), answer(gguf.resolve("model.gguf"), IMAGE));
        Path golden = Goldens.folder("paligemma2");
        Path other = folder.resolve("gemma2");
        GgufFiles.convert(golden, other, "gemma2", "stored");
        String image = golden.resolve("input.png").toString();
        assertEquals(answer(golden, image), answer(other, image));
    }

    /** Taken apart whenever it is opened, and once for all. */
    @Test
    void blocks() throws IOException {
        String stored = answer(SHAPES, IMAGE);
        for (String[] form : new String[][] {{"Q8_0", "q8"}, {"Q4_0", "q4"}}) {
            Path gguf = folder.resolve(form[1]);
            Path written = folder.resolve(form[1] + "-written");
            GgufFiles.convert(SHAPES, gguf, "gemma", form[0]);
            assertEquals(stored, answer(gguf, IMAGE));
            MainTest.Run quantized =
                    MainTest.run("quantize", "--weights", form[1], gguf.toString(), written.toString());
            assertEquals(0, quantized.exitCode(), quantized.err());
            assertEquals(stored, answer(written, IMAGE));
            String apart = "that are taken apart when they are read";
            assertTrue(MainTest.run("inspect", gguf.toString()).out().contains(apart));
            assertFalse(MainTest.run("inspect", written.toString()).out().contains(apart));
        }
    }

    /** Without any other file: sizes, constants and tokens are those that the two files say. */
    @Test
    void twoFilesAreAModel() throws IOException {
        Path gguf = bare(SHAPES, "gemma");
        assertEquals(answer(SHAPES, IMAGE), answer(gguf, IMAGE));
        assertEquals(answer(SHAPES, IMAGE), answer(gguf.resolve("model.gguf"), IMAGE));
        Path written = folder.resolve("written");
        MainTest.Run quantized = MainTest.run("quantize", "--weights", "q8", gguf.toString(), written.toString());
        assertEquals(0, quantized.exitCode(), quantized.err());
        assertEquals(answer(SHAPES, IMAGE), answer(written, IMAGE));
        Path golden = Goldens.folder("paligemma-mqa");
        String image = golden.resolve("input.png").toString();
        assertEquals(answer(golden, image), answer(bare(golden, "gemma"), image));
    }

    /** A folder may hold several decoders, and weights in safetensors: the one that was named is taken. */
    @Test
    void theDecoderThatWasNamed() throws IOException {
        Path two = folder.resolve("two");
        Path small = folder.resolve("small");
        GgufFiles.convert(SHAPES, two, "gemma", "stored");
        GgufFiles.convert(SHAPES, small, "gemma", "Q4_0");
        Path plain = two.resolve("model.gguf");
        Path q4 = Files.move(small.resolve("model.gguf"), two.resolve("model-q4.GGUF"));
        MainTest.fails(3, "two: holds 2 decoders in GGUF: model-q4.GGUF, model.gguf; name the one to take",
                "inspect", two.toString());
        MainTest.fails(3, "mmproj.gguf: is the vision tower of a model in GGUF; name its decoder, such as " + q4,
                "inspect", two.resolve("mmproj.gguf").toString());
        for (boolean beside : new boolean[] {false, true}) {
            if (beside) {
                Files.copy(SHAPES.resolve("model.safetensors"), two.resolve("model.safetensors"));
                Files.writeString(two.resolve("broken.gguf"), "GGUF");
            } else {
                Files.delete(two.resolve("config.json"));
                Files.delete(two.resolve("tokenizer.json"));
            }
            assertTrue(tensors(q4).contains(" U8"), () -> tensors(q4));
            assertFalse(tensors(plain).contains(" U8"), () -> tensors(plain));
            assertEquals(answer(SHAPES, IMAGE), answer(q4, IMAGE));
        }
        try (ModelDirectory first = Families.openForIds(q4); ModelDirectory second = Families.openForIds(plain)) {
            assertNotEquals(first.fingerprint(), second.fingerprint());
        }
        Path written = folder.resolve("written");
        String told = logged("quantize", "--weights", "q4", q4.toString(), written.toString());
        assertTrue(told.contains("converted weights, Q4_0 to q4: "), told);
        assertFalse(told.contains("`stormsight quantize`"), told);
        assertEquals(answer(SHAPES, IMAGE), answer(written, IMAGE));
        MainTest.fails(3, "no such file", "inspect", two.resolve("model-q5.gguf").toString());
        MainTest.fails(3, "broken.gguf: ends within its header", "inspect", two.resolve("broken.gguf").toString());
    }

    /** What a command logs that succeeds. */
    private static String logged(String... arguments) {
        PrintStream terminal = System.err;
        ByteArrayOutputStream logged = new ByteArrayOutputStream();
        try {
            System.setErr(new PrintStream(logged, true, StandardCharsets.UTF_8));
            MainTest.Run run = MainTest.run(arguments);
            assertEquals(0, run.exitCode(), run.err());
            return logged.toString(StandardCharsets.UTF_8);
        } finally {
            System.setErr(terminal);
        }
    }

    /** The types of its tensors. */
    private static String tensors(Path model) {
        MainTest.Run run = MainTest.run("inspect", model.toString());
        assertEquals(0, run.exitCode(), run.err());
        return run.out().lines().filter(line -> line.startsWith("tensors ")).findFirst().orElseThrow();
    }

    /** What is written says what it holds, and is held to that when it is read. */
    @Test
    void theFormatIsThatOfTheTensors() throws IOException {
        Path gguf = folder.resolve("gguf");
        Path written = folder.resolve("written");
        GgufFiles.convert(SHAPES, gguf, "gemma", "Q8_0");
        MainTest.Run run = MainTest.run("quantize", "--weights", "q4", gguf.toString(), written.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().contains("keep the blocks that GGUF has; --weights q4 is for those without"), run.out());
        Path config = written.resolve("config.json");
        String mixed = Files.readString(config);
        assertTrue(mixed.contains("\"format\" : \"mixed\""), mixed);
        assertEquals("", logged("inspect", "--strict", written.toString()));
        for (String[] change : new String[][] {
            {"\"mixed\"", "\"q8\"", "format: q8, but "},
            {"\"mixed\"", "\"q4\"", "format: q4, but "},
        }) {
            Files.writeString(config, mixed.replace(change[0], change[1]));
            MainTest.fails(3, "config.json: quantization_config." + change[2], "inspect", "--strict",
                    written.toString());
            String told = logged("inspect", written.toString());
            assertTrue(told.contains(change[2]), told);
        }
        for (String[] change : new String[][] {
            {"\"mixed\"", "\"q2\"", "format: q2 is not known here, q8, q4 and mixed are"},
            {"\"block_size\" : 32", "\"block_size\" : 999", "block_size: 999 is not known here, 32 is"},
            {"\"block_size\" : 32", "\"blocks\" : 32", "block_size: missing"},
        }) {
            Files.writeString(config, mixed.replace(change[0], change[1]));
            MainTest.fails(3, "config.json: quantization_config." + change[2], "inspect", written.toString());
        }
        Files.writeString(config, mixed.replace("quantization_config", "quantization"));
        MainTest.fails(3, "no quantization_config, but ", "inspect", "--strict", written.toString());
        Files.copy(SHAPES.resolve("model.safetensors"), written.resolve("model.safetensors"),
                StandardCopyOption.REPLACE_EXISTING);
        Files.writeString(config, mixed);
        MainTest.fails(3, "format: mixed, but no matrix has blocks", "inspect", "--strict", written.toString());
    }

    @Test
    void textsHaveTheirIds() throws IOException {
        Path golden = Goldens.folder("paligemma-mqa");
        Tokenizer published = Tokenizer.open(golden.resolve("tokenizer.json"));
        Tokenizer made = Tokenizer.open(bare(golden, "gemma").resolve("tokenizer.json"));
        assertEquals(published.size(), made.size());
        for (int id = 0; id < published.size(); id++) {
            assertEquals(published.token(id), made.token(id));
            assertEquals(published.isSpecial(id), made.isSpecial(id), published.token(id));
        }
        Random random = new Random(7);
        for (int i = 0; i < 2000; i++) {
            StringBuilder text = new StringBuilder();
            for (int j = random.nextInt(12); j >= 0; j--) {
                String token = published.token(random.nextInt(published.size()));
                text.append(random.nextInt(4) == 0 ? "  caf\u00e9\n\n " : token.replace('\u2581', ' '));
            }
            assertArrayEquals(published.encode(text.toString()), made.encode(text.toString()), text.toString());
        }
    }

    /** What the files do not say, or say of something else, is told with what to do. */
    @Test
    void aTokenizerThatIsNoneOfGemma() throws IOException {
        Path golden = Goldens.folder("paligemma-mqa");
        Path gguf = bare(golden, "gemma");
        byte[] file = Files.readAllBytes(gguf.resolve("model.gguf"));
        String text = new String(file, StandardCharsets.ISO_8859_1);
        for (String[] change : new String[][] {
            {"llama", "gpt-2", "its tokenizer is gpt-2, not llama (SentencePiece): put tokenizer.json"},
            {"<image>", "<imag3>", "its tokens hold no <image>: put config.json and tokenizer.json"},
            {"gemma.embedding_length", "gemma.embedding_Length", "key gemma.embedding_length: missing"},
            {number("gemma.attention.head_count", 3), array("gemma.attention.head_count", 3),
                "key gemma.attention.head_count: an array of 6 values found, a whole number expected"},
            {"<loc0001>", "<loc0002>", "the token <loc0002> is there twice"},
            {"<bos>", "<b0s>", "tokenizer.json (made of GGUF): no token \"<bos>\""},
            {number("gemma.block_count", 4), number("gemma.block_count", 3),
                "model.gguf: key gemma.block_count: 3, but its tensors are those of 4 layers"},
            {number("gemma.attention.key_length", 20), number("gemma.attention.key_length", -1),
                "key gemma.attention.key_length: 4294967295, a positive number of 31 bits expected"},
            {number("tokenizer.ggml.eos_token_id", 1), number("tokenizer.ggml.eos_token_id", -1),
                "config.json (made of GGUF): eos_token_id: 4294967295 found"},
        }) {
            assertTrue(text.contains(change[0]), change[0]);
            Files.write(gguf.resolve("model.gguf"),
                    text.replace(change[0], change[1]).getBytes(StandardCharsets.ISO_8859_1));
            MainTest.fails(3, change[2], "generate", "-m", gguf.toString(), "-i", IMAGE, "-p", "x");
        }
        MainTest.fails(3, "no config.json in this directory, but in " + gguf.getFileName() + ": name that folder",
                "inspect", folder.toString());
    }

    /** The same as an array of six, by which the data stay aligned. */
    private static String array(String key, int number) {
        ByteBuffer bytes = ByteBuffer.allocate(40).order(ByteOrder.LITTLE_ENDIAN).putInt(9).putInt(4).putLong(6);
        while (bytes.hasRemaining()) {
            bytes.putInt(number);
        }
        return key + new String(bytes.array(), StandardCharsets.ISO_8859_1);
    }

    /** A key with a number of 32 bits, as characters of the file. */
    private static String number(String key, int number) {
        byte[] bytes = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putInt(4).putInt(number).array();
        return key + new String(bytes, StandardCharsets.ISO_8859_1);
    }

    /** How images are prepared is taken from the file that says so, under either name; settings that no key has. */
    @Test
    void settingsOfGemma2() throws IOException {
        Path gguf = bare(Goldens.folder("paligemma2"), "gemma2");
        ConfigFile config = ConfigFile.read(gguf.resolve("config.json"));
        assertEquals(18, config.integer("text_config.query_pre_attn_scalar"));
        assertEquals(50, config.number("text_config.attn_logit_softcapping", 0));
        assertEquals(512, config.integer("text_config.sliding_window"));
        assertTrue(ConfigFile.readIfPresent(gguf.resolve("preprocessor_config.json")).isPresent());
        Files.writeString(gguf.resolve("processor_config.json"),
                "{\"image_processor\": {\"image_mean\": [1, 1]}}");
        MainTest.fails(3, "processor_config.json: image_processor.image_mean: 2 values, 3 expected",
                "inspect", gguf.toString());
    }

    /** Whoever may not write to a model's files may write to those of another. */
    @Test
    void readOnlyFiles() throws IOException {
        Path gguf = folder.resolve("gguf");
        GgufFiles.convert(SHAPES, gguf, "gemma", "stored");
        Path config = gguf.resolve("config.json");
        Files.setPosixFilePermissions(config, PosixFilePermissions.fromString("r--r--r--"));
        Path written = folder.resolve("written");
        MainTest.Run run = MainTest.run("quantize", "--weights", "q8", gguf.toString(), written.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(Files.getPosixFilePermissions(written.resolve("config.json"))
                .contains(PosixFilePermission.OWNER_WRITE));
    }

    /** Weights in GGUF, and nothing beside them. */
    private Path bare(Path from, String architecture) throws IOException {
        Path gguf = folder.resolve("bare-" + from.getFileName());
        GgufFiles.convert(from, gguf, architecture, "stored");
        try (Stream<Path> files = Files.list(gguf)) {
            for (Path file : files.filter(each -> !each.toString().endsWith(".gguf")).toList()) {
                Files.delete(file);
            }
        }
        return gguf;
    }
}

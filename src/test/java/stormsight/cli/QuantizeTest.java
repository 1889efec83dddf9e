package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static stormsight.cli.MainTest.fails;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.checkpoint.HostTensor;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Weights;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.program.Tensor;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** A checkpoint in 8 or 4 bits is the same model as the original with {@code --weights q8} or q4, to the bit. */
class QuantizeTest {
    private static final String SHAPES = "models/shapes";

    @TempDir
    private Path folder;

    private MainTest.Run quantize(String golden, Path out) {
        return MainTest.run("quantize", Goldens.folder(golden).toString(), out.toString());
    }

    /** Every weight that the model's programs read. */
    private static Map<Tensor, HostTensor> values(ModelDirectory directory, Arena arena, Options options) {
        Weights weights = Weights.bound(directory.checkpoint(), arena, options);
        directory.anyModel().declare(weights);
        return weights.values();
    }

    private static void assertSame(Path original, Path quantized, DType type) {
        assertSame(Families.openForIds(original), quantized, type);
    }

    private static void assertSame(ModelDirectory original, Path quantized, DType type) {
        try (Arena arena = Arena.ofShared();
                ModelDirectory first = original;
                ModelDirectory second = Families.openForIds(quantized)) {
            Map<Tensor, HostTensor> expected = values(first, arena, Options.DEFAULT.withWeights(Optional.of(type)));
            Map<Tensor, HostTensor> found = values(second, arena, Options.DEFAULT);
            assertEquals(expected.keySet(), found.keySet());
            assertTrue(found.keySet().stream().anyMatch(tensor -> tensor.dtype() == type));
            expected.forEach((tensor, value) -> {
                assertEquals(value.shape(), found.get(tensor).shape(), tensor.name());
                for (int layer = 0; layer < value.layers().size(); layer++) {
                    assertEquals(
                            -1,
                            value.layers().get(layer).mismatch(found.get(tensor).layers().get(layer)),
                            tensor.name());
                }
            });
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"paligemma-mqa", "paligemma-bf16", "paligemma-sharded", "paligemma2", "llava", "siglip", "clip",
                "vit"})
    void holdsWhatIsConvertedAtLoading(String golden) {
        Path out = folder.resolve("q8");
        MainTest.Run run = quantize(golden, out);
        assertEquals(0, run.exitCode(), run.err());
        assertSame(Goldens.folder(golden), out, DType.Q8);
    }

    @Test
    void holdsFourBitsAsTheyAreConvertedAtLoading() {
        Path out = folder.resolve("q4");
        MainTest.Run run = MainTest.run("quantize", "--weights", "q4", SHAPES, out.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().contains("tensors in q4"), run.out());
        // The patches' matrix has 588 columns.
        assertTrue(run.out().contains(" 1 tensor in q8"), run.out());
        assertSame(Path.of(SHAPES), out, DType.Q4);
        String[] question = {"-i", "examples/kitchen.png", "-p", "caption en", "-n", "20"};
        String expected = generate(question, "-m", SHAPES, "--weights", "q4").out();
        assertEquals(expected, generate(question, "-m", out.toString()).out());
        assertEquals(expected, generate(question, "-m", out.toString(), "--weights", "q4").out());
        MainTest.Run other = generate(question, "-m", out.toString(), "--weights", "q8");
        assertEquals(3, other.exitCode());
        assertTrue(other.err().contains("is in q4 already; leave out --weights q8"), other.err());
    }

    private static MainTest.Run generate(String[] question, String... model) {
        return MainTest.run(Stream.of(new String[] {"generate"}, model, question).flatMap(Stream::of)
                .toArray(String[]::new));
    }

    /** What an adapter adds is in the result, which answers as base and adapter do in 8 bits. */
    @Test
    void mergesAnAdapter() {
        Path base = Goldens.folder("paligemma-lora");
        Path adapter = base.resolve("adapter");
        Path out = folder.resolve("merged");
        MainTest.Run run =
                MainTest.run("quantize", "--adapter", adapter.toString(), base.toString(), out.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertSame(Families.openForIds(base).withAdapter(adapter), out, DType.Q8);
        Path plain = folder.resolve("plain");
        quantize("paligemma-lora", plain);
        assertNotEquals(-1, mismatch(plain, out));
        run = MainTest.run("quantize", "--adapter", adapter.toString(), Goldens.folder("llava").toString(),
                folder.resolve("other").toString());
        assertEquals(3, run.exitCode());
        assertEquals(1, run.err().lines().filter(line -> line.startsWith("stormsight: ")).count(), run.err());
    }

    /** Sums of BF16 and of shards are rounded as they are where the adapter is merged while the model is loaded. */
    @ParameterizedTest
    @CsvSource({"paligemma-bf16, Q8", "paligemma-bf16, Q4", "paligemma-sharded, Q8", "paligemma-lora, Q4"})
    void mergesAnAdapterIntoEveryForm(String golden, DType form) {
        Path adapter = Goldens.folder("paligemma-lora").resolve("adapter");
        Path out = folder.resolve("merged");
        MainTest.Run run = MainTest.run("quantize", "--weights", form.label(), "--adapter", adapter.toString(),
                Goldens.folder(golden).toString(), out.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertSame(Families.openForIds(Goldens.folder(golden)).withAdapter(adapter), out, form);
    }

    private static long mismatch(Path first, Path second) {
        try {
            return Files.mismatch(first.resolve("model.safetensors"), second.resolve("model.safetensors"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void answersAsTheOriginalInEightBits() {
        Path out = folder.resolve("q8");
        quantize("paligemma-mqa", out);
        String image = Goldens.folder("paligemma-mqa").resolve("input.png").toString();
        String expected = MainTest.run("generate", "-m", Goldens.folder("paligemma-mqa").toString(), "--weights", "q8",
                "-i", image, "-p", "caption en", "-n", "6").out();
        assertEquals(
                expected, MainTest.run("generate", "-m", out.toString(), "-i", image, "-p", "caption en", "-n", "6")
                        .out());
        assertEquals(
                expected,
                MainTest.run("generate", "-m", out.toString(), "--weights", "q8", "-i", image, "-p", "caption en",
                        "-n", "6").out());
    }

    /** Another program may write scales elsewhere; they are brought together. */
    @Test
    void readsScalesThatLieElsewhere() throws IOException {
        Path out = folder.resolve("q8");
        quantize("paligemma-mqa", out);
        Path file = out.resolve("model.safetensors");
        Path moved = folder.resolve("moved.safetensors");
        putScalesFirst(file, moved);
        assertNotEquals(-1, Files.mismatch(file, moved));
        Files.move(moved, file, StandardCopyOption.REPLACE_EXISTING);
        assertSame(Goldens.folder("paligemma-mqa"), out, DType.Q8);
    }

    /** The same tensors in another order: all scales, then all others. */
    private static void putScalesFirst(Path from, Path to) throws IOException {
        byte[] bytes = Files.readAllBytes(from);
        long length = MemorySegment.ofArray(bytes).get(ValueLayout.JAVA_LONG_UNALIGNED, 0);
        JsonMapper json = JsonMapper.shared();
        JsonNode header = json.readTree(bytes, 8, (int) length);
        ObjectNode written = json.createObjectNode();
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        for (boolean scales : new boolean[] {true, false}) {
            header.properties().forEach(entry -> {
                if (entry.getKey().endsWith(".scales") == scales && entry.getValue().has("data_offsets")) {
                    int begin = entry.getValue().get("data_offsets").get(0).asInt();
                    int end = entry.getValue().get("data_offsets").get(1).asInt();
                    ObjectNode tensor = written.putObject(entry.getKey());
                    tensor.set("dtype", entry.getValue().get("dtype"));
                    tensor.set("shape", entry.getValue().get("shape"));
                    tensor.putArray("data_offsets").add(data.size()).add(data.size() + end - begin);
                    data.write(bytes, 8 + (int) length + begin, end - begin);
                }
            });
        }
        byte[] text = json.writeValueAsBytes(written);
        byte[] whole = new byte[8 + text.length + data.size()];
        MemorySegment.ofArray(whole).set(ValueLayout.JAVA_LONG_UNALIGNED, 0, text.length);
        System.arraycopy(text, 0, whole, 8, text.length);
        System.arraycopy(data.toByteArray(), 0, whole, 8 + text.length, data.size());
        Files.write(to, whole);
    }

    /** Folders hold weights for other programs, of which each may be as large as the model. */
    @Test
    void takesAlongWhatLiesBesideWeightsAlone() throws IOException {
        Path from = folder.resolve("from");
        Files.createDirectory(from);
        try (Stream<Path> files = Files.list(Goldens.folder("vit"))) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, from.resolve(file.getFileName()));
            }
        }
        List<String> others = List.of("model.onnx", "model.onnx_data", "optimizer.pkl", "tf_model.h5", "rust_model.ot",
                "flax_model.msgpack", "model.tflite", "pytorch_model.bin", "pytorch_model.bin.index.json", "all.tar.gz",
                "pt_224.npz", "other.Q8_0.gguf");
        List<String> besides = List.of("README.md", "LICENSE", "Notice.pdf", "spiece.model", "vae-oid.npz",
                "chat_template.jinja", "merges.txt");
        for (String name : Stream.of(others, besides).flatMap(List::stream).toList()) {
            Files.writeString(from.resolve(name), name);
        }
        Path out = folder.resolve("out");
        MainTest.Run run = MainTest.run("quantize", from.toString(), out.toString());
        assertEquals(0, run.exitCode(), run.err());
        others.forEach(name -> assertFalse(Files.exists(out.resolve(name)), name));
        besides.forEach(name -> assertTrue(Files.exists(out.resolve(name)), name));
    }

    @Test
    void refusesWhatItWouldSpoil() throws IOException {
        Path out = folder.resolve("q8");
        quantize("paligemma-mqa", out);
        MainTest.Run again = quantize("paligemma-mqa", out);
        assertEquals(2, again.exitCode());
        assertTrue(again.err().contains("is not empty"), again.err());
        MainTest.Run twice = MainTest.run("quantize", out.toString(), folder.resolve("twice").toString());
        assertEquals(3, twice.exitCode());
        assertTrue(twice.err().contains("is quantized already"), twice.err());
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(List.of(out), left.toList());
        }
    }

    /** It is the model that is at fault, and not the place that is written to. */
    @Test
    void aFileBesideThatCannotBeReadIsNamed() throws IOException {
        Path unreadable = Path.of("/proc/self/mem");
        assumeTrue(Files.exists(unreadable), "no file here that opens and cannot be read");
        Path model = folder.resolve("model");
        Goldens.copy("paligemma-mqa", Files.createDirectories(model));
        Path notes = Files.createSymbolicLink(model.resolve("notes.txt"), unreadable);
        fails(3, notes + ": cannot be read: ", "quantize", model.toString(), folder.resolve("q8").toString());
    }
}

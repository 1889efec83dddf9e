package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.EditedCheckpoint;
import stormsight.EditedCheckpoint.Stored;
import stormsight.checkpoint.StoredType;
import stormsight.program.Shape;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Checkpoints as people have them: nothing is wrong for the answer, but something is not as published. Each is asked
 * for a caption; the answers are what transformers computes for these files in F32. What is odd is told in one line,
 * and refused with {@code --strict}.
 */
class OddCheckpointsTest {
    private static final String GOLDEN = "paligemma-mqa";
    /** Sums in another order than the reference's. */
    private static final double ROUNDING = 1e-4;
    /**
     * The softmax of the reference counts the padding token, which is not drawn here; its logit is far below the
     * others.
     */
    private static final double LOG_PROBABILITIES = 3e-4;
    private static final int IMAGE = 627;
    private static final int ROWS = 672;

    private static final List<Integer> TOKENS = List.of(607, 600, 383, 325, 66, 122);
    private static final double[] PROBABILITIES = {-2.691892, -2.585936, -1.184589, -2.297306, -1.12721, -2.148842};

    @TempDir
    private Path folder;

    private EditedCheckpoint golden() throws IOException {
        return EditedCheckpoint.of(GOLDEN, folder);
    }

    /** Answers, and what was logged meanwhile. */
    private record Asked(MainTest.Run run, String logged) {
        List<String> warnings() {
            return logged.lines().filter(line -> line.contains("WARN")).toList();
        }
    }

    private Asked ask(String... more) {
        List<String> arguments = new ArrayList<>(List.of(
                "generate",
                "-m",
                folder.toString(),
                "-i",
                folder.resolve("input.png").toString(),
                "-n",
                "6",
                "--json",
                "--backend",
                "cpu",
                "--threads",
                "1"));
        if (!List.of(more).contains("-p")) {
            arguments.addAll(List.of("-p", "caption en"));
        }
        arguments.addAll(List.of(more));
        PrintStream terminal = System.err;
        ByteArrayOutputStream logged = new ByteArrayOutputStream();
        try {
            System.setErr(new PrintStream(logged, true, StandardCharsets.UTF_8));
            return new Asked(MainTest.run(arguments.toArray(String[]::new)), logged.toString(StandardCharsets.UTF_8));
        } finally {
            System.setErr(terminal);
        }
    }

    private void answers(List<Integer> tokens, double[] logProbabilities, double tolerance, String... more) {
        MainTest.Run run = ask(more).run();
        assertEquals(0, run.exitCode(), run.err());
        JsonNode answer = JsonMapper.shared().readTree(run.out()).get("tokens");
        assertEquals(tokens, answer.valueStream().map(token -> token.get("id").asInt()).toList());
        for (int i = 0; i < tokens.size(); i++) {
            assertEquals(logProbabilities[i], answer.get(i).get("log_probability").asDouble(), tolerance, "token " + i);
        }
    }

    private void answersAsTheGolden() {
        answers(TOKENS, PROBABILITIES, LOG_PROBABILITIES);
    }

    /** One warning, and a refusal with --strict. */
    private void tells(String said) {
        List<String> warnings = ask().warnings();
        assertEquals(1, warnings.size(), warnings::toString);
        assertTrue(warnings.getFirst().contains(said), warnings.getFirst());
        MainTest.Run strict = ask("--strict").run();
        assertEquals(3, strict.exitCode(), strict.err());
        assertTrue(
                strict.err().startsWith("stormsight: ")
                        && strict.err().contains(said)
                        && strict.err().lines().count() == 1,
                strict.err());
    }

    private static Stored zeros(StoredType type, int... shape) {
        return new Stored(type, Shape.of(shape), new byte[Math.toIntExact(type.bytes(Shape.of(shape)))]);
    }

    private static String added(int from, int to, String name, boolean special) {
        return IntStream.range(from, to)
                .mapToObj(id -> ",{\"id\":" + id + ",\"content\":\"<" + name + id
                        + ">\",\"single_word\":false,\"lstrip\":false,"
                        + "\"rstrip\":false,\"normalized\":false,\"special\":" + special + "}")
                .collect(Collectors.joining());
    }

    /** Puts tokens behind the last added one, which is the image's. */
    private static String withTokens(String tokenizer, String tokens) {
        return tokenizer.replaceFirst("(\"content\":\\s*\"<image>\"[^}]*})", "$1" + tokens);
    }

    @Test
    void plainFilesGiveNoWarning() throws IOException {
        golden().write();
        assertEquals(List.of(), ask("--strict").warnings());
        answersAsTheGolden();
    }

    /** Fine-tunes add tokens there. */
    @Test
    void tokensBehindTheImageTokenAreAnswered() throws IOException {
        for (boolean special : new boolean[] {false, true}) {
            EditedCheckpoint edited = golden().text(
                            "tokenizer.json", text -> withTokens(text, added(IMAGE + 1, IMAGE + 3, "s_", special)));
            louder(edited, 629, 607);
            edited.write();
            assertEquals(List.of(), ask().warnings());
            // The reference's softmax has all rows of the table here.
            answers(
                    List.of(629, 600, 383, 325, 66, 122),
                    new double[] {-1.379812, -2.459053, -1.183496, -2.309363, -1.121747, -2.150532},
                    ROUNDING);
            MainTest.Run inspect = MainTest.run("inspect", folder.toString());
            assertTrue(
                    inspect.out()
                            .contains(
                                    "672 rows, 630 tokens, 628 of which can be answered, head tied to the embeddings"),
                    inspect.out());
        }
    }

    private static void louder(EditedCheckpoint edited, int row, int like) {
        float[] table = edited.tensors.get(EditedCheckpoint.TABLE).floats();
        int width = table.length / ROWS;
        for (int i = 0; i < width; i++) {
            table[row * width + i] = table[like * width + i] * 1.25f;
        }
        edited.tensors.put(EditedCheckpoint.TABLE, Stored.floats(table, ROWS, width));
    }

    /** Neither the image token, nor padding, nor rows that no token names, however large their logits. */
    @Test
    void whatIsNoTokenIsNotAnswered() throws IOException {
        EditedCheckpoint edited = golden();
        for (int row : new int[] {0, IMAGE, IMAGE + 1, ROWS - 1}) {
            louder(edited, row, 607);
        }
        edited.write();
        MainTest.Run run = ask().run();
        JsonNode tokens = JsonMapper.shared().readTree(run.out()).get("tokens");
        assertEquals(TOKENS, tokens.valueStream().map(token -> token.get("id").asInt()).toList());
    }

    @Test
    void moreTokensThanRowsAreHarmlessUntilOneIsUsed() throws IOException {
        golden().text("tokenizer.json", text -> withTokens(text, added(IMAGE + 1, 680, "extra_", true))).write();
        tells("tokenizer.json: 8 tokens have no row in the embedding table of 672");
        answersAsTheGolden();
        Asked used = ask("-p", "what is <extra_675> here?");
        assertEquals(3, used.run().exitCode());
        assertTrue(
                used.run()
                        .err()
                        .contains("the prompt holds token 675, \"<extra_675>\", but the embedding table has 672 rows"),
                used.run().err());
    }

    @Test
    void theImageTokenNeedsNoRow() throws IOException {
        EditedCheckpoint edited = golden().text(
                        "config.json", text -> text.replaceAll("\"vocab_size\": 672", "\"vocab_size\": " + IMAGE));
        float[] table = edited.tensors.get(EditedCheckpoint.TABLE).floats();
        int width = table.length / ROWS;
        edited.tensors.put(EditedCheckpoint.TABLE, Stored.floats(Arrays.copyOf(table, IMAGE * width), IMAGE, width));
        edited.write();
        assertEquals(List.of(), ask().warnings());
        answersAsTheGolden();
    }

    @Test
    void aStoredHeadOfOtherValuesIsUsed() throws IOException {
        EditedCheckpoint edited = golden();
        float[] table = edited.tensors.get(EditedCheckpoint.TABLE).floats();
        int width = table.length / ROWS;
        float[] head = new float[table.length];
        for (int row = 0; row < ROWS; row++) {
            System.arraycopy(table, row * width, head, (ROWS - 1 - row) * width, width);
        }
        edited.tensors.put(EditedCheckpoint.HEAD, Stored.floats(head, ROWS, width));
        edited.write();
        answers(
                List.of(64, 248, 210, 188, 503, 447),
                new double[] {-2.624839, -1.720682, -1.294232, -1.057503, -0.254153, -1.76427},
                3e-3);
        tells(
                "tensor language_model.lm_head.weight differs from language_model.model.embed_tokens.weight, although "
                        + "the configuration ties the two");
        assertTrue(MainTest.run("inspect", folder.toString())
                .out()
                .contains("a head of its own, which differs from the embeddings although the configuration ties "
                        + "the two"));
    }

    @Test
    void aStoredHeadOfEqualValuesChangesNothing() throws IOException {
        EditedCheckpoint edited = golden();
        edited.tensors.put(EditedCheckpoint.HEAD, edited.tensors.get(EditedCheckpoint.TABLE));
        edited.write();
        assertEquals(List.of(), ask("--strict").warnings());
        answersAsTheGolden();
    }

    @Test
    void aHeadMayHaveTwoNames() throws IOException {
        EditedCheckpoint edited = golden();
        edited.tensors.put(EditedCheckpoint.HEAD, edited.tensors.get(EditedCheckpoint.TABLE));
        edited.tensors.put("lm_head.weight", edited.tensors.get(EditedCheckpoint.TABLE));
        edited.write();
        tells("are both language_model.lm_head.weight, with the same values");
        answersAsTheGolden();
    }

    /** What writers leave that drop one of two tensors that share their memory. */
    @Test
    void theHeadAloneIsTheTable() throws IOException {
        EditedCheckpoint edited = golden();
        edited.tensors.put(EditedCheckpoint.HEAD, edited.tensors.remove(EditedCheckpoint.TABLE));
        edited.write();
        answersAsTheGolden();
    }

    @Test
    void tensorsThatNobodyReadsAreLeftAlone() throws IOException {
        for (String unused : List.of(
                "vision_tower.vision_model.head.probe",
                "language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
                "optimizer.state.step",
                "language_model.model.layers.9.mlp.up_proj.weight")) {
            EditedCheckpoint edited = golden();
            edited.tensors.put(unused, zeros(unused.startsWith("optimizer") ? StoredType.I64 : StoredType.F32, 1, 3));
            edited.write();
            tells("model.safetensors: tensor " + unused + " [1, 3] is not part of this model: not used");
            answersAsTheGolden();
        }
        EditedCheckpoint many = golden();
        for (int i = 0; i < 5; i++) {
            many.tensors.put("head." + i, zeros(StoredType.F16, 7));
        }
        many.write();
        tells(
                "tensor head.0 [7] is not part of this model; tensor head.1 [7] is not part of this model; and 3 "
                        + "more: not used");
    }

    @Test
    void aTowerThatSaysItHasAHeadNeedsNone() throws IOException {
        golden().text("config.json", text -> text.replace("\"vision_use_head\": false", "\"vision_use_head\": true"))
                .write();
        answersAsTheGolden();
    }

    @Test
    void anIndexMayBeWrongAboutTheTiedHead() throws IOException {
        EditedCheckpoint edited = golden();
        edited.write(200_000);
        edited.text("model.safetensors.index.json", text -> text.replaceFirst("\"weight_map\":\\s*\\{",
                "$0\"language_model.lm_head.weight\":\"model-00001-of-00003.safetensors\","));
        tells("tensor language_model.lm_head.weight is missing, although model.safetensors.index.json lists it there");
        answersAsTheGolden();
    }

    @Test
    void anIndexMayNotKnowTheTiedHead() throws IOException {
        EditedCheckpoint edited = golden();
        Map<String, Stored> tensors = new LinkedHashMap<>(edited.tensors);
        edited.tensors.clear();
        // First, and so in a shard with others.
        edited.tensors.put(EditedCheckpoint.HEAD, tensors.get(EditedCheckpoint.TABLE));
        edited.tensors.putAll(tensors);
        edited.write(300_000);
        edited.text(
                "model.safetensors.index.json",
                text -> text.replaceFirst("\"language_model.lm_head.weight\":\\s*\"[^\"]*\",?", ""));
        tells("tensor language_model.lm_head.weight is not listed in model.safetensors.index.json");
        answersAsTheGolden();
    }

    @Test
    void layersMayDifferInType() throws IOException {
        EditedCheckpoint edited = EditedCheckpoint.of("paligemma-bf16", folder);
        EditedCheckpoint.tensors(GOLDEN).forEach((name, tensor) -> {
            if (name.startsWith("language_model.model.layers.1.mlp.")) {
                edited.tensors.put(name, tensor);
            }
        });
        edited.write();
        answers(
                List.of(607, 600, 383, 325, 66, 122),
                new double[] {-2.653783, -2.616082, -1.195819, -2.271395, -1.126494, -2.129278},
                LOG_PROBABILITIES);
        tells("in other layers BF16");
        // One of the two matrices that one operation reads, in all layers.
        EditedCheckpoint gates = golden();
        EditedCheckpoint.tensors("paligemma-bf16").forEach((name, tensor) -> {
            if (name.contains(".mlp.gate_proj.")) {
                gates.tensors.put(name, tensor);
            }
        });
        gates.write();
        assertEquals(0, ask().run().exitCode());
        Files.delete(folder.resolve("model.safetensors"));
    }

    @Test
    void doublesAreRounded() throws IOException {
        EditedCheckpoint edited = golden();
        edited.tensors.replaceAll((_, tensor) -> tensor.doubles());
        edited.write();
        tells("is F64");
        answersAsTheGolden();
        MainTest.Run q8 = ask("--weights", "q8").run();
        assertEquals(0, q8.exitCode(), q8.err());
    }

    @Test
    void byteOrderMarksAreDropped() throws IOException {
        EditedCheckpoint edited = golden();
        for (String file : List.of("config.json", "generation_config.json", "preprocessor_config.json")) {
            edited.text(file, text -> '\uFEFF' + text.replace("\n", "\r\n"));
        }
        edited.write(200_000);
        edited.text("model.safetensors.index.json", text -> '\uFEFF' + text);
        assertEquals(List.of(), ask().warnings());
        answersAsTheGolden();
    }

    @Test
    void whatTheAnswerNeedsIsNotForgiven() throws IOException {
        EditedCheckpoint missing = golden();
        missing.tensors.remove("language_model.model.norm.weight");
        missing.tensors.put("language_model.norm2.weight", zeros(StoredType.F32, 48));
        missing.write();
        MainTest.Run run = ask().run();
        assertEquals(3, run.exitCode());
        assertTrue(
                run.err()
                        .contains(
                                "tensor language_model.model.norm.weight [48] is missing; tensor "
                                        + "language_model.norm2.weight [48] is not part"),
                run.err());
        EditedCheckpoint twice = golden();
        twice.tensors.put("model.language_model.norm.weight", zeros(StoredType.F32, 48));
        twice.write();
        run = ask().run();
        assertEquals(3, run.exitCode());
        assertTrue(run.err().contains("and differ"), run.err());
        assertFalse(run.err().contains("\tat "), run.err());
    }
}

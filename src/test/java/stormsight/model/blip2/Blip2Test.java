package stormsight.model.blip2;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.checkpoint.CheckpointException;
import stormsight.generate.Answer;
import stormsight.generate.AnswerListener;
import stormsight.generate.Generator;
import stormsight.generate.Request;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.model.family.Families;
import stormsight.program.Sampling;

class Blip2Test {
    private static final String QUESTION = "Question: how many cats are there? Answer:";

    /** Sums in another order: one row at a time, or all at once. */
    private static final float ROUNDING = 2e-5f;

    private static final int NEW_TOKENS = 6;

    private static RgbImage image() {
        return new ImageDecoder().decode(Goldens.folder("blip2-opt").resolve("input.png"));
    }

    private static void edit(Path folder, String from, String to) throws IOException {
        Path file = folder.resolve("config.json");
        String config = Files.readString(file);
        assertTrue(config.contains(from), config);
        Files.writeString(file, config.replace(from, to));
    }

    private static void refused(Path folder, String... said) {
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> Families.open(folder, Optional.empty()));
        for (String part : said) {
            assertTrue(e.getMessage().contains(part), e.getMessage());
        }
    }

    @Test
    void refusesOtherLanguageModels(@TempDir Path folder) throws IOException {
        Goldens.copy("blip2-opt", folder);
        edit(folder, "\"model_type\": \"opt\"", "\"model_type\": \"t5\"");
        refused(folder, "config.json", "'t5' is not supported; supported is opt", "Salesforce/blip2-opt-2.7b");
    }

    @Test
    void refusesEmbeddingsOfAnotherWidth(@TempDir Path folder) throws IOException {
        Goldens.copy("blip2-opt", folder);
        edit(folder, "\"word_embed_proj_dim\": 40", "\"word_embed_proj_dim\": 20");
        refused(folder, "word_embed_proj_dim", "20", "40");
    }

    @Test
    void refusesAPlaceForTheImageAndSeveralImages() {
        try (ModelDirectory directory = Families.open(Goldens.folder("blip2-opt"), Optional.empty())) {
            Views image = directory.processor().views(image());
            assertTrue(assertThrows(
                            IllegalArgumentException.class,
                            () -> directory.processor().prompt("<image> what?", List.of(image)))
                    .getMessage()
                    .contains("<image>"));
            assertTrue(assertThrows(
                            IllegalArgumentException.class,
                            () -> directory.processor().prompt("what?", List.of(image, image)))
                    .getMessage()
                    .contains("one image, not 2"));
            assertTrue(assertThrows(IllegalArgumentException.class, () -> image.rowsWhere(_ -> true))
                    .getMessage()
                    .contains("queries over the whole image"));
        }
    }

    @Test
    void namesTheQuestion() {
        try (ModelDirectory directory = Families.open(Goldens.folder("blip2-opt"), Optional.empty())) {
            String question = "how many cats are there?";
            assertEquals(QUESTION, directory.processor().questionPrompt(question));
            Prompt prompt = directory
                    .processor()
                    .prompt(QUESTION, List.of(directory.processor().views(image())));
            String spelled = directory.tokenizer().decode(prompt.placesOf(question).stream()
                    .mapToInt(place -> prompt.ids()[place])
                    .toArray(), false);
            assertEquals(" " + question, spelled);
            assertTrue(prompt.length() <= directory.promptTokensAtMost(QUESTION));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"blip2-opt", "blip2-opt-old"})
    void answersUpToTheNewline(String golden) {
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty());
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT);
                Generator generator = Generator.open(
                        directory, backend, new Limits(40, 12), Options.DEFAULT, RunListener.NONE, List.of())) {
            Answer answer =
                    generator.answer(new Request(image(), QUESTION, 12, Sampling.GREEDY, 0), AnswerListener.NONE);
            assertEquals("3 \u043f\u0440 left \u043f\u0440 left", answer.text());
            assertEquals(Answer.Stop.END, answer.stop());
        }
    }

    @Test
    void cachedDecodeEqualsFullRecompute() {
        try (ModelDirectory directory = Families.open(Goldens.folder("blip2-opt"), Optional.empty());
                Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            Views image = directory.processor().views(image());
            Prompt prompt = directory.processor().prompt("a photo of", List.of(image));
            int length = prompt.length();
            try (Generator generator = Generator.open(
                    directory,
                    backend,
                    new Limits(length + NEW_TOKENS, NEW_TOKENS),
                    Options.DEFAULT.withPromptRows(Options.PromptRows.LOGITS),
                    RunListener.NONE,
                    List.of())) {
                generator.encodeViews(List.of(image));
                generator.prefill(prompt);
                int[] sequence = Arrays.copyOf(prompt.ids(), length + NEW_TOKENS);
                float[][] cached = new float[NEW_TOKENS][];
                for (int s = 0; s < NEW_TOKENS; s++) {
                    sequence[length + s] = 130 + 7 * s;
                    generator.decode(sequence[length + s], length + s, 0);
                    cached[s] = generator.read(generator.passes().decode().output());
                }
                generator.prefill(new Prompt(sequence, List.of(), 0));
                float[] all = generator.read(generator.passes().prefill().output());
                for (int s = 0; s < NEW_TOKENS; s++) {
                    int from = (length + s) * cached[s].length;
                    assertArrayEquals(
                            Arrays.copyOfRange(all, from, from + cached[s].length), cached[s], ROUNDING, "token " + s);
                }
            }
        }
    }
}

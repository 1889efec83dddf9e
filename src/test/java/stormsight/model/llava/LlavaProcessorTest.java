package stormsight.model.llava;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import stormsight.image.ImageDecoder;
import stormsight.model.ModelDirectory;
import stormsight.model.Processor;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.model.family.Families;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Prompts as the template of the checkpoint has them, against the ids of transformers' processors. */
class LlavaProcessorTest {
    private static JsonNode expected(String golden) throws IOException {
        return JsonMapper.shared().readTree(Files.readString(Goldens.folder(golden).resolve("expected.json")));
    }

    private static int[] ids(JsonNode array) {
        return JsonMapper.shared().convertValue(array, int[].class);
    }

    /** The first prompts of these folders are one question about an image each. */
    @ParameterizedTest
    @ValueSource(strings = {"llava-chat", "llava-chat-gqa", "llava-next", "llava-next-mistral"})
    void putsAQuestionIntoTheTemplate(String golden) throws IOException {
        JsonNode prompts = expected(golden).get("prompts");
        try (ModelDirectory directory = Families.open(Goldens.folder(golden), Optional.empty())) {
            Processor processor = directory.processor();
            for (int p = 0; p < 2; p++) {
                JsonNode prompt = prompts.get(p);
                String question = prompt.get("messages").get(0).get("content").get(1).get("text").asString();
                Views image = processor.views(new ImageDecoder().decode(
                        Goldens.folder(golden).resolve("input_" + prompt.get("images").get(0).asInt() + ".png")));
                Prompt made = processor.prompt(question, List.of(image));
                assertEquals(
                        List.of(),
                        different(made.plainIds(directory.describe().imageToken()), ids(prompt.get("ids"))),
                        question);
                assertEquals(0, made.prefixLength());
                assertTrue(made.length() <= processor.imageTokens() + processor.textTokensAtMost(question));
            }
        }
    }

    private static List<String> different(int[] found, int[] wanted) {
        return IntStream.range(0, Math.max(found.length, wanted.length))
                .filter(i -> i >= found.length || i >= wanted.length || found[i] != wanted[i])
                .mapToObj(i -> "place " + i)
                .toList();
    }

    @Test
    void findsTheQuestionWhereTheReferenceDoes() throws IOException {
        JsonNode expected = expected("llava-chat");
        try (ModelDirectory directory = Families.open(Goldens.folder("llava-chat"), Optional.empty())) {
            String question = expected.get("knockout_positions").get("question_text").asString();
            Views image = directory
                    .processor()
                    .views(new ImageDecoder()
                            .decode(Goldens.folder("llava-chat").resolve("input_0.png")));
            Prompt prompt = directory.processor().prompt(question, List.of(image));
            assertEquals(
                    Arrays.stream(ids(expected.get("knockout_positions").get("question")))
                            .boxed()
                            .toList(),
                    prompt.placesOf(question));
            assertEquals(
                    Arrays.stream(ids(expected.get("knockout_positions").get("image")))
                            .boxed()
                            .toList(),
                    prompt.imagePlaces());
        }
    }

    @Test
    void refusesAnotherNumberOfImages() {
        try (ModelDirectory directory = Families.open(Goldens.folder("llava-chat"), Optional.empty())) {
            Views image = directory
                    .processor()
                    .views(new ImageDecoder()
                            .decode(Goldens.folder("llava-chat").resolve("input_0.png")));
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                    () -> directory.processor().raw().prompt("USER: hello ASSISTANT:", List.of(image)));
            assertEquals("the prompt has 0 places <image> for 1 image", e.getMessage());
        }
    }

    @Test
    void saysThatATemplateIsNotKnown(@TempDir Path folder) throws IOException {
        Goldens.copy("llava-chat", folder);
        Files.writeString(folder.resolve("chat_template.jinja"), "{{ '<|im_start|>' }}");
        try (ModelDirectory directory = Families.open(folder, Optional.empty())) {
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> directory.processor().check("What is this?", 1));
            assertTrue(e.getMessage().contains("supported are those of Vicuna"), e.getMessage());
            assertTrue(e.getMessage().contains("--raw-prompt"), e.getMessage());
            directory.processor().raw().check("<|im_start|>user\n<image>\nWhat is this?", 1);
        }
    }
}

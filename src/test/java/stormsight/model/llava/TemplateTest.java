package stormsight.model.llava;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Goldens;
import tools.jackson.databind.json.JsonMapper;

/** A chat template is known only if it writes what is written in its place. */
class TemplateTest {
    private static final String IMAGES =
            "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}"
                    + "{% endfor %}";
    private static final String TEXTS =
            "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
                    + "{% endfor %}";
    private static final String ROLE = "{{ message['role'].upper() + ': '}}";
    private static final String NEXT = "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";
    private static final String VICUNA = "{% for message in messages %}" + ROLE + IMAGES + TEXTS + NEXT;
    private static final String INSTRUCT = "{{ bos_token }}{% for message in messages %}"
            + "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
            + "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
            + "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}";

    @TempDir
    private Path folder;

    private Template read() {
        return Template.read(folder, false);
    }

    private Template jinja(String template) throws IOException {
        Files.writeString(folder.resolve("chat_template.jinja"), template);
        return read();
    }

    private void json(String file, String template) throws IOException {
        Files.writeString(
                folder.resolve(file), JsonMapper.shared().writeValueAsString(Map.of("chat_template", template)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"llava-chat", "llava-chat-gqa", "llava-next"})
    void knowsThePublishedOnesOfVicuna(String golden) {
        assertEquals(Template.VICUNA, Template.read(Goldens.folder(golden), true));
    }

    @Test
    void knowsThePublishedOneOfMistral() {
        assertEquals(Template.MISTRAL, Template.read(Goldens.folder("llava-next-mistral"), false));
    }

    @Test
    void knowsThoseOfMadeCheckpoints() throws IOException {
        for (var preset : LlavaPreset.llavaNext()) {
            String template = (String) preset.files("float32").get("chat_template.json").get("chat_template");
            assertEquals(preset.name().contains("vicuna") ? Template.VICUNA : Template.MISTRAL, jinja(template));
        }
    }

    @Test
    void knowsThemInOtherWords() throws IOException {
        assertEquals(Template.VICUNA, jinja(VICUNA));
        assertEquals(Template.VICUNA, jinja(VICUNA.replace("\n", "\\n").replace('\'', '"')));
        assertEquals(Template.VICUNA, jinja("{% for message in messages %}{% if message['role'] == 'system' %}"
                + "{{ message['content'][0]['text'] }}{% else %}" + ROLE + "{% endif %}{# Images first #}\n"
                + "    " + IMAGES + "\n" + TEXTS + NEXT + "\n"));
        assertEquals(Template.MISTRAL, jinja("{%- for message in messages -%}\n  [INST] {% for c in message.content %}"
                + "{% if c.type == 'image' %}<image>\n{% else %}{{ c.text }}{% endif %}{% endfor %} [/INST]\n"
                + "{%- endfor -%}\n"));
        assertEquals(Template.MISTRAL, jinja(INSTRUCT));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "A chat. " + VICUNA,
        "{% if messages[0]['role'] != 'system' %}{{ 'A chat. ' }}{% endif %}" + VICUNA,
        "{% set system = 'A chat. ' %}{{ system }}" + VICUNA,
        "{% for message in messages %}{{ message['role'].upper() + ':'}}" + IMAGES + TEXTS + NEXT,
        "{% for message in messages %}{{ message['role'] + ': '}}" + IMAGES + TEXTS + NEXT,
        "{% for message in messages %}" + ROLE + TEXTS + IMAGES + NEXT,
        "{% for message in messages %}" + ROLE + "{{ '<image>' }}" + TEXTS + NEXT,
        "{% for message in messages %}" + ROLE + IMAGES + "{{ content['text'] | trim + ' ' }}" + NEXT,
        "{% for message in messages %}" + ROLE + IMAGES + "{{ content['text'] + '\n' }}" + NEXT,
        "{% for message in messages %}" + ROLE + IMAGES + TEXTS + "{% endfor %}{{ 'ASSISTANT: ' }}",
        "[INST] <<SYS>>\nYou help.\n<</SYS>>\n\n<image>\n{{ content['text'] }} [/INST]",
        "[INST]<image>\n{{ content['text'] }}[/INST]",
        "{{ raise_exception('[INST] ASSISTANT:') }}"})
    void knowsNoOthers(String template) throws IOException {
        assertEquals(Template.UNKNOWN, jinja(template));
    }

    @Test
    void readsOneFileBeforeTheOther() throws IOException {
        json("tokenizer_config.json", "other");
        assertEquals(Template.UNKNOWN, read());
        json("chat_template.json", INSTRUCT);
        assertEquals(Template.MISTRAL, read());
        json("processor_config.json", "other");
        assertEquals(Template.UNKNOWN, read());
    }

    /** Versions of transformers take one or the other. */
    @Test
    void knowsNoneOfTwoThatDisagree() throws IOException {
        assertEquals(Template.VICUNA, jinja(VICUNA));
        json("chat_template.json", VICUNA);
        assertEquals(Template.VICUNA, read());
        json("chat_template.json", "A chat. " + VICUNA);
        assertEquals(Template.UNKNOWN, read());
    }
}

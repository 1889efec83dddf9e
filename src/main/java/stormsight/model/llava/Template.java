package stormsight.model.llava;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Pattern;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;

/** What stands around a question, one of the chat templates that published checkpoints come with. */
enum Template {
    /** {@code USER: <image>\nquestion ASSISTANT:}. */
    VICUNA("USER: ", " ASSISTANT:"),
    /** {@code [INST] <image>\nquestion [/INST]}. */
    MISTRAL("[INST] ", " [/INST]"),
    /** None: the text stands as it is, its images with it. */
    NONE("", ""),
    /** A template that is not known here. */
    UNKNOWN("", "");

    /** Of a system message, perhaps; a role, images, the text, again for an assistant, and the next role. */
    private static final Pattern VICUNAS = pieces("(T;)?R;: ;(<image>\n;)?(T; ;){1,2}ASSISTANT:;");

    /**
     * Of a system message, perhaps; a user's, and what an assistant says, whose end no prompt here has. Templates of
     * the language model alone, which early revisions have, write no images.
     */
    private static final Pattern MISTRALS =
            pieces("(<<SYS>>\n?;T;\n?<</SYS>>\n*;)?\\[INST] ;(<image>\n;)?T; \\[/INST];(( ;)?T;[^;]+;( ;)?)?");

    private final String before;
    private final String after;

    Template(String before, String after) {
        this.before = before;
        this.after = after;
    }

    private static Pattern pieces(String regex) {
        return Pattern.compile(regex.replace("T;", PrintedPieces.TEXT + ";")
                .replace("R;", PrintedPieces.ROLE + ";")
                .replace(";", PrintedPieces.END));
    }

    /**
     * The template of a checkpoint: that of processor_config.json, as in transformers 5; of chat_template.json and
     * chat_template.jinja, which must agree, since versions of transformers take one or the other; of
     * tokenizer_config.json; where there is none, that of the decoder. One is known if it writes what is written here.
     *
     * @throws CheckpointException if a file is broken
     */
    static Template read(Path directory, boolean mistral) {
        Optional<Template> processor = inside(directory.resolve("processor_config.json"));
        if (processor.isPresent()) {
            return processor.get();
        }
        Optional<Template> json = inside(directory.resolve("chat_template.json"));
        Optional<Template> jinja = whole(directory.resolve("chat_template.jinja")).map(Template::of);
        if (json.isPresent() && jinja.isPresent() && json.get() != jinja.get()) {
            return UNKNOWN;
        }
        return json.or(() -> jinja)
                .or(() -> inside(directory.resolve("tokenizer_config.json")))
                .orElse(mistral ? MISTRAL : VICUNA);
    }

    private static Template of(String text) {
        String printed = PrintedPieces.of(text);
        if (MISTRALS.matcher(printed).matches()) {
            return MISTRAL;
        }
        return VICUNAS.matcher(printed).matches() ? VICUNA : UNKNOWN;
    }

    private static Optional<Template> inside(Path file) {
        return ConfigFile.readIfPresent(file)
                .flatMap(config -> config.textIfPresent("chat_template"))
                .map(Template::of);
    }

    private static Optional<String> whole(Path file) {
        try {
            return Files.exists(file) ? Optional.of(Files.readString(file)) : Optional.empty();
        } catch (IOException e) {
            throw new CheckpointException(file, "cannot be read (" + e.getMessage() + ")", e);
        }
    }

    /** @throws IllegalArgumentException if the template is not known */
    String apply(String text, int images) {
        if (this == UNKNOWN) {
            throw new IllegalArgumentException(
                    "the chat template of this checkpoint is not known; supported are those of Vicuna "
                            + "(USER: .. ASSISTANT:) and Mistral ([INST] .. [/INST]); "
                            + "--raw-prompt takes a prompt that holds the template already");
        }
        return this == NONE ? text : before + (LlavaProcessor.IMAGE + "\n").repeat(images) + text + after;
    }
}

package stormsight.model.llava;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
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

    private final String before;
    private final String after;

    Template(String before, String after) {
        this.before = before;
        this.after = after;
    }

    /**
     * The template of a checkpoint: chat_template.jinja, chat_template.json or tokenizer_config.json tells; where there
     * is none, that of the decoder.
     *
     * @throws CheckpointException if a file is broken
     */
    static Template read(Path directory, boolean mistral) {
        Optional<String> text = whole(directory.resolve("chat_template.jinja"))
                .or(() -> inside(directory.resolve("chat_template.json")))
                .or(() -> inside(directory.resolve("tokenizer_config.json")));
        if (text.isEmpty()) {
            return mistral ? MISTRAL : VICUNA;
        }
        if (text.get().contains("[INST]")) {
            return MISTRAL;
        }
        // The role is written as USER or made so of "user".
        return text.get().contains("ASSISTANT:") ? VICUNA : UNKNOWN;
    }

    private static Optional<String> inside(Path file) {
        return ConfigFile.readIfPresent(file).flatMap(config -> config.textIfPresent("chat_template"));
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

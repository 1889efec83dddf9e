package stormsight.cli;

import picocli.CommandLine.Option;
import stormsight.model.ModelDirectory;

/** What commands share that ask a model prompts. */
abstract class PromptCommand extends ModelCommand {
    @Option(
            names = "--raw-prompt",
            description =
                    "Take the prompt as it stands, without the chat template of models such as LLaVA; <image> says "
                            + "where the image is. Models without a chat template are asked as always.")
    private boolean rawPrompt;

    final boolean rawPrompt() {
        return rawPrompt;
    }

    @Override
    final ModelDirectory open() {
        return rawPrompt ? opened().withRawPrompts() : opened();
    }

    /** The model whose prompts are asked. */
    ModelDirectory opened() {
        return super.open();
    }
}

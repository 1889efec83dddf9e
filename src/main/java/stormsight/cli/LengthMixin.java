package stormsight.cli;

import picocli.CommandLine.Option;
import stormsight.model.Limits;
import stormsight.model.Options;
import stormsight.model.Processor;

/** Options that say how long prompt and answer are where there are none. */
final class LengthMixin {
    @Option(names = "--prompt-tokens", paramLabel = "N", defaultValue = "32",
            description = "Tokens of the prompt without the image's. Default: ${DEFAULT-VALUE}.")
    private int promptTokens;

    @Option(names = {"-n", "--max-new-tokens", "--max-tokens"}, paramLabel = "N", defaultValue = "128",
            description = "Tokens of the answer. Default: ${DEFAULT-VALUE}.")
    private int maxTokens;

    /** Before anything is computed. */
    void check() {
        if (promptTokens < 1 || maxTokens < 1) {
            throw new UsageException("--prompt-tokens and --max-tokens must be positive");
        }
    }

    int promptTokens() {
        return promptTokens;
    }

    int maxTokens() {
        return maxTokens;
    }

    Limits limits(Processor processor) {
        return processor.limits(Math.addExact(processor.imageTokens(), promptTokens), maxTokens);
    }
}

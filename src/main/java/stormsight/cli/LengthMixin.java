package stormsight.cli;

import picocli.CommandLine.Option;
import stormsight.model.PaliGemma;
import stormsight.model.PaliGemmaConfig;

/** Options that say how long prompt and answer are where there are none. */
final class LengthMixin {
    @Option(names = "--prompt-tokens", paramLabel = "N", defaultValue = "32",
            description = "Tokens of the prompt without the image's. Default: ${DEFAULT-VALUE}.")
    private int promptTokens;

    @Option(names = {"-n", "--max-tokens"}, paramLabel = "N", defaultValue = "128",
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

    PaliGemma.Limits limits(PaliGemmaConfig config) {
        return new PaliGemma.Limits(Math.addExact(config.vision().tokens(), promptTokens), maxTokens);
    }
}

package stormsight.cli;

import picocli.CommandLine.Option;
import stormsight.checkpoint.Strictness;

/** What becomes of what is odd about a model's files and changes no answer. */
final class StrictMixin {
    @Option(
            names = "--strict",
            description =
                    "Refuse a model whose files hold anything odd, instead of warning and using what the answer needs.")
    private boolean strict;

    Strictness strictness() {
        return strict ? Strictness.STRICT : Strictness.LENIENT;
    }
}

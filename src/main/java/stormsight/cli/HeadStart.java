package stormsight.cli;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.Precision;
import stormsight.checkpoint.ModelPath;
import stormsight.checkpoint.StrictJson;

/**
 * Begins, on a thread of its own, with what a command will wait for soon, while its options are read: that takes a new
 * process a fifth of a second and one core. Nothing of it has a result or is told of. Words that mean something else
 * than they seem to, before they are parsed, cost some work in vain.
 */
final class HeadStart {
    /** Those that run a model in this process. */
    private static final Set<String> COMMANDS = Set.of(
            "generate", "batch", "chat", "serve", "match", "classify", "embed", "search", "explain", "attend",
            "knockout", "lens");

    private HeadStart() {}

    static void begin(String... arguments) {
        if (arguments.length > 0 && COMMANDS.contains(arguments[0])) {
            Thread.ofPlatform().daemon().name("stormsight-head-start").start(() -> {
                List<String> words = List.of(arguments);
                value(words, "--model", "-m").ifPresent(model -> Backends.anticipate(
                        value(words, "--backend").orElse(Backends.AUTO), options(words), bytes(model)));
                StrictJson.prepare();
            });
        }
    }

    private static BackendOptions options(List<String> words) {
        boolean strict = words.contains("--strict-math") || Environment.strictMath();
        return BackendOptions.DEFAULT.withPrecision(strict ? Precision.STRICT : Precision.FAST);
    }

    private static long bytes(String model) {
        try {
            return ModelPath.weightBytes(Path.of(model));
        } catch (InvalidPathException e) {
            return 0;
        }
    }

    /** The last value that an option seems to have. */
    private static Optional<String> value(List<String> words, String... names) {
        Optional<String> found = Optional.empty();
        for (int i = 1; i < words.size(); i++) {
            for (String name : names) {
                if (words.get(i - 1).equals(name)) {
                    found = Optional.of(words.get(i));
                } else if (words.get(i).startsWith(name + "=")) {
                    found = Optional.of(words.get(i).substring(name.length() + 1));
                }
            }
        }
        return found;
    }
}

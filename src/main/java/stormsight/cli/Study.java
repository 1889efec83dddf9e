package stormsight.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import stormsight.report.OutputFile;
import stormsight.study.ExampleResult;
import stormsight.study.ResultLog;

/**
 * An experiment over examples, one result each, which goes on where it was stopped if its results are kept in a folder.
 *
 * @param <R> a result
 */
final class Study<R extends ExampleResult> implements AutoCloseable {
    private static final String LOG = "results.jsonl";

    private final Optional<ResultLog<R>> log;
    private final Map<Integer, R> results = new LinkedHashMap<>();
    private final Optional<Path> folder;

    private Study(Optional<Path> folder, Optional<ResultLog<R>> log) {
        this.folder = folder;
        this.log = log;
        log.ifPresent(kept -> kept.results().forEach(result -> results.put(result.line(), result)));
    }

    /**
     * Opens a folder, makes it if need be, and reads what is there.
     *
     * @param settings what results depend on
     */
    static <R extends ExampleResult> Study<R> open(Optional<Path> folder, Map<String, String> settings, Class<R> type) {
        if (folder.isEmpty()) {
            return new Study<>(folder, Optional.empty());
        }
        try {
            Files.createDirectories(folder.get());
            return new Study<>(folder, Optional.of(ResultLog.open(folder.get().resolve(LOG), settings, type)));
        } catch (IOException e) {
            throw OutputFile.unwritable(folder.get(), e);
        } catch (IllegalArgumentException e) {
            throw new UsageException("--out: " + e.getMessage());
        }
    }

    /** Refuses to go on where activations were rounded and are not, or the other way round. */
    void requireRounding(boolean rounded) {
        if (log.isPresent()) {
            try {
                log.get().requireRounding(rounded);
            } catch (IOException e) {
                throw OutputFile.unwritable(folder.orElseThrow(), e);
            } catch (IllegalArgumentException e) {
                throw new UsageException("--out: " + e.getMessage());
            }
        }
    }

    /** Examples without a result. */
    List<ExampleMixin.Asking> remaining(List<ExampleMixin.Asking> askings) {
        return askings.stream().filter(asking -> !results.containsKey(asking.example().line())).toList();
    }

    /**
     * Runs the experiment for examples. Each result is in the folder as soon as it is there, unless the example's files
     * could not be used: that example is asked again when the experiment goes on.
     */
    void run(List<ExampleMixin.Asking> askings, Progress progress, Function<ExampleMixin.Asking, R> experiment) {
        for (int i = 0; i < askings.size(); i++) {
            progress.example(i + 1, askings.size());
            ExampleMixin.Asking asking = askings.get(i);
            R result;
            try {
                result = experiment.apply(asking);
            } catch (IllegalArgumentException e) {
                throw new UsageException((asking.example().line() > 0
                                ? "line " + asking.example().line() + " of the data set: "
                                : "")
                        + e.getMessage());
            }
            if (log.isPresent() && !result.unread()) {
                try {
                    log.get().add(result);
                } catch (IOException e) {
                    throw OutputFile.unwritable(folder.orElseThrow(), e);
                }
            }
            results.put(result.line(), result);
        }
        progress.clear();
    }

    /** Results of these examples, in their order. */
    List<R> results(List<ExampleMixin.Asking> askings) {
        return askings.stream().map(asking -> results.get(asking.example().line())).toList();
    }

    @Override
    public void close() {
        if (log.isPresent()) {
            try {
                log.get().close();
            } catch (IOException e) {
                throw OutputFile.unwritable(folder.orElseThrow(), e);
            }
        }
    }
}

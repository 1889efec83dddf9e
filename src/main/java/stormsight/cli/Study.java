package stormsight.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToIntFunction;
import stormsight.analysis.MeanBand;
import stormsight.backend.Backend;
import stormsight.figure.Curve;
import stormsight.figure.CurveFigure;
import stormsight.figure.FigureException;
import stormsight.figure.ReportData;
import stormsight.session.ModelDirectory;
import stormsight.session.ResultLog;

/**
 * An experiment over examples, one result each, which goes on where it was stopped if its results are kept in a folder.
 *
 * @param <R> a result
 */
final class Study<R> implements AutoCloseable {
    private static final String LOG = "results.jsonl";

    private final Optional<ResultLog<R>> log;
    private final Map<Integer, R> results = new LinkedHashMap<>();
    private final ToIntFunction<R> line;
    private final Predicate<R> again;
    private final Optional<Path> folder;

    private Study(Optional<Path> folder, Optional<ResultLog<R>> log, ToIntFunction<R> line, Predicate<R> again) {
        this.folder = folder;
        this.log = log;
        this.line = line;
        this.again = again;
        log.ifPresent(kept -> kept.results().forEach(result -> results.put(line.applyAsInt(result), result)));
    }

    /**
     * Opens a folder, makes it if need be, and reads what is there.
     *
     * @param settings what results depend on
     * @param line which example a result belongs to
     * @param again results that are not kept in the folder: when the experiment goes on, their examples are asked again
     */
    static <R> Study<R> open(Optional<Path> folder, Map<String, String> settings, Class<R> type, ToIntFunction<R> line, Predicate<R> again) {
        if (folder.isEmpty()) {
            return new Study<>(folder, Optional.empty(), line, again);
        }
        try {
            Files.createDirectories(folder.get());
            return new Study<>(folder, Optional.of(ResultLog.open(folder.get().resolve(LOG), settings, type)), line, again);
        } catch (IOException e) {
            throw unwritable(folder.get(), e);
        } catch (IllegalArgumentException e) {
            throw new UsageException("--out: " + e.getMessage());
        }
    }

    private static FigureException unwritable(Path folder, IOException e) {
        return new FigureException(folder, "cannot be written: " + e, e);
    }

    /** What all experiments depend on. */
    static Map<String, String> settings(String experiment, ModelMixin model, ModelDirectory directory, Backend backend) {
        Map<String, String> settings = new LinkedHashMap<>();
        settings.put("experiment", experiment);
        settings.put("model", model.name());
        settings.put("checkpoint", directory.fingerprint());
        settings.put("options", model.options().toString());
        settings.put("resize", directory.preprocessing().resampling().toString());
        settings.put("backend", backend.device().backend() + " " + backend.device().name());
        return settings;
    }

    /** Examples without a result. */
    List<ExampleMixin.Asking> remaining(List<ExampleMixin.Asking> askings) {
        return askings.stream().filter(asking -> !results.containsKey(asking.example().line())).toList();
    }

    /** Runs the experiment for examples; each result that is to be kept is so as soon as it is there. */
    void run(List<ExampleMixin.Asking> askings, Progress progress, Function<ExampleMixin.Asking, R> experiment) {
        for (int i = 0; i < askings.size(); i++) {
            progress.example(i + 1, askings.size());
            ExampleMixin.Asking asking = askings.get(i);
            R result;
            try {
                result = experiment.apply(asking);
            } catch (IllegalArgumentException e) {
                throw new UsageException((asking.example().line() > 0 ? "line " + asking.example().line() + " of the data set: " : "") + e.getMessage());
            }
            if (log.isPresent() && !again.test(result)) {
                try {
                    log.get().add(result);
                } catch (IOException e) {
                    throw unwritable(folder.orElseThrow(), e);
                }
            }
            results.put(line.applyAsInt(result), result);
        }
        progress.clear();
    }

    /** Results of these examples, in their order. */
    List<R> results(List<ExampleMixin.Asking> askings) {
        return askings.stream().map(asking -> results.get(asking.example().line())).toList();
    }

    /** How often each reason occurs. */
    static Map<String, Integer> count(List<String> reasons) {
        Map<String, Integer> counts = new TreeMap<>();
        reasons.forEach(reason -> counts.merge(reason, 1, Integer::sum));
        return counts;
    }

    /** {@code kept 5 of 8: 2 wrong answer, 1 image cannot be read}. */
    static String kept(int kept, int all, Map<String, Integer> dropped) {
        List<String> parts = new ArrayList<>();
        dropped.forEach((reason, count) -> parts.add(count + " " + reason));
        return "kept " + kept + " of " + all + (parts.isEmpty() ? "" : ": " + String.join(", ", parts));
    }

    /** A mean over layers or depths, with its band where there are several examples. */
    static Curve curve(String name, MeanBand band) {
        double[] x = new double[band.mean().length];
        Arrays.setAll(x, layer -> layer);
        return band.examples() > 1 ? new Curve(name, x, band.mean(), Optional.of(band.low()), Optional.of(band.high()))
                : new Curve(name, x, band.mean());
    }

    static void draw(Path folder, String name, ReportData.CurveSet set) {
        for (String ending : new String[] {".svg", ".png"}) {
            CurveFigure.write(folder.resolve(name + ending), set.title(), set.xLabel(), set.yLabel(), set.curves());
        }
    }

    /** @param rows line, image, question, answer, and "yes" or why the example was not kept */
    static ReportData.Table table(List<List<String>> rows) {
        return new ReportData.Table("Examples", List.of("Line", "Image", "Question", "The model's answer", "Kept"), rows);
    }

    @Override
    public void close() {
        if (log.isPresent()) {
            try {
                log.get().close();
            } catch (IOException e) {
                throw unwritable(folder.orElseThrow(), e);
            }
        }
    }
}

package stormsight.study;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.image.RgbImage;
import stormsight.report.Curve;
import stormsight.report.CurveFigure;
import stormsight.report.OutputFile;
import stormsight.report.ReportData.Fact;
import stormsight.report.ReportData;

/**
 * What an experiment found, in the forms in which it is told.
 *
 * @param <R> what it found for one example
 */
public interface Findings<R extends ExampleResult> {
    /** Of the experiment, and of its files. */
    String name();

    /** Of the page. */
    String title();

    Outcome<R> outcome();

    /** What a page says beside what was asked and what came of it. */
    List<Fact> facts();

    /** By name of their files; without those that no example has. */
    Map<String, ReportData.CurveSet> figures();

    /** Numbers of every example, as CSV. */
    String examplesCsv();

    /** Numbers of the curves, as CSV. */
    String curvesCsv();

    /** Numbers of the curves, for JSON. */
    List<Map<String, Object>> curves();

    /** What JSON says of an example that was asked, beside question and answer. */
    Map<String, Object> measured(R result);

    /** A table for people. */
    void print(PrintWriter out);

    /**
     * All that was found, for programs.
     *
     * @param version of this program
     */
    default Map<String, Object> json(String version) {
        Outcome<R> outcome = outcome();
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("examples", outcome.counts());
        object.put("band", MeanBand.METHOD);
        object.put("curves", curves());
        object.put("results", outcome.results().stream().map(this::json).toList());
        object.put("settings", outcome.settings());
        object.put("model", outcome.model());
        object.put("device", outcome.device().title());
        object.put("version", version);
        return object;
    }

    private Map<String, Object> json(R result) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("line", result.line());
        object.put("image", result.image());
        object.put("question", result.question());
        result.dropped().ifPresent(reason -> object.put("dropped", reason));
        result.detail().ifPresent(detail -> object.put("detail", detail));
        result.prediction().ifPresent(prediction -> object.put("prediction", prediction));
        object.putAll(measured(result));
        return object;
    }

    /**
     * Writes curves, numbers and results into a folder.
     *
     * @param json as {@link #json(String)} gives it, as text
     * @throws stormsight.report.FigureException if a file cannot be written
     */
    default void write(Path folder, String json) {
        OutputFile.write(folder.resolve(name() + ".json"), json + "\n");
        OutputFile.write(folder.resolve(name() + ".csv"), examplesCsv());
        OutputFile.write(folder.resolve("curves.csv"), curvesCsv());
        figures().forEach((name, set) -> {
            for (String ending : new String[] {".svg", ".png"}) {
                CurveFigure.write(folder.resolve(name + ending), set.title(), set.xLabel(), set.yLabel(), set.curves());
            }
        });
    }

    /**
     * A page of all that was found.
     *
     * @param image that was asked about, if it is only one
     */
    default ReportData page(Optional<RgbImage> image) {
        List<Fact> facts = new ArrayList<>(outcome().facts());
        facts.addAll(facts());
        return new ReportData(title(), facts, image, List.of(), List.copyOf(figures().values()), outcome().tables());
    }

    /** A mean over layers or depths, with its band where there are several examples. */
    static Curve curve(String name, MeanBand band) {
        double[] x = new double[band.mean().length];
        Arrays.setAll(x, layer -> layer);
        return band.examples() > 1 ? new Curve(name, x, band.mean(), Optional.of(band.low()), Optional.of(band.high()))
                : new Curve(name, x, band.mean());
    }
}

package stormsight.cli;

import java.io.PrintWriter;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.report.Curve;
import stormsight.report.ReportData.Fact;
import stormsight.report.ReportData;
import stormsight.study.ExampleResult;
import stormsight.study.MeanBand;

/**
 * What an experiment found, in the forms in which it is told.
 *
 * @param <R> what it found for one example
 */
interface Findings<R extends ExampleResult> {
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

    /** A mean over layers or depths, with its band where there are several examples. */
    static Curve curve(String name, MeanBand band) {
        double[] x = new double[band.mean().length];
        Arrays.setAll(x, layer -> layer);
        return band.examples() > 1 ? new Curve(name, x, band.mean(), Optional.of(band.low()), Optional.of(band.high()))
                : new Curve(name, x, band.mean());
    }
}

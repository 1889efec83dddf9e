package stormsight.report;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import stormsight.image.RgbImage;

/**
 * What a report shows. All parts but the title may be missing.
 *
 * @param facts model, prompt, answer, command and the like, in the order in which they are to be read
 * @param image shown alone; images of maps are shown with them
 * @param figures in the order in which they are to be read
 * @param attention to choose from where there are several
 */
public record ReportData(
        String title,
        List<Fact> facts,
        Optional<RgbImage> image,
        List<Figure> figures,
        List<AttentionData> attention,
        List<CurveSet> curves,
        List<Table> tables) {
    public ReportData {
        facts = List.copyOf(facts);
        figures = List.copyOf(figures);
        attention = List.copyOf(attention);
        curves = List.copyOf(curves);
        tables = List.copyOf(tables);
    }

    /** Without figures. */
    public ReportData(
            String title,
            List<Fact> facts,
            Optional<RgbImage> image,
            List<AttentionData> attention,
            List<CurveSet> curves,
            List<Table> tables) {
        this(title, facts, image, List.of(), attention, curves, tables);
    }

    /** The same with more facts behind its own. */
    public ReportData with(List<Fact> more) {
        return new ReportData(
                title,
                Stream.concat(facts.stream(), more.stream()).toList(),
                image,
                figures,
                attention,
                curves,
                tables);
    }

    /**
     * A picture that is drawn already.
     *
     * @param text what is seen in it, in a sentence or two
     * @param png its file, which the page takes in
     */
    public record Figure(String title, String text, Path png) {}

    /**
     * A line about the run.
     *
     * @param code whether the value is what a computer reads, such as a command
     */
    public record Fact(String name, String value, boolean code) {
        /** A fact in words. */
        public Fact(String name, String value) {
            this(name, value, false);
        }
    }

    /**
     * Curves of one pair of axes. Their numbers stand in a table below them.
     *
     * @param note a sentence above the curves, such as what the bands are and of how many examples; may be empty
     */
    public record CurveSet(String title, String note, String xLabel, String yLabel, List<Curve> curves) {
        public CurveSet {
            curves = List.copyOf(curves);
            if (curves.isEmpty()) {
                throw new IllegalArgumentException("\"" + title + "\" has no curves");
            }
        }
    }

    /** Words and numbers in rows. */
    public record Table(String title, List<String> columns, List<List<String>> rows) {
        public Table {
            columns = List.copyOf(columns);
            rows = rows.stream().map(List::copyOf).toList();
            for (List<String> row : rows) {
                if (row.size() != columns.size()) {
                    throw new IllegalArgumentException(
                            "\"" + title + "\": a row of " + row.size() + " cells for " + columns.size() + " columns");
                }
            }
        }
    }
}

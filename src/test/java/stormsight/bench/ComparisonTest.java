package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.backend.Precision;
import stormsight.program.DType;

/** How configurations are told apart. */
class ComparisonTest {
    private static final Configuration PLAIN = new Configuration(
            Optional.of("/a/model"), Optional.empty(), "cpu", Optional.empty(), 0, Optional.empty(), Optional.empty(),
            false, false, Precision.FAST);

    @TempDir
    private Path temporary;

    @Test
    void labelsAreWhatDiffers() {
        assertEquals(
                List.of("weights=stored", "weights=q8"),
                Comparison.labels(List.of(PLAIN, PLAIN.withWeights(Optional.of(DType.Q8)))));
    }

    @Test
    void aLabelIsNeverEmpty() {
        assertEquals(
                List.of("model=model backend=cpu weights=stored", "threads=2"),
                Comparison.labels(List.of(PLAIN, PLAIN.withThreads(2))));
    }

    @Test
    void modelsOfOneNameAreNumbered() {
        Configuration other = PLAIN.withModel("/b/model");
        String name = "model=model backend=cpu weights=stored";
        assertEquals(List.of(name, name + " (2)"), Comparison.labels(List.of(PLAIN, other)));
        assertEquals(List.of("weights=stored", "weights=stored (2)", "weights=q8"),
                Comparison.labels(List.of(PLAIN, other, PLAIN.withWeights(Optional.of(DType.Q8)))));
        assertEquals(List.of("a", "a (3)", "a (2)"), Labels.distinct(List.of("a", "a", "a (2)")));
    }

    @Test
    void aFigureHasBarsForEach() throws IOException {
        List<Row> once = List.of(
                Rows.row(Trial.of(Trial.Part.ENCODE), "cpu", List.of(3.0)),
                Rows.row(Trial.prefill(16), "cpu", List.of(8.0)));
        List<Row> twice = List.of(once.getFirst(), once.getLast(), once.getFirst(), once.getLast());
        Path one = temporary.resolve("one.svg");
        Path two = temporary.resolve("two.svg");
        ResultFigure.write(one, once);
        ResultFigure.write(two, twice);
        assertEquals(1, Files.readString(one).split("a model, bf16", -1).length - 1);
        assertEquals(2, Files.readString(two).split("a model, bf16", -1).length - 1);
        assertTrue(Files.readString(two).contains("4 threads (2)"));
    }
}

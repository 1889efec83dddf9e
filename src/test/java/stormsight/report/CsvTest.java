package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CsvTest {
    private static String cell(Object value) {
        Csv csv = new Csv("a");
        csv.row(value);
        return csv.toString().substring("a\n".length()).replaceFirst("\n$", "");
    }

    @Test
    void quotesWhatHasCommasQuotesOrNewlines() {
        Csv csv = new Csv("a", "b, c");
        csv.row("say \"no\"", "two\nlines");
        csv.row(1.5, true);
        assertEquals("a,\"b, c\"\n\"say \"\"no\"\"\",\"two\nlines\"\n1.5,true\n", csv.toString());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "=1+1",
                "+cmd|' /C calc'!A0",
                "-2+3",
                "@SUM(A1)",
                "\tx",
                "-",
                "+",
                "--5",
                "-1e",
                "-Infinity",
                "+ star",
                "-5 "
            })
    void marksTextThatBeginsLikeAFormula(String text) {
        assertEquals("'" + text, cell(text));
    }

    @Test
    void marksAndQuotes() {
        assertEquals("\"'\rx\"", cell("\rx"));
        assertEquals("\"'=HYPERLINK(\"\"http://a\"\",\"\"b\"\")\"", cell("=HYPERLINK(\"http://a\",\"b\")"));
    }

    /** Numbers are no formulas, whether they come as such or as text. */
    @ParameterizedTest
    @CsvSource({"-5", "+5", "-0.25", "-.5", "-1e-7", "+1.5E+10", "-3."})
    void leavesNumbersAlone(String number) {
        assertEquals(number, cell(number));
        assertEquals(String.valueOf(Double.parseDouble(number)), cell(Double.parseDouble(number)));
    }

    @Test
    void leavesOtherTextAlone() {
        assertEquals("a=1", cell("a=1"));
        assertEquals(" star", cell(" star"));
        assertEquals("", cell(null));
        assertEquals("-1.0 2.5", cell(List.of(-1.0, 2.5)));
        assertEquals("'=a", cell(List.of("=a")));
        assertEquals("-Infinity", cell(Double.NEGATIVE_INFINITY));
    }
}

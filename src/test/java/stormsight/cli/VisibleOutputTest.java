package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

/** What would steer a terminal is shown; everything else comes out as it is. */
class VisibleOutputTest {
    private static String written(String text) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintWriter writer =
                new PrintWriter(new PrintStream(new VisibleOutput(bytes), true, StandardCharsets.UTF_8), true);
        writer.print(text);
        writer.flush();
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void controlCharactersAreShown() {
        assertEquals("\\u001b]0;title\\u0007\\u001b[31mX", written("\u001b]0;title\u0007\u001b[31mX"));
        assertEquals("a\\u0000b\\u0008c\\u007fd", written("a\0b\bc\u007fd"));
        assertEquals("\\u009b31m\\u0085", written("\u009b31m\u0085"));
        assertEquals("over\\u000dwritten", written("over\rwritten"));
        assertEquals("\\u202etxt.exe\\u2066", written("\u202etxt.exe\u2066"));
    }

    @Test
    void textStaysAsItIs() {
        String text = "tab\tline\nWindows\r\nÄ é 漢字 \uD83D\uDE00 \u00a0\u2029\u2065 \\u001b";
        assertEquals(text, written(text));
        String longText = "é漢".repeat(20_000);
        assertEquals(longText, written(longText));
    }

    @Test
    void singleBytesAreLookedAtToo() {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(new VisibleOutput(bytes));
        stream.write(0x1b);
        stream.write('x');
        stream.flush();
        assertEquals("\\u001bx", bytes.toString(StandardCharsets.UTF_8));
    }
}

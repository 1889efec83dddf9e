package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.cli.MainTest.Run;

/** A conversation whose lines come through a pipe. */
class ChatTest {
    @TempDir
    private Path temporary;

    private static Run chat(String typed, String... options) {
        InputStream before = System.in;
        System.setIn(new ByteArrayInputStream(typed.getBytes(StandardCharsets.UTF_8)));
        try {
            String[] arguments = new String[options.length + 3];
            System.arraycopy(new String[] {"chat", "--backend", "cpu"}, 0, arguments, 0, 3);
            System.arraycopy(options, 0, arguments, 3, options.length);
            return MainTest.run(arguments);
        } finally {
            System.setIn(before);
        }
    }

    @Test
    void answersPromptAfterPrompt() throws IOException {
        Path saved = temporary.resolve("said.txt");
        Run run = chat(
                """
                caption en
                /image nowhere.png
                /image examples/kitchen.png

                caption en
                /task answer en
                how many blue objects are there?
                /unknown
                /save %s
                /quit
                never asked
                """
                        .formatted(saved));
        assertEquals(0, run.exitCode(), run.err());
        List<String> lines = run.out().lines().toList();
        assertEquals("there is no image yet; name one with /image FILE", lines.get(0));
        assertEquals("nowhere.png: no such file", lines.get(1));
        assertTrue(lines.get(2).startsWith("examples/kitchen.png, "), run.out());
        assertEquals("a red triangle, a purple star and a blue triangle", lines.get(3));
        assertEquals("before every prompt: answer en", lines.get(4));
        assertEquals("1", lines.get(5));
        assertTrue(lines.get(6).startsWith("/unknown is no command"), run.out());
        assertEquals(8, lines.size(), run.out());
        assertEquals(
                """
                image: examples/kitchen.png
                prompt: caption en
                answer: a red triangle, a purple star and a blue triangle
                prompt: answer en how many blue objects are there?
                answer: 1
                """,
                Files.readString(saved));
    }

    @Test
    void endsWithItsInputAndKeepsToItsOptions() {
        Run run = chat("caption en", "--image", "examples/kitchen.png", "--stop", ", a");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("a red triangle\n", run.out());
    }
}

package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import stormsight.Goldens;

/** {@code generate} without a prompt. */
class CaptionTest {
    private static MainTest.Run generate(String golden) {
        Path folder = Goldens.folder(golden);
        return MainTest.run("generate", "-m", folder.toString(), "-i", folder.resolve("input.png").toString(), "-n",
                "12");
    }

    @Test
    void writesOneWhereTheModelDoes() {
        MainTest.Run run = generate("blip2-opt");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("3l \u00f1 a W W W W WV there weathe", run.out().strip());
    }

    @Test
    void asksForAPromptElsewhere() {
        MainTest.Run run = generate("paligemma-mqa");
        assertEquals(2, run.exitCode(), run.err());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains("--prompt is missing"), run.err());
    }
}

package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import picocli.CommandLine.ParseResult;

/**
 * The examples of README.md: their options exist, their files do too, they write only where git does not look, and the
 * Java compiles.
 */
class ReadmeTest {
    private static final Pattern BLOCK = Pattern.compile("```(\\w+)\n(.*?)```", Pattern.DOTALL);
    private static final Pattern PICTURE =
            Pattern.compile("!\\[([^]]*)]\\(([^)]*)\\)|<img src=\"([^\"]*)\"[^>]*alt=\"([^\"]*)\"");
    private static final Pattern WORD = Pattern.compile("\"([^\"]*)\"|(\\S+)");
    private static final Set<String> WRITTEN = Set.of("--out", "--html", "--plot");
    private static final Set<String> READ = Set.of("--image", "--dataset");

    @TempDir
    private Path temporary;

    private static List<String> blocks(String language) throws IOException {
        return BLOCK.matcher(Files.readString(Path.of("README.md")))
                .results()
                .filter(block -> block.group(1).equals(language))
                .map(block -> block.group(2))
                .toList();
    }

    private static List<List<String>> commands() throws IOException {
        List<List<String>> commands = new ArrayList<>();
        for (String block : blocks("sh")) {
            block.lines()
                    .filter(line -> line.startsWith("./stormsight "))
                    .forEach(line -> commands.add(WORD.matcher(line)
                            .results()
                            .map((MatchResult word) -> word.group(1) != null ? word.group(1) : word.group(2))
                            .skip(1)
                            .toList()));
        }
        return commands;
    }

    /** For who does not see them: in words, and more than what kind of picture it is. */
    @Test
    void picturesSayWhatIsSeen() throws IOException {
        List<MatchResult> pictures = PICTURE.matcher(Files.readString(Path.of("README.md"))).results().toList();
        assertTrue(pictures.size() >= 5, pictures.size() + " pictures");
        for (MatchResult picture : pictures) {
            boolean markdown = picture.group(2) != null;
            String words = picture.group(markdown ? 1 : 4);
            assertTrue(words.split(" ").length > 8, words);
            assertTrue(Files.exists(Path.of(picture.group(markdown ? 2 : 3))), picture.group());
        }
    }

    @Test
    void commandsAreAsTheyAreTaken() throws IOException {
        assertTrue(commands().size() > 15, commands().toString());
        for (List<String> words : commands()) {
            ParseResult parsed = new CommandLine(Main.command(words.getFirst()))
                    .setCaseInsensitiveEnumValuesAllowed(true)
                    .parseArgs(words.subList(1, words.size()).toArray(String[]::new));
            parsed.matchedOptions().forEach(option -> {
                String value = String.valueOf(parsed.matchedOptionValue(option.longestName(), (Object) ""));
                for (String name : option.names()) {
                    if (WRITTEN.contains(name)) {
                        assertTrue(value.startsWith("out/"), words + ": " + value + " would be left for git to find");
                    }
                    if (READ.contains(name)) {
                        String file = option.originalStringValues().getFirst();
                        assertTrue(Files.exists(Path.of(file)), words + ": there is no " + file);
                    }
                }
            });
        }
        assertTrue(Arrays.asList(Files.readString(Path.of(".gitignore")).split("\n")).contains("out/"));
    }

    @Test
    void everyCommandIsDescribed() throws IOException {
        String text = Files.readString(Path.of("README.md"));
        Main.COMMANDS.stream()
                .filter(name -> !List.of(Measure.NAME, Offline.NAME).contains(name))
                .forEach(name -> assertTrue(text.contains("| `" + name), name));
    }

    @Test
    void theJavaExampleCompiles() throws IOException {
        List<String> blocks = blocks("java");
        assertEquals(1, blocks.size());
        Path source = Files.writeString(temporary.resolve("Caption.java"), blocks.getFirst());
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter said = new StringWriter();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
            assertTrue(
                    compiler.getTask(
                                    said,
                                    files,
                                    null,
                                    List.of("-d", temporary.toString(), "-cp", System.getProperty("java.class.path")),
                                    null,
                                    files.getJavaFileObjects(source))
                            .call(),
                    said.toString());
        }
    }
}

package stormsight;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * README's Java example, compiled and run by a JDK outside of the build, with nothing but what a program gets that
 * depends on Stormsight.
 */
@Timeout(180)
class LibraryTest {
    private static final Pattern EXAMPLE = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
    /** What the POM does not call optional, with what these need themselves. */
    private static final Pattern LIBRARY = Pattern.compile(
            "(jackson-(core|databind|annotations)|slf4j-api|commons-numbers-(gamma|core|fraction))-\\d.*\\.jar");
    private static final String VECTORS = "jdk.incubator.vector";
    private static final List<String> ANSWERS =
            List.of("a red triangle, a purple star and a blue triangle", "purple (2 tokens)", "yes", "no");

    @TempDir
    private Path temporary;

    private record Run(int exitCode, String out, String err) {
        List<String> answers() {
            return out.lines().toList();
        }
    }

    private Run run(String program, String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", program).toString());
        command.addAll(Arrays.asList(arguments));
        Path out = temporary.resolve("out.txt");
        Path err = temporary.resolve("err.txt");
        Process process = new ProcessBuilder(command)
                .directory(temporary.toFile())
                .redirectOutput(out.toFile())
                .redirectError(err.toFile())
                .start();
        assertTrue(process.waitFor(150, TimeUnit.SECONDS), "still runs");
        return new Run(process.exitValue(), Files.readString(out), Files.readString(err));
    }

    private static Path classes() {
        return Path.of("target", "classes").toAbsolutePath();
    }

    private static String libraries() {
        List<String> found = Stream.of(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(entry -> LIBRARY.matcher(Path.of(entry).getFileName().toString()).matches())
                .toList();
        assertTrue(found.size() >= 4, found.toString());
        return String.join(File.pathSeparator, found);
    }

    private static String image() {
        return Path.of("examples", "kitchen.png").toAbsolutePath().toString();
    }

    private Path example() throws IOException {
        Matcher example = EXAMPLE.matcher(Files.readString(Path.of("README.md")));
        assertTrue(example.find());
        return Files.writeString(temporary.resolve("Caption.java"), example.group(1));
    }

    private Run caption(String image, String... flags) throws IOException, InterruptedException {
        List<String> arguments = new ArrayList<>(Arrays.asList(flags));
        arguments.addAll(List.of(
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                classes() + File.pathSeparator + libraries(),
                example().toString(),
                image));
        return run("java", arguments.toArray(String[]::new));
    }

    @Test
    void theExampleAnswers() throws IOException, InterruptedException {
        Run run = caption(image(), "--add-modules", VECTORS);
        assertEquals(ANSWERS, run.answers(), run.err());
        assertEquals(0, run.exitCode());
    }

    @Test
    void aMissingImageIsNamed() throws IOException, InterruptedException {
        Run run = caption("missing.png", "--add-modules", VECTORS);
        assertEquals("", run.out());
        assertTrue(run.err().lines().anyMatch(line -> line.startsWith("IMAGE: missing.png: ")), run.err());
        assertFalse(run.err().contains("\tat "), run.err());
    }

    /** In one line, in place of a slow answer. */
    @Test
    void aMissingFlagIsNamed() throws IOException, InterruptedException {
        Run run = caption(image());
        assertEquals("", run.out());
        List<String> said = run.err().lines().filter(line -> !line.startsWith("SLF4J")).toList();
        assertEquals(1, said.size(), run.err());
        assertTrue(said.getFirst().startsWith("BACKEND: ") && said.getFirst().contains("--add-modules " + VECTORS),
                run.err());
    }

    /** As a named module it needs no flag, and shows one package. */
    @Test
    void theModuleShowsTheLibraryAlone() throws IOException, InterruptedException {
        Path module = temporary.resolve("stormsight");
        try (Stream<Path> files = Files.walk(classes())) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Path copy = module.resolve(classes().relativize(file));
                Files.createDirectories(copy.getParent());
                Files.copy(file, copy);
            }
        }
        String path = module + File.pathSeparator + libraries();
        Run described = run("javac", "-d", module.toString(), "-cp", module.toString(), "-p", libraries(),
                Path.of("src", "main", "module", "module-info.java").toAbsolutePath().toString());
        assertEquals(0, described.exitCode(), described.err());

        Path program = Files.createDirectory(temporary.resolve("program"));
        Path uses = Files.writeString(program.resolve("module-info.java"), "module program { requires stormsight; }");
        Path main = Files.writeString(program.resolve("Main.java"), """
                package program;
                import java.nio.file.Path;
                import stormsight.*;
                public class Main {
                    public static void main(String[] arguments) {
                        try (Stormsight model = Stormsight.embedded().backend("cpu").open()) {
                            IO.println(model.ask(Image.read(Path.of(arguments[0])), "caption en").text());
                        }
                    }
                }
                """);
        Path built = temporary.resolve("built");
        Run compiled = run("javac", "-d", built.toString(), "-p", path, uses.toString(), main.toString());
        assertEquals(0, compiled.exitCode(), compiled.err());
        Run run = run("java", "--enable-native-access=stormsight", "-p", built + File.pathSeparator + path, "-m",
                "program/program.Main", image());
        assertEquals(ANSWERS.subList(0, 1), run.answers(), run.err());

        Path inside = Files.writeString(
                program.resolve("Inside.java"),
                "package program; class Inside { stormsight.generate.Generator used; }");
        Run refused = run("javac", "-d", built.toString(), "-p", path, uses.toString(), inside.toString());
        assertFalse(refused.exitCode() == 0);
        assertTrue(refused.err().contains("does not export it"), refused.err());
    }
}

package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarOutputStream;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The launcher's lock, with a Maven that only fails: whatever a killed build left behind, the next one gets as far as
 * calling Maven. And what it has Java run, with a script in its place.
 */
@Timeout(120)
class LauncherTest {
    private static final String WAITS = "waiting for another build";
    private static final String FAILED = "the build failed";

    @TempDir
    private Path temporary;

    private Path app;
    private Path lock;

    /** Of the JDK of {@link #ofTheBuilt}. */
    private String release = "JAVA_VERSION=\"25\"\n";

    private String locale = "C.UTF-8";

    @BeforeEach
    void copyTheLauncher() throws IOException {
        assumeTrue(Files.isExecutable(Path.of("/bin/sh")), "the launcher needs a POSIX shell");
        app = Files.createDirectory(temporary.resolve("app"));
        Files.copy(Path.of("stormsight"), app.resolve("stormsight"), StandardCopyOption.COPY_ATTRIBUTES);
        Files.createFile(app.resolve("pom.xml"));
        lock = Files.createDirectory(app.resolve("target")).resolve(".building");
        Path maven = Files.createDirectory(temporary.resolve("bin")).resolve("mvn");
        Files.writeString(maven, "#!/bin/sh\nexit 1\n");
        assertTrue(maven.toFile().setExecutable(true));
    }

    private Process launch(String... redirection) throws IOException {
        ProcessBuilder builder =
                new ProcessBuilder("/bin/sh", "-c", "exec ./stormsight --version " + String.join(" ", redirection));
        builder.directory(app.toFile());
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        builder.environment().put("PATH", temporary.resolve("bin") + ":" + System.getenv("PATH"));
        return builder.redirectError(temporary.resolve("err").toFile()).start();
    }

    private String told() throws IOException {
        return Files.readString(temporary.resolve("err"));
    }

    private void builds() throws Exception {
        Process process = launch();
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), "still waiting: " + told());
        assertEquals(1, process.exitValue(), told());
        assertTrue(told().contains(FAILED), told());
        try (var left = Files.list(lock.getParent())) {
            assertEquals(List.of(), left.toList());
        }
    }

    @Test
    void withoutALockNothingWaits() throws Exception {
        builds();
        assertFalse(told().contains(WAITS), told());
    }

    @Test
    void aLockWithoutOwnerIsTakenAfterSeconds() throws Exception {
        Files.createDirectory(lock);
        builds();
        assertTrue(told().contains(WAITS), told());
    }

    /** The last one is of a process that lives, but began at another time: an id that was given again. */
    @ParameterizedTest
    @ValueSource(strings = {"", "\n", "1", "no number", "-1", "0 0", "999999999 1", "$$", "$$ 1"})
    void aLockOfNoBuildIsTaken(String owner) throws Exception {
        Files.createDirectory(lock);
        Files.writeString(lock.resolve("pid"), owner.replace("$$", String.valueOf(ProcessHandle.current().pid())));
        builds();
    }

    @Test
    void aFileInTheLocksPlaceIsTaken() throws Exception {
        Files.createFile(lock);
        builds();
    }

    @Test
    void aBuildThatRunsIsWaitedFor() throws Exception {
        Path stat = Path.of("/proc", String.valueOf(ProcessHandle.current().pid()), "stat");
        assumeTrue(Files.exists(stat), "the start of a process is read from /proc here");
        Process other = new ProcessBuilder("sleep", "100").start();
        try {
            String fields = Files.readString(Path.of("/proc", String.valueOf(other.pid()), "stat"));
            Files.createDirectory(lock);
            Files.writeString(
                    lock.resolve("pid"),
                    other.pid() + " "
                            + fields.substring(fields.lastIndexOf(')') + 2).split(" ")[19] + "\n");
            Process process = launch();
            assertFalse(process.waitFor(8, TimeUnit.SECONDS), told());
            assertTrue(told().contains(WAITS + " (process " + other.pid() + ") to finish"), told());
            other.destroy();
            assertTrue(other.waitFor(10, TimeUnit.SECONDS));
            assertTrue(process.waitFor(30, TimeUnit.SECONDS), told());
            assertEquals(1, told().lines().filter(line -> line.contains(WAITS)).count(), told());
            assertTrue(told().contains(FAILED), told());
        } finally {
            other.destroy();
        }
    }

    @Test
    void whatCannotBeWrittenIsSaid() throws Exception {
        Files.delete(app.resolve("target"));
        Files.createFile(app.resolve("target"));
        Process process = launch();
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), told());
        assertEquals(1, process.exitValue());
        assertTrue(told().contains("cannot write to " + app.toRealPath().resolve("target")), told());
    }

    /** The JVM would take the first file that it opens for a stream that is closed. */
    @Test
    void closedStreamsAreNoFilesOfTheJvm() throws Exception {
        assertEquals("0", ofTheBuilt("exec wc -c", "--version <&-"));
    }

    /** What the system does not know is the C locale, whatever its name says. */
    @ParameterizedTest
    @ValueSource(strings = {"C", "xx_XX.UTF-8"})
    void argumentsAreUtf8InEveryLocale(String named) throws Exception {
        assumeTrue(
                named.equals("C") || Files.isExecutable(Path.of("/usr/bin/locale")),
                "this system tells nothing of its locales");
        locale = named;
        assertEquals("C.UTF-8", ofTheBuilt("echo \"$LC_ALL\"", "--version"));
    }

    /** The compilers of OpenCL drivers set handlers of signals that the JVM needs itself. */
    @Test
    void besideAnSdkSignalsComeToTheJvmFirst() throws Exception {
        Path signals = Files.createFile(Files.createDirectories(temporary.resolve("jdk/lib")).resolve("libjsig.so"));
        Path modules = Files.createDirectories(temporary.resolve("sdk/share/java/tornado"));
        Files.createFile(modules.resolve("tornado-api-5.2.0-jdk25.jar"));
        String say = "echo \"$LD_PRELOAD\"";
        assertEquals(signals.toString(), ofTheBuilt(say, "devices"));
        assertEquals("", ofTheBuilt(say, "devices --backend cpu"));
    }

    /** Makes an archive where it is asked for one, and says so; else it prints what it is told to take. */
    private static final String ARCHIVING = """
            for argument in "$@"; do
                case $argument in
                    -XX:ArchiveClassesAtExit=*)
                        echo made >>made
                        echo classes >"${argument#*=}"
                        exit
                        ;;
                    -XX:SharedArchiveFile=*) echo "${argument#*=}" ;;
                esac
            done
            """;

    private long archivesMade() throws IOException {
        Path made = app.resolve("made");
        return Files.exists(made) ? Files.readAllLines(made).size() : 0;
    }

    @Test
    void anArchiveOfClassesIsMadeOnceForABuildAndAJdk() throws Exception {
        Path archive = Path.of(ofTheBuilt(ARCHIVING, "generate --backend cpu"));
        assertEquals(app.toRealPath().resolve("target"), archive.getParent());
        assertEquals("classes", Files.readString(archive).strip());
        assertEquals(archive.toString(), ofTheBuilt(ARCHIVING, "--help --backend cpu"));
        assertEquals(1, archivesMade());

        // Later than all that follows.
        Instant built = Files.getLastModifiedTime(archive).toInstant().plus(Duration.ofHours(1));
        Files.setLastModifiedTime(app.resolve("target/stormsight.jar"), FileTime.from(built));
        assertEquals(archive.toString(), ofTheBuilt(ARCHIVING, "generate --backend cpu"));
        assertEquals(2, archivesMade());

        release = "JAVA_VERSION=\"25.0.1\"\n";
        assertNotEquals(archive.toString(), ofTheBuilt(ARCHIVING, "generate --backend cpu"));
        assertFalse(Files.exists(archive), "an archive of an older build stays");
    }

    /** TornadoVM's modules and archives exclude each other. */
    @Test
    void whereDevicesMayBeUsedThereIsNoArchive() throws Exception {
        Path modules = Files.createDirectories(temporary.resolve("sdk/share/java/tornado"));
        Files.createFile(modules.resolve("tornado-api-5.2.0-jdk25.jar"));
        assertEquals("", ofTheBuilt(ARCHIVING, "generate"));
        assertEquals(0, archivesMade());
    }

    @Test
    void whatCannotBeArchivedIsTriedOnce() throws Exception {
        String fails = ARCHIVING.replace("exit\n", "exit 1\n");
        assertEquals("", ofTheBuilt(fails, "generate --backend cpu"));
        assertEquals("", ofTheBuilt(fails, "generate --backend cpu"));
        assertEquals(1, archivesMade());
    }

    /** Prints, in a JVM of its own. */
    static final class Greeting {
        private Greeting() {}

        public static void main(String[] arguments) {
            System.out.println("hello");
        }
    }

    /** The JVM's warnings of archives would stand between the words of an answer. */
    @Test
    void anArchiveThatDoesNotFitIsPassedOverWithoutAWord() throws Exception {
        Matcher silent = Pattern.compile("silent=\"([^\"]+)\"").matcher(Files.readString(Path.of("stormsight")));
        assertTrue(silent.find());
        Path jar = temporary.resolve("greeting.jar");
        greetings(jar, "");
        Path archive = temporary.resolve("classes.jsa");
        java(jar, "-Xlog:disable", "-XX:ArchiveClassesAtExit=" + archive);
        assumeTrue(Files.exists(archive), "this JDK makes no archives of classes");
        String take = "-XX:SharedArchiveFile=" + archive;
        assertEquals("hello", java(jar, take, silent.group(1)));
        // Of another build, cut short, and none.
        greetings(jar, "another build");
        assertNotEquals("hello", java(jar, take), "the JVM says nothing: this test tests nothing");
        assertEquals("hello", java(jar, take, silent.group(1)));
        Files.write(archive, Arrays.copyOf(Files.readAllBytes(archive), 5000));
        assertEquals("hello", java(jar, take, silent.group(1)));
        Files.writeString(archive, "no archive");
        assertEquals("hello", java(jar, take, silent.group(1)));
    }

    private static void greetings(Path file, String comment) throws IOException {
        String name = Greeting.class.getName().replace('.', '/') + ".class";
        try (JarOutputStream jar = new JarOutputStream(Files.newOutputStream(file));
                InputStream code = Greeting.class.getClassLoader().getResourceAsStream(name)) {
            jar.setComment(comment);
            jar.putNextEntry(new ZipEntry(name));
            code.transferTo(jar);
        }
    }

    /** What {@link Greeting} and its JVM say. */
    private static String java(Path jar, String... flags) throws Exception {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of(flags));
        command.addAll(List.of("-cp", jar.toString(), Greeting.class.getName()));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        assertEquals(0, process.waitFor(), said);
        return said;
    }

    /** What the launcher prints once everything is built, with a script in place of java. */
    private String ofTheBuilt(String script, String arguments) throws Exception {
        Path java = Files.createDirectories(temporary.resolve("jdk/bin")).resolve("java");
        Files.writeString(java, "#!/bin/sh\n" + script + "\n");
        assertTrue(java.toFile().setExecutable(true));
        Files.copy(java, java.resolveSibling("javac"), StandardCopyOption.COPY_ATTRIBUTES,
                StandardCopyOption.REPLACE_EXISTING);
        Files.writeString(temporary.resolve("jdk/release"), release);
        // Built, also where an SDK is.
        Path kernels = Files.createDirectories(app.resolve("target/classes/stormsight/tornado"));
        for (Path made : List.of(kernels.resolve("TornadoProvider.class"), app.resolve("target/stormsight.jar"))) {
            if (!Files.exists(made)) {
                Files.createFile(made);
            }
        }
        ProcessBuilder builder =
                new ProcessBuilder("/bin/sh", "-c", "exec ./stormsight " + arguments).directory(app.toFile());
        builder.environment().put("JAVA_HOME", temporary.resolve("jdk").toString());
        builder.environment().put("TORNADOVM_HOME", temporary.resolve("sdk").toString());
        builder.environment().put("LC_ALL", locale);
        builder.environment().remove("LD_PRELOAD");
        // The library is an empty file here, which the system's loader says.
        Process process = builder.redirectError(ProcessBuilder.Redirect.DISCARD).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        assertEquals(0, process.waitFor());
        return said;
    }

    /** The JVM says nothing of flags for methods that are not there. */
    @Test
    void flagsForLoopsNameClassesThatAreThere() throws Exception {
        Matcher list = Pattern.compile("for loops in ([^;]+);").matcher(Files.readString(Path.of("stormsight")));
        assertTrue(list.find());
        for (String name : list.group(1).replaceAll("['\\\\\\s]+", " ").strip().split(" ")) {
            assertNotNull(Class.forName("stormsight.backend.cpu." + name, false, getClass().getClassLoader()));
        }
    }
}

package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The launcher's lock, with a Maven that only fails: whatever a killed build left behind, the next one gets as far as
 * calling Maven.
 */
@Timeout(120)
class LauncherTest {
    private static final String WAITS = "waiting for another build";
    private static final String FAILED = "the build failed";

    @TempDir
    private Path temporary;

    private Path app;
    private Path lock;

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

    /** What the launcher prints once everything is built, with a script in place of java. */
    private String ofTheBuilt(String script, String arguments) throws Exception {
        Path java = Files.createDirectories(temporary.resolve("jdk/bin")).resolve("java");
        Files.writeString(java, "#!/bin/sh\n" + script + "\n");
        assertTrue(java.toFile().setExecutable(true));
        Files.copy(java, java.resolveSibling("javac"), StandardCopyOption.COPY_ATTRIBUTES,
                StandardCopyOption.REPLACE_EXISTING);
        Files.writeString(temporary.resolve("jdk/release"), "JAVA_VERSION=\"25\"\n");
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

package stormsight.cli;

import java.lang.management.ManagementFactory;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Collectors;
import stormsight.bench.Machine;

/** The only place that reads and sets system properties and variables. */
final class Environment {
    /** Loggers of java.util.logging, which takes a while to start: only for commands whose libraries use it. */
    private static final class Libraries {
        /** Kept, or its level would be lost. Lucene tells everybody that it found the Vector API. */
        private static final Logger LUCENE = Logger.getLogger("org.apache.lucene");
        /** Tells what it is made of. */
        private static final Logger HELIDON = Logger.getLogger("io.helidon");
    }

    /** An agent that waits for a debugger at a port can be there only once. */
    private static final String DEBUGGER = "-agentlib:jdwp";

    /** Stands for bytes that are no character. */
    private static final char UNDECODED = '\uFFFD';

    private static boolean verbose;

    private Environment() {}

    /** A command that runs {@link Main} with the flags and the class path of this JVM, and so with its backends. */
    static List<String> javaCommand(String... arguments) {
        List<String> command = new ArrayList<>();
        command.add(ProcessHandle.current()
                .info()
                .command()
                .orElse(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
                .filter(flag -> !flag.startsWith(DEBUGGER))
                .forEach(command::add);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
        command.addAll(List.of(arguments));
        return command;
    }

    /** What else of this JVM decides how a device computes: TornadoVM's settings and ours of it. */
    static String deviceSettings() {
        return System.getProperties().stringPropertyNames().stream()
                .filter(name -> name.startsWith("tornado.") || name.startsWith("stormsight.tornado."))
                .sorted()
                .map(name -> name + "=" + System.getProperty(name))
                .collect(Collectors.joining(" "));
    }

    /** Where this runs, for results. */
    static Machine machine() {
        Path built;
        try {
            built = Path.of(Main.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
        String architecture = System.getProperty("os.arch");
        return Machine.here(
                Version.text(),
                System.getProperty("os.name") + " " + System.getProperty("os.version") + ", " + architecture,
                architecture,
                built);
    }

    /**
     * Why arguments cannot be what was typed, in one line. Java decodes them before anybody sees them, by the locale.
     */
    static Optional<String> undecoded(String... arguments) {
        String charset = System.getProperty("sun.jnu.encoding");
        return Arrays.stream(arguments).anyMatch(argument -> argument.indexOf(UNDECODED) >= 0)
                        && !StandardCharsets.UTF_8.name().equals(charset)
                ? Optional.of("the arguments hold characters that this locale (" + charset
                        + ") does not have: set LC_ALL=C.UTF-8")
                : Optional.empty();
    }

    /** Where lines that were typed into {@code chat} are kept. */
    static Path chatHistory() {
        return Path.of(System.getProperty("user.home"), ".stormsight_history");
    }

    /** Whether everything is to be computed as closely to IEEE 754 as a device can; the launcher sets flags with it. */
    static boolean strictMath() {
        String chosen = System.getenv("STORMSIGHT_STRICT_MATH");
        return chosen != null && !chosen.isEmpty();
    }

    /** Whether standard input and output are one terminal. */
    static boolean interactive() {
        return System.console() != null && System.console().isTerminal();
    }

    /** Whether standard error is a terminal. */
    static boolean terminal() {
        return terminals().contains("error");
    }

    /** Whether standard output is a terminal. */
    static boolean outputTerminal() {
        return terminals().contains("output");
    }

    /**
     * The launcher says which streams are terminals; Java alone can only tell whether both input and output are one.
     */
    private static String terminals() {
        String told = System.getProperty("stormsight.terminals");
        return told != null ? told : System.console() != null && System.console().isTerminal() ? "output,error" : "";
    }

    /** What clients of a server must send, where no option says so: an option can be seen in the list of processes. */
    static Optional<String> apiKey() {
        return Optional.ofNullable(System.getenv("STORMSIGHT_API_KEY")).filter(key -> !key.isEmpty());
    }

    /** Must run before the first logger is made. */
    static void configureLogging(boolean all) {
        verbose = all;
        String prefix = "org.slf4j.simpleLogger.";
        System.setProperty(prefix + "logFile", "System.err");
        System.setProperty(prefix + "defaultLogLevel", "warn");
        System.setProperty(prefix + "log.stormsight", verbose ? "debug" : "info");
        System.setProperty(prefix + "showThreadName", "false");
        System.setProperty(prefix + "showLogName", "false");
        System.setProperty(prefix + "showShortLogName", "false");
        System.setProperty(prefix + "levelInBrackets", "false");
    }

    /** The same for Lucene and Helidon, before they are used. */
    static void configureLibraries() {
        Level level = verbose ? Level.INFO : Level.WARNING;
        Libraries.LUCENE.setLevel(level);
        Libraries.HELIDON.setLevel(level);
    }
}

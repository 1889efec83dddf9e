package stormsight.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.AutoComplete;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;
import picocli.CommandLine;
import stormsight.backend.BackendException;
import stormsight.bench.CheckFailedException;
import stormsight.bench.MeasuringException;
import stormsight.checkpoint.CheckpointException;
import stormsight.generate.LimitException;
import stormsight.image.ImageException;
import stormsight.report.FigureException;

/** The command line. Exceptions become one line and an exit code here and nowhere else. */
@Command(
        name = "stormsight",
        mixinStandardHelpOptions = true,
        scope = ScopeType.INHERIT,
        versionProvider = Version.class,
        description = "Runs vision-language models, and shows what they look at while they answer.",
        synopsisSubcommandLabel = "COMMAND",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:done",
            "1:standard output or a file cannot be written, or an error inside Stormsight",
            "2:wrong options or arguments",
            "3:a checkpoint is missing, broken or not supported",
            "4:an image cannot be read",
            "5:a backend or device is missing, too small, fails, or computes something that is not a number",
            "6:prompt and answer do not fit the model",
            "7:a verification found a difference, or a result was wrong before it was to be timed",
            "8:a row is slower, or a kernel worse, than in the result file it was compared with",
            "130:interrupted"
        })
public final class Main implements Runnable {
    private static final String INTERNAL_ERROR = "internal error: ";

    private static final int INTERNAL = 1;
    private static final int USAGE = 2;
    private static final int CHECKPOINT = 3;
    private static final int IMAGE = 4;
    private static final int BACKEND = 5;
    private static final int LIMIT = 6;
    static final int DIFFERENCE = 7;
    static final int SLOWER = 8;

    /** In the order of the help. */
    static final List<String> COMMANDS = List.of(
            "generate",
            "batch",
            "chat",
            "demo",
            "serve",
            "match",
            "classify",
            "embed",
            "search",
            "explain",
            "attend",
            "knockout",
            "lens",
            "inspect",
            "plan",
            "verify",
            "bench",
            "compare",
            Measure.NAME,
            "roofline",
            Offline.NAME,
            "quantize",
            "synthesize",
            "devices");

    @Spec
    private CommandSpec spec;

    @Option(
            names = {"-v", "--verbose"},
            scope = ScopeType.INHERIT,
            description = "Log more, and show the trace of an error.")
    private boolean verbose;

    Main() {}

    static Object command(String name) {
        return switch (name) {
            case "generate" -> new Generate();
            case "batch" -> new BatchCommand();
            case "chat" -> new Chat();
            case "demo" -> new Demo();
            case "serve" -> new Serve();
            case "match" -> new Match();
            case "classify" -> new Classify();
            case "embed" -> new Embed();
            case "search" -> new Search();
            case "explain" -> new Explain();
            case "attend" -> new Attend();
            case "knockout" -> new Knockout();
            case "lens" -> new Lens();
            case "inspect" -> new Inspect();
            case "plan" -> new Plan();
            case "verify" -> new Verify();
            case "bench" -> new Bench();
            case "compare" -> new Compare();
            case Measure.NAME -> new Measure();
            case "roofline" -> new RooflineCommand();
            case Offline.NAME -> new Offline();
            case "quantize" -> new Quantize();
            case "synthesize" -> new Synthesize();
            case "devices" -> new Devices();
            default -> throw new IllegalArgumentException("no command " + name);
        };
    }

    /** Parses and runs; the process ends with the exit code. */
    public static void main(String[] arguments) {
        OutputStream out = new FileOutputStream(FileDescriptor.out);
        System.setOut(utf8(Environment.outputTerminal() ? new VisibleOutput(out) : out));
        System.setErr(utf8(new VisibleOutput(new FileOutputStream(FileDescriptor.err))));
        Thread.setDefaultUncaughtExceptionHandler((thread, e) -> System.err.println(
                "stormsight: " + oneLine("internal error in the thread " + thread.getName() + ": " + e)));
        Optional<String> undecoded = Environment.undecoded(arguments);
        if (undecoded.isPresent()) {
            System.err.println("stormsight: " + undecoded.get());
            System.exit(USAGE);
        }
        System.exit(execute(new PrintWriter(System.out, true), new PrintWriter(System.err, true), arguments));
    }

    /** Answers and file names are UTF-8 whatever the locale says. */
    private static PrintStream utf8(OutputStream out) {
        return new PrintStream(out, true, StandardCharsets.UTF_8);
    }

    /** Parses and runs with other streams. */
    static int execute(PrintWriter out, PrintWriter err, String... arguments) {
        Environment.configureLogging(Arrays.asList(arguments).contains("--verbose")
                || Arrays.asList(arguments).contains("-v"));
        HeadStart.begin(arguments);
        Main main = new Main();
        CommandLine line = new CommandLine(main);
        if (arguments.length > 0 && COMMANDS.contains(arguments[0])) {
            // Reading the annotations of all commands would take longer than opening a model.
            line.addSubcommand(command(arguments[0]));
        } else if (!List.of(arguments).equals(List.of("--version"))) {
            COMMANDS.forEach(name -> line.addSubcommand(command(name)));
            line.addSubcommand(new AutoComplete.GenerateCompletion()).addSubcommand(new CommandLine.HelpCommand());
        }
        line.setOut(out)
                .setErr(err)
                .setCaseInsensitiveEnumValuesAllowed(true)
                // A prompt may begin with a dash, or with @.
                .setAllowOptionsAsOptionParameters(true)
                .setExpandAtFiles(false)
                .setEndOfOptionsDelimiter(Arguments.END_OF_OPTIONS)
                .setUsageHelpAutoWidth(true)
                .setParameterExceptionHandler((e, _) -> main.wrong(e))
                .setExecutionExceptionHandler((e, command, _) -> main.report(e, command.getErr()));
        int code;
        try {
            code = line.execute(Arguments.checked(line, arguments));
        } catch (ParameterException e) {
            return usage(e);
        } catch (LinkageError | VirtualMachineError e) {
            // The command is over and nothing outlives it.
            return main.report(e, err);
        }
        if (code == 0 && out.checkError()) {
            return main.report(OutputException.ofStandardOutput(), err);
        }
        return code;
    }

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "a command is missing");
    }

    /** A value may be refused because a file behind it cannot be read. */
    private int wrong(ParameterException e) {
        return e.getCause() instanceof ImageException || e.getCause() instanceof UncheckedIOException
                ? report(e.getCause(), e.getCommandLine().getErr()) : usage(e);
    }

    private static int usage(ParameterException e) {
        CommandLine command = e.getCommandLine();
        command.getErr().println("stormsight: " + oneLine(e.getMessage()));
        if (!CommandLine.UnmatchedArgumentException.printSuggestions(e, command.getErr())) {
            command.getErr().println("Try '" + command.getCommandSpec().qualifiedName() + " --help'.");
        }
        return USAGE;
    }

    /** Prints what went wrong, in one line and with --verbose as it was thrown. @return the exit code */
    int report(Throwable thrown, PrintWriter err) {
        Throwable e = explained(thrown);
        // A bar or a step may stand on the line.
        Progress.clearLine();
        int code = switch (e) {
            case CheckpointException _ -> CHECKPOINT;
            case ImageException _ -> IMAGE;
            case BackendException _, OutOfMemoryError _ -> BACKEND;
            case LimitException _ -> LIMIT;
            case CheckFailedException _ -> DIFFERENCE;
            case MeasuringException measuring -> measuring.exitCode();
            case UsageException _ -> USAGE;
            // The JVM's word for a page of a mapped file that is not there.
            case InternalError lost when String.valueOf(lost.getMessage()).contains("memory access") -> CHECKPOINT;
            default -> INTERNAL;
        };
        String message =
                switch (e) {
                    case OutOfMemoryError full -> "not enough memory: " + full.getMessage();
                    case InternalError _
                    when code == CHECKPOINT ->
                        "a file of the model was cut short, or its disk failed, while it was used";
                    case StackOverflowError _ -> INTERNAL_ERROR + "the stack is full";
                    case LinkageError _ -> "a part of Stormsight or of a library cannot be loaded: " + root(e);
                    case UncheckedIOException io -> reason(io);
                    case OutputException _, MeasuringException _, FigureException _ -> e.getMessage();
                    default -> code == INTERNAL ? INTERNAL_ERROR + e : e.getMessage();
                };
        err.println("stormsight: " + oneLine(message));
        if (verbose) {
            thrown.printStackTrace(err);
        } else if (message.startsWith(INTERNAL_ERROR)) {
            err.println("Run it again with --verbose for the trace.");
        }
        return code;
    }

    /** Whoever closes a model whose files were changed says so, which explains a fault of the device or the JVM. */
    private static Throwable explained(Throwable thrown) {
        return thrown instanceof BackendException || thrown instanceof InternalError
                ? Stream.of(thrown.getSuppressed())
                        .filter(CheckpointException.class::isInstance)
                        .findFirst()
                        .orElse(thrown)
                : thrown;
    }

    /** What an error began with: of a class that could not be initialised, why. */
    private static Throwable root(Throwable e) {
        return e.getCause() == null || e.getCause() == e ? e : root(e.getCause());
    }

    /** The words of whoever knew what was to be read or written, or the file and what the system says. */
    private static String reason(UncheckedIOException e) {
        IOException cause = e.getCause();
        return !String.valueOf(e.getMessage()).equals(cause.toString()) ? e.getMessage() : switch (cause) {
            case NoSuchFileException missing -> missing.getFile() + ": no such file";
            case AccessDeniedException denied -> denied.getFile() + ": permission denied";
            default -> cause.getMessage() == null ? cause.toString() : cause.getMessage();
        };
    }

    private static String oneLine(String message) {
        return message.strip().replaceAll("\\s*\\R\\s*", " ");
    }
}

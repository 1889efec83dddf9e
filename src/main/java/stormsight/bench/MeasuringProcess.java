package stormsight.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A JVM that holds one configuration and measures what it is told, see {@link MeasuringService}. */
final class MeasuringProcess implements AutoCloseable {
    private static final JsonMapper JSON = JsonMapper.shared();
    /** A process that is asked to end frees its device first. */
    private static final long PATIENCE_SECONDS = 20;
    /** How {@code cli.Main} begins the line of an error. */
    private static final String ERROR = "stormsight: ";

    private final Process process;
    private final PrintWriter requests;
    private final BufferedReader replies;
    private final Thread errors;
    /** A process that waits for its device or for the scalar backend would outlive this one by minutes. */
    private final Thread ending;
    private final long startNanos;
    private volatile String lastError = "";

    private MeasuringProcess(Process process, long spawned, PrintWriter log) {
        this.process = process;
        requests = new PrintWriter(process.outputWriter(StandardCharsets.UTF_8), true);
        replies = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        errors = Thread.ofPlatform().daemon().name("stormsight-measuring-errors").start(() -> readErrors(log));
        ending = new Thread(process::destroy, "stormsight-measuring-ending");
        try {
            Runtime.getRuntime().addShutdownHook(ending);
            reply();
        } catch (RuntimeException e) {
            close();
            throw e;
        }
        startNanos = System.nanoTime() - spawned;
    }

    /**
     * Starts a process and waits until it listens.
     *
     * @param command of a JVM that calls {@link MeasuringService#serve}
     * @param log what the process writes to its standard error, and what libraries write between replies
     */
    static MeasuringProcess start(List<String> command, PrintWriter log) {
        long spawned = System.nanoTime();
        try {
            return new MeasuringProcess(new ProcessBuilder(command).start(), spawned, log);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot start " + command.getFirst() + ": " + e.getMessage(), e);
        }
    }

    /** From before the process was made until it listened, in nanoseconds. */
    long startNanos() {
        return startNanos;
    }

    Setting open(MeasuringService.Open open) {
        return call(MeasuringService.OPEN, open, Setting.class);
    }

    Measured.Cold cold(MeasuringService.Open open) {
        return call(MeasuringService.COLD, open, Measured.Cold.class);
    }

    /** Compares what each trial computes with what it should, see {@link Check}. */
    MeasuringService.Checked check(List<Trial> trials, Check.Against against) {
        return call(
                MeasuringService.CHECK, new MeasuringService.Checks(trials, against), MeasuringService.Checked.class);
    }

    /** @return milliseconds of one run */
    double time(Trial trial) {
        return call(MeasuringService.TIME, trial, MeasuringService.Timed.class).nanos() / 1e6;
    }

    Agreement.Result agree(Agreement.Request request) {
        return call(MeasuringService.AGREE, request, Agreement.Result.class);
    }

    private <T> T call(String what, Object with, Class<T> type) {
        Map<String, Object> request = new LinkedHashMap<>();
        request.put("do", what);
        request.put("with", with);
        requests.println(JSON.writeValueAsString(request));
        return JSON.treeToValue(reply(), type);
    }

    private JsonNode reply() {
        try {
            for (String line = replies.readLine(); line != null; line = replies.readLine()) {
                // Libraries print to standard output, too.
                if (line.startsWith("{\"done\":")) {
                    return JSON.readTree(line).get("done");
                }
            }
            int code = process.waitFor();
            errors.join();
            throw new MeasuringException(
                    code == 0 ? 1 : code,
                    lastError.isEmpty() ? "a measuring process ended with exit code " + code : lastError);
        } catch (IOException e) {
            throw new UncheckedIOException("a measuring process cannot be heard: " + e.getMessage(), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            process.destroyForcibly();
            throw new IllegalStateException("interrupted", e);
        }
    }

    private void readErrors(PrintWriter log) {
        try (BufferedReader lines = process.errorReader(StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.startsWith(ERROR)) {
                    lastError = line.substring(ERROR.length());
                } else {
                    log.println(line);
                }
            }
        } catch (IOException e) {
            log.println("standard error of a measuring process: " + e.getMessage());
        }
    }

    @Override
    public void close() {
        requests.close();
        try {
            if (!process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        } finally {
            removeHook();
        }
    }

    private void removeHook() {
        try {
            Runtime.getRuntime().removeShutdownHook(ending);
        } catch (IllegalStateException e) {
            // This process is ending already: the hook does its work.
        }
    }
}

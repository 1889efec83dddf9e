package stormsight.study;

import com.fasterxml.jackson.annotation.JsonInclude;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import stormsight.checkpoint.LineLog;
import tools.jackson.core.JacksonException;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.PropertyNamingStrategies;
import tools.jackson.databind.json.JsonMapper;

/**
 * Results of a long experiment in a file, one JSON object a line, written as they come: what is interrupted goes on
 * from there. The first line holds the settings that all results were made with. A last line that was cut off by a
 * crash is dropped.
 *
 * @param <R> a record that Jackson can write and read
 */
public final class ResultLog<R> implements AutoCloseable {
    private static final JsonMapper MAPPER = JsonMapper.builder()
            .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
            .changeDefaultPropertyInclusion(
                    _ -> JsonInclude.Value.construct(JsonInclude.Include.NON_ABSENT, JsonInclude.Include.ALWAYS))
            .build();

    private static final String SETTINGS = "settings";
    /** A setting that is known only when the model is prepared. */
    private static final String ACTIVATIONS = "activations";
    /** Files have it that were begun when it was recorded, also where other rows were computed. */
    private static final String PROMPT_ROWS = ", promptRows=LAST";

    private final LineLog log;
    private final Path file;
    private final List<R> results = new ArrayList<>();
    /** As the file has them, or will. */
    private Map<String, String> settings;

    private ResultLog(LineLog log, Path file) {
        this.log = log;
        this.file = file;
    }

    /**
     * Opens or makes the file.
     *
     * @param settings what results depend on
     * @throws IllegalArgumentException if the file was made with other settings, is in use, or is no such file
     * @throws IOException if it cannot be read or written
     */
    public static <R> ResultLog<R> open(Path file, Map<String, String> settings, Class<R> type) throws IOException {
        LineLog lines = LineLog.open(file);
        try {
            ResultLog<R> log = new ResultLog<>(lines, file);
            log.restore(settings, type);
            return log;
        } catch (IOException | RuntimeException e) {
            lines.close();
            throw e;
        }
    }

    private void restore(Map<String, String> wanted, Class<R> type) throws IOException {
        List<String> lines = log.lines();
        if (lines.isEmpty()) {
            byte[] begun = log.rest();
            if (Stream.of(wanted, computed(wanted, true), computed(wanted, false))
                    .noneMatch(first -> begins(first, begun))) {
                throw foreign(1, null);
            }
            begin(wanted);
            return;
        }
        int line = 1;
        try {
            Map<String, Map<String, String>> first = MAPPER.readValue(lines.getFirst(), new TypeReference<>() {});
            if (first == null || first.get(SETTINGS) == null) {
                throw foreign(line, null);
            }
            if (lines.size() == 1) {
                // No result depends on the old settings.
                begin(wanted);
                return;
            }
            settings = first.get(SETTINGS);
            Map<String, String> known = new LinkedHashMap<>(settings);
            known.remove(ACTIVATIONS);
            known.computeIfPresent("options", (_, text) -> text.replace(PROMPT_ROWS, ""));
            requireSame(known, wanted);
            for (line = 2; line <= lines.size(); line++) {
                R result = MAPPER.readValue(lines.get(line - 1), type);
                if (result == null) {
                    throw foreign(line, null);
                }
                results.add(result);
            }
        } catch (JacksonException e) {
            throw foreign(line, e);
        }
        log.goOn();
    }

    private IllegalArgumentException foreign(int line, JacksonException cause) {
        String field = cause == null
                ? ""
                : cause.getPath().stream()
                        .map(JacksonException.Reference::getPropertyName)
                        .filter(Objects::nonNull)
                        .collect(Collectors.joining("."));
        return new IllegalArgumentException(
                file + ", line " + line + ": " + (field.isEmpty() ? "" : field + ": ")
                        + "no result of such an experiment",
                cause);
    }

    /** Whether a line that was cut off is that of some settings. */
    private static boolean begins(Map<String, String> settings, byte[] begun) {
        byte[] expected = (line(Map.of(SETTINGS, settings)) + "\n").getBytes(StandardCharsets.UTF_8);
        int same = Arrays.mismatch(expected, begun);
        return same < 0 || same == begun.length;
    }

    private static Map<String, String> computed(Map<String, String> settings, boolean rounded) {
        Map<String, String> all = new LinkedHashMap<>(settings);
        all.put(ACTIVATIONS, rounded ? "rounded" : "not rounded");
        return all;
    }

    private void begin(Map<String, String> chosen) throws IOException {
        settings = chosen;
        log.restart();
        log.add(line(Map.of(SETTINGS, settings)));
    }

    /**
     * Must be called before results are added.
     *
     * @param rounded as {@link stormsight.backend.Executor#roundsActivations} of what computes them
     * @throws IllegalArgumentException if those that are there were computed otherwise
     * @throws IOException if the file cannot be written
     */
    public void requireRounding(boolean rounded) throws IOException {
        Map<String, String> wanted = computed(settings, rounded);
        if (results.isEmpty()) {
            begin(wanted);
        } else {
            requireSame(settings, wanted);
        }
    }

    private void requireSame(Map<String, String> recorded, Map<String, String> wanted) {
        TreeSet<String> names = new TreeSet<>(recorded.keySet());
        names.addAll(wanted.keySet());
        for (String name : names) {
            String before = recorded.getOrDefault(name, "not set");
            String now = wanted.getOrDefault(name, "not set");
            if (!now.equals(before)) {
                throw new IllegalArgumentException(file + " holds results of other settings: " + name + " was " + before
                        + " and is " + now + "; take another folder or delete the file");
            }
        }
    }

    /** All results, those of earlier runs first. */
    public List<R> results() {
        return List.copyOf(results);
    }

    /** Writes a result; it is in the file when this returns. */
    public void add(R result) throws IOException {
        log.add(line(result));
        results.add(result);
    }

    private static String line(Object value) {
        return MAPPER.writeValueAsString(value);
    }

    @Override
    public void close() throws IOException {
        log.close();
    }
}

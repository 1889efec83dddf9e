package stormsight.study;

import com.fasterxml.jackson.annotation.JsonInclude;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import java.util.stream.Collectors;
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

    private final FileChannel channel;
    private final List<R> results = new ArrayList<>();

    private ResultLog(FileChannel channel) {
        this.channel = channel;
    }

    /**
     * Opens or makes the file.
     *
     * @param settings what results depend on
     * @throws IllegalArgumentException if the file was made with other settings, is in use, or is no such file
     * @throws IOException if it cannot be read or written
     */
    public static <R> ResultLog<R> open(Path file, Map<String, String> settings, Class<R> type) throws IOException {
        FileChannel channel =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        try {
            FileLock lock = lock(channel);
            if (lock == null) {
                throw new IllegalArgumentException(file + " is in use by another process");
            }
            ResultLog<R> log = new ResultLog<>(channel);
            log.restore(file, settings, type);
            return log;
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    private static FileLock lock(FileChannel channel) throws IOException {
        try {
            return channel.tryLock();
        } catch (OverlappingFileLockException e) {
            return null;
        }
    }

    private void restore(Path file, Map<String, String> settings, Class<R> type) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(channel.size()));
        while (bytes.hasRemaining() && channel.read(bytes) >= 0) {
            continue;
        }
        int end = bytes.position();
        while (end > 0 && bytes.get(end - 1) != '\n') {
            end--;
        }
        if (end == 0) {
            int same = line(Map.of(SETTINGS, settings)).mismatch(bytes.flip());
            if (same >= 0 && same < bytes.limit()) {
                throw foreign(file, 1, null);
            }
            begin(settings);
            return;
        }
        String[] lines = new String(bytes.array(), 0, end - 1, StandardCharsets.UTF_8).split("\n", -1);
        int line = 1;
        try {
            Map<String, Map<String, String>> first = MAPPER.readValue(lines[0], new TypeReference<>() {});
            if (first == null || first.get(SETTINGS) == null) {
                throw foreign(file, line, null);
            }
            if (lines.length == 1) {
                // No result depends on the old settings.
                begin(settings);
                return;
            }
            requireSame(file, first.get(SETTINGS), settings);
            for (line = 2; line <= lines.length; line++) {
                R result = MAPPER.readValue(lines[line - 1], type);
                if (result == null) {
                    throw foreign(file, line, null);
                }
                results.add(result);
            }
        } catch (JacksonException e) {
            throw foreign(file, line, e);
        }
        channel.truncate(end);
        channel.position(end);
    }

    private static IllegalArgumentException foreign(Path file, int line, JacksonException cause) {
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

    private void begin(Map<String, String> settings) throws IOException {
        channel.truncate(0);
        channel.position(0);
        write(Map.of(SETTINGS, settings));
    }

    private static void requireSame(Path file, Map<String, String> recorded, Map<String, String> wanted) {
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
        write(result);
        results.add(result);
    }

    private void write(Object value) throws IOException {
        ByteBuffer line = line(value);
        while (line.hasRemaining()) {
            channel.write(line);
        }
    }

    private static ByteBuffer line(Object value) {
        return StandardCharsets.UTF_8.encode(MAPPER.writeValueAsString(value) + "\n");
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}

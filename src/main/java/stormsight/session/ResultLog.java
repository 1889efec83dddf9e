package stormsight.session;

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
import java.util.TreeSet;
import tools.jackson.core.JacksonException;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.PropertyNamingStrategies;
import tools.jackson.databind.json.JsonMapper;

/**
 * Results of a long experiment in a file, one JSON object a line, written as they come: what is interrupted goes on from there. The first line holds the
 * settings that all results were made with. A last line that was cut off by a crash is dropped.
 *
 * @param <R> a record that Jackson can write and read
 */
public final class ResultLog<R> implements AutoCloseable {
    private static final JsonMapper MAPPER = JsonMapper.builder()
            .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
            .changeDefaultPropertyInclusion(_ -> JsonInclude.Value.construct(JsonInclude.Include.NON_ABSENT, JsonInclude.Include.ALWAYS))
            .build();

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
        FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
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
        String[] lines = new String(bytes.array(), 0, end, StandardCharsets.UTF_8).split("\n");
        boolean empty = end == 0 || lines.length == 1 && lines[0].startsWith("{\"settings\":");
        if (empty) {
            // No result depends on the old settings.
            channel.truncate(0);
            channel.position(0);
            write(Map.of("settings", settings));
            return;
        }
        int line = 1;
        try {
            Map<String, Map<String, String>> first = MAPPER.readValue(lines[0], new TypeReference<>() {});
            requireSame(file, first.getOrDefault("settings", Map.of()), settings);
            for (line = 2; line <= lines.length; line++) {
                results.add(MAPPER.readValue(lines[line - 1], type));
            }
        } catch (JacksonException e) {
            throw new IllegalArgumentException(file + ", line " + line + ": no result of such an experiment", e);
        }
        channel.truncate(end);
        channel.position(end);
    }

    private static void requireSame(Path file, Map<String, String> recorded, Map<String, String> wanted) {
        TreeSet<String> names = new TreeSet<>(recorded.keySet());
        names.addAll(wanted.keySet());
        for (String name : names) {
            String before = recorded.getOrDefault(name, "not set");
            String now = wanted.getOrDefault(name, "not set");
            if (!before.equals(now)) {
                throw new IllegalArgumentException(file + " holds results of other settings: " + name + " was " + before + " and is " + now
                        + "; take another folder or delete the file");
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
        ByteBuffer line = StandardCharsets.UTF_8.encode(MAPPER.writeValueAsString(value) + "\n");
        while (line.hasRemaining()) {
            channel.write(line);
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}

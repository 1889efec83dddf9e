package stormsight.generate;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.checkpoint.JsonRecord;
import tools.jackson.databind.json.JsonMapper;

/**
 * Answers in a file, one JSON object a line, in the order of the items. A line is in the file as soon as it is written,
 * whatever becomes of the process; a last line that was cut off is dropped when the file is opened again.
 */
final class AnswerLog implements AutoCloseable {
    private static final String INDEX = "index";
    private static final String RUN = "run";
    private static final String PROMPT = "prompt";
    private static final String IMAGE = "image";

    private final FileChannel channel;
    private final String run;
    private final int written;

    private AnswerLog(FileChannel channel, String run, int written) {
        this.channel = channel;
        this.run = run;
        this.written = written;
    }

    /**
     * Opens or makes the file.
     *
     * @param run tells apart what answers depend on beside the items
     * @param items that the file is to have lines of
     * @param resume whether the file may have lines already
     * @throws IllegalArgumentException if lines are of other items or another run, or there are some and must not be
     * @throws IOException if the file cannot be read or written
     */
    static AnswerLog open(Path file, String run, List<BatchItem> items, boolean resume) throws IOException {
        FileChannel channel =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        try {
            if (lock(channel) == null) {
                throw new IllegalArgumentException(file + " is in use by another process");
            }
            if (!resume && channel.size() > 0) {
                throw new IllegalArgumentException(
                        file + " has answers already; --resume goes on with them, or name another file");
            }
            return new AnswerLog(channel, run, restore(channel, file, run, items));
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

    /** How many whole lines there are; what follows them is cut off. */
    private static int restore(FileChannel channel, Path file, String run, List<BatchItem> items) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(channel.size()));
        while (bytes.hasRemaining() && channel.read(bytes) >= 0) {
            continue;
        }
        int lines = 0;
        int start = 0;
        for (int i = 0; i < bytes.position(); i++) {
            if (bytes.get(i) == '\n') {
                String line = new String(bytes.array(), start, i - start, StandardCharsets.UTF_8);
                require(JsonRecord.parse(file + ", line " + (lines + 1), line), run, items, lines);
                lines++;
                start = i + 1;
            }
        }
        channel.truncate(start);
        channel.position(start);
        return lines;
    }

    private static void require(JsonRecord line, String run, List<BatchItem> items, int place) {
        if (place >= items.size()) {
            throw line.invalid("more answers than there are items; name another file");
        }
        BatchItem item = items.get(place);
        if (line.get(INDEX).index(Integer.MAX_VALUE) != item.index()
                || !line.get(IMAGE).text().equals(item.image())
                || !line.get(PROMPT).text().equals(item.prompt())) {
            throw line.invalid("an answer to item " + line.get(INDEX).node() + " about " + line.get(IMAGE).text()
                    + ", where item " + item.index() + " about " + item.image()
                    + " is next; give the items as before, or name another file");
        }
        if (!line.get(RUN).text().equals(run)) {
            throw line.invalid("an answer of another model or of other options (run " + line.get(RUN).text()
                    + ", this is " + run + "); give them as before, or name another file");
        }
    }

    /** Lines that were there when the file was opened. */
    int written() {
        return written;
    }

    /** Adds the line of an item: what it asks, then what came of it. */
    void add(BatchItem item, Map<String, Object> result) throws IOException {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put(INDEX, item.index());
        line.put(IMAGE, item.image());
        line.put(PROMPT, item.prompt());
        item.input().ifPresent(input -> line.put("input", input));
        line.putAll(result);
        line.put(RUN, run);
        ByteBuffer text = StandardCharsets.UTF_8.encode(JsonMapper.shared().writeValueAsString(line) + "\n");
        while (text.hasRemaining()) {
            channel.write(text);
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}

package stormsight.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;

/**
 * A file that gets its lines one by one while something long runs, and that a later run goes on with. A line is in the
 * file as soon as it is added, whatever becomes of the process. The file is locked while it is open.
 */
public final class LineLog implements AutoCloseable {
    private final FileChannel channel;
    private final byte[] before;
    /** Bytes of the whole lines. */
    private final int end;

    private LineLog(FileChannel channel, byte[] before) {
        this.channel = channel;
        this.before = before;
        int last = before.length;
        while (last > 0 && before[last - 1] != '\n') {
            last--;
        }
        end = last;
    }

    /**
     * Opens or makes the file, and the folders that it needs. Nothing is written until
     * {@link #goOn}, {@link #restart} or {@link #add}.
     *
     * @throws IllegalArgumentException if it is in use
     * @throws IOException if it cannot be read or written
     */
    public static LineLog open(Path file) throws IOException {
        Files.createDirectories(file.toAbsolutePath().getParent());
        FileChannel channel =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        try {
            if (lock(channel) == null) {
                throw new IllegalArgumentException(file + " is in use by another process");
            }
            ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(channel.size()));
            while (bytes.hasRemaining() && channel.read(bytes) >= 0) {
                continue;
            }
            return new LineLog(channel, Arrays.copyOf(bytes.array(), bytes.position()));
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

    /** Whole lines that the file held when it was opened. */
    public List<String> lines() {
        return end == 0
                ? List.of()
                : List.of(new String(before, 0, end - 1, StandardCharsets.UTF_8).split("\n", -1));
    }

    /** What stood behind them: a line that was cut off, or nothing. */
    public byte[] rest() {
        return Arrays.copyOfRange(before, end, before.length);
    }

    /** Goes on behind the whole lines and drops what stood behind them. */
    public void goOn() throws IOException {
        goOn(end);
    }

    /** Drops all that the file held. */
    public void restart() throws IOException {
        goOn(0);
    }

    private void goOn(long at) throws IOException {
        channel.truncate(at);
        channel.position(at);
    }

    /** Adds a line; it is in the file when this returns. */
    public void add(String line) throws IOException {
        ByteBuffer bytes = StandardCharsets.UTF_8.encode(line + "\n");
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}

package stormsight.generate;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import stormsight.report.FigureException;
import stormsight.report.OutputFile;

/**
 * Features of images in a folder, so that an image is encoded once, whatever process asks about it. An entry is found
 * by what its features follow from: the values that the vision tower takes, and what {@code producer} says of the model
 * and of where it runs. An entry that is damaged is as good as none. Several processes may share a folder: entries are
 * written beside their place and moved there whole. Beyond its size limit, the folder loses the entries that nobody
 * used for the longest time.
 */
public final class FeatureCache {
    /** Changes with the layout of entries. */
    private static final byte[] MAGIC = "stormsight features 1\n".getBytes(StandardCharsets.US_ASCII);

    private static final String HASH = "SHA-256";
    private static final int HASH_BYTES = 32;
    private static final Pattern ENTRY = Pattern.compile("[0-9a-f]{64}\\.features");
    /** What {@link OutputFile} has begun, and whoever began it may have been killed. */
    private static final Pattern BEGUN = Pattern.compile("\\.[0-9a-f]{64}\\.features\\..+");
    /** No entry takes so long to write. */
    private static final Duration LEFT = Duration.ofHours(1);

    private final Path folder;
    private final long mostBytes;
    private final byte[] producer;
    private int found;
    private int kept;
    /** Bytes of all entries, or -1 before they were counted; other processes' are counted when there are too many. */
    private long bytes = -1;
    private Optional<String> failure = Optional.empty();

    /** What features follow from. */
    record Key(byte[] hash) {
        private String name() {
            return HexFormat.of().formatHex(hash) + ".features";
        }
    }

    /**
     * @param folder made when the first entry is written
     * @param mostBytes of all entries together
     * @param producer tells apart what makes other features of the same values: the model's weights, how they are held,
     *     and the device that computes
     */
    public FeatureCache(Path folder, long mostBytes, String producer) {
        this.folder = folder;
        this.mostBytes = mostBytes;
        this.producer = producer.getBytes(StandardCharsets.UTF_8);
    }

    /** Images whose features were in the folder. */
    public int found() {
        return found;
    }

    /** Images whose features were put into the folder. */
    public int kept() {
        return kept;
    }

    /** Why an entry could not be written; then no more are. */
    public Optional<String> failure() {
        return failure;
    }

    /**
     * @param views the values that the tower takes, view by view
     * @param rounded whether products are computed with rounded activations
     */
    Key key(List<byte[]> views, boolean rounded) {
        MessageDigest digest = digest();
        digest.update(MAGIC);
        digest.update(ByteBuffer.allocate(9)
                .putInt(producer.length)
                .putInt(views.size())
                .put((byte) (rounded ? 1 : 0))
                .flip());
        digest.update(producer);
        views.forEach(view -> digest.update(digest().digest(view)));
        return new Key(digest.digest());
    }

    private static MessageDigest digest() {
        try {
            return MessageDigest.getInstance(HASH);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has " + HASH, e);
        }
    }

    /**
     * Reads features.
     *
     * @param to F32, written if there are as many
     * @return whether there are
     */
    boolean read(Key key, MemorySegment to) {
        Path file = folder.resolve(key.name());
        byte[] content;
        try {
            content = Files.readAllBytes(file);
        } catch (IOException e) {
            // There is none, or another process has just deleted it, or nobody can read it: features can be made again.
            return false;
        }
        if (content.length != length(to.byteSize())
                || !Arrays.equals(content, 0, MAGIC.length, MAGIC, 0, MAGIC.length)
                || !Arrays.equals(content, MAGIC.length, MAGIC.length + HASH_BYTES, key.hash, 0, HASH_BYTES)) {
            return false;
        }
        int end = content.length - HASH_BYTES;
        MessageDigest digest = digest();
        digest.update(content, 0, end);
        if (!Arrays.equals(content, end, content.length, digest.digest(), 0, HASH_BYTES)) {
            return false;
        }
        ByteBuffer values = ByteBuffer.wrap(content, MAGIC.length + HASH_BYTES, Math.toIntExact(to.byteSize()))
                .order(ByteOrder.LITTLE_ENDIAN);
        for (long i = 0; i < to.byteSize() / Float.BYTES; i++) {
            to.setAtIndex(ValueLayout.JAVA_FLOAT, i, values.getFloat());
        }
        touch(file);
        found++;
        return true;
    }

    private static long length(long valueBytes) {
        return MAGIC.length + 2L * HASH_BYTES + valueBytes;
    }

    /** So that it is not the next one to go. */
    private static void touch(Path file) {
        try {
            Files.setLastModifiedTime(file, FileTime.from(Instant.now()));
        } catch (IOException e) {
            // Somebody else's, or deleted since: it may go earlier than it should.
        }
    }

    /**
     * Keeps features, unless they are not numbers, or more than may be kept at all.
     *
     * @param values F32
     */
    void write(Key key, MemorySegment values) {
        long length = length(values.byteSize());
        if (failure.isPresent() || length > mostBytes) {
            return;
        }
        ByteBuffer content = ByteBuffer.allocate(Math.toIntExact(length))
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(MAGIC)
                .put(key.hash);
        for (float value : values.toArray(ValueLayout.JAVA_FLOAT)) {
            if (!Float.isFinite(value)) {
                return;
            }
            content.putFloat(value);
        }
        MessageDigest digest = digest();
        digest.update(content.array(), 0, content.position());
        content.put(digest.digest());
        try {
            OutputFile.write(folder.resolve(key.name()), out -> out.write(content.array()));
            kept++;
            bytes = bytes < 0 ? count() : bytes + length;
            if (bytes > mostBytes) {
                bytes = shrink();
            }
        } catch (FigureException e) {
            failure = Optional.of(e.getMessage());
        } catch (IOException e) {
            failure = Optional.of(folder + " cannot be read: " + e.getMessage());
        }
    }

    private record Entry(Path file, long bytes, FileTime used) {}

    private List<Entry> entries() throws IOException {
        List<Entry> entries = new ArrayList<>();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
            for (Path file : files) {
                String name = file.getFileName().toString();
                boolean begun = BEGUN.matcher(name).matches();
                if (!begun && !ENTRY.matcher(name).matches()) {
                    continue;
                }
                try {
                    BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
                    if (!begun) {
                        entries.add(new Entry(file, attributes.size(), attributes.lastModifiedTime()));
                    } else if (attributes.lastModifiedTime().toInstant().isBefore(Instant.now().minus(LEFT))) {
                        Files.deleteIfExists(file);
                    }
                } catch (NoSuchFileException e) {
                    // Another process was faster.
                }
            }
        }
        return entries;
    }

    private long count() throws IOException {
        return entries().stream().mapToLong(Entry::bytes).sum();
    }

    /** Deletes entries until the others fit. @return bytes of these */
    private long shrink() throws IOException {
        List<Entry> entries = entries();
        entries.sort(Comparator.comparing(Entry::used).thenComparing(Entry::file));
        long left = entries.stream().mapToLong(Entry::bytes).sum();
        for (Entry entry : entries) {
            if (left <= mostBytes) {
                break;
            }
            Files.deleteIfExists(entry.file);
            left -= entry.bytes;
        }
        return left;
    }
}

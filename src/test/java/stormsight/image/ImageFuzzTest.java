package stormsight.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.Mutator;
import stormsight.Mutator.Outcome;

/**
 * Broken images end in an {@link ImageException} or are read, at once and without taking more memory than their pixels.
 * The files beside the tests are the seeds. With {@code -Dstormsight.fuzz.keep=FOLDER} each case and the samples that
 * it gave are kept there, for a comparison with another reader.
 */
class ImageFuzzTest {
    private static final int CASES = 600;

    private static final int MOST_PIXELS = 250_000;

    /** Beside what a file takes: its pixels several times over, and tables of the readers. */
    private static final long ALLOCATION_LIMIT = 32 << 20;

    /** Of the processor, so that other programs do not count. */
    private static final long MILLISECONDS_LIMIT = 5000;

    private static final ThreadMXBean THREAD = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private static final String KEEP = System.getProperty("stormsight.fuzz.keep");

    private static final ImageDecoder DECODER = new ImageDecoder(true, MOST_PIXELS, 1 << 20);

    @ParameterizedTest
    @ValueSource(strings = {"png", "jpg", "gif", "bmp", "webp"})
    void mutatedImages(String format) throws IOException {
        List<byte[]> seeds = new ArrayList<>();
        try (Stream<Path> files = Files.list(Path.of("src/test/resources/images"))) {
            for (Path file : files.filter(f -> f.toString().endsWith("." + format)).sorted().toList()) {
                seeds.add(Files.readAllBytes(file));
            }
        }
        seeds.forEach(seed -> DECODER.decode(new ByteArrayInputStream(seed), "seed"));
        Mutator.Counts counts = Mutator.fuzz(format, format.hashCode(), CASES, mutator -> {
            byte[] seed = seeds.get(mutator.random().nextInt(seeds.size()));
            boolean inside = format.equals("png") && mutator.random().nextInt(4) > 0;
            byte[] mutated = inside ? withMutatedChunk(seed, mutator) : mutator.bytes(seed);
            return outcome(format, mutated);
        });
        counts.assertRefused(0.05);
        assertTrue(counts.of(Outcome.READ) > counts.cases() / 50, "too few mutations are harmless");
    }

    private static Outcome outcome(String format, byte[] file) throws IOException {
        Path kept = KEEP == null ? null
                : Files.createTempFile(Files.createDirectories(Path.of(KEEP)), "case", "." + format);
        if (kept != null) {
            Files.write(kept, file);
        }
        List<String> warnings = new ArrayList<>();
        long allocated = THREAD.getCurrentThreadAllocatedBytes();
        long start = THREAD.getCurrentThreadCpuTime();
        Outcome outcome = Outcome.READ;
        try {
            RgbImage image = DECODER.decode(new ByteArrayInputStream(file), "bad", warnings::add);
            assertTrue(image.width() * image.height() <= MOST_PIXELS);
            if (kept != null) {
                Files.write(Path.of(kept + ".rgb"), image.rgb());
            }
        } catch (ImageException e) {
            outcome = Outcome.REFUSED;
            warnings.add(e.getMessage());
        }
        long milliseconds = (THREAD.getCurrentThreadCpuTime() - start) / 1_000_000;
        assertTrue(milliseconds < MILLISECONDS_LIMIT, "it took " + milliseconds + " ms");
        allocated = THREAD.getCurrentThreadAllocatedBytes() - allocated;
        assertTrue(allocated < ALLOCATION_LIMIT + 20L * file.length, "it allocated " + allocated
                + " bytes for a file of " + file.length);
        for (String line : warnings) {
            assertTrue(line.startsWith("bad: ") && line.length() < 500, line);
            assertFalse(line.contains("\n"), line);
            assertEquals(-1, line.indexOf("Exception"), line);
        }
        return outcome == Outcome.READ && !warnings.isEmpty() ? Outcome.WARNED : outcome;
    }

    /**
     * A PNG file with a chunk changed, or the pixels before they are compressed: nearly every change elsewhere ends at
     * a checksum.
     */
    private static byte[] withMutatedChunk(byte[] png, Mutator mutator) throws IOException, DataFormatException {
        List<Integer> chunks = new ArrayList<>();
        ByteBuffer in = ByteBuffer.wrap(png);
        for (int at = 8; at + 12 <= png.length; at += 12 + in.getInt(at)) {
            chunks.add(at);
        }
        int at = chunks.get(mutator.random().nextInt(chunks.size()));
        int end = at + 8 + in.getInt(at);
        byte[] data = Arrays.copyOfRange(png, at + 8, end);
        String name = new String(png, at + 4, 4, StandardCharsets.ISO_8859_1);
        if (name.equals("IDAT") && chunks.size() < 12 && mutator.random().nextInt(4) > 0) {
            byte[] pixels = new byte[1 << 20];
            try (Inflater inflater = new Inflater(); Deflater deflater = new Deflater()) {
                inflater.setInput(data);
                byte[] mutated = mutator.bytes(Arrays.copyOf(pixels, inflater.inflate(pixels)));
                deflater.setInput(mutated);
                deflater.finish();
                data = Arrays.copyOf(pixels, deflater.deflate(pixels));
            }
        } else if (data.length > 0) {
            data = mutator.bytes(data);
        }
        byte[] mutated = ByteBuffer.allocate(png.length - (end - at - 8) + data.length)
                .put(png, 0, at).putInt(data.length).put(png, at + 4, 4).put(data).put(png, end, png.length - end)
                        .array();
        mendChecksums(mutated);
        return mutated;
    }

    /** Without this nearly every change to a PNG file would end at a checksum. */
    static void mendChecksums(byte[] png) {
        ByteBuffer in = ByteBuffer.wrap(png);
        for (int at = 8; at + 12 <= png.length;) {
            int length = in.getInt(at);
            if (length < 0 || length > png.length - at - 12) {
                return;
            }
            CRC32 crc = new CRC32();
            crc.update(png, at + 4, 4 + length);
            in.putInt(at + 8 + length, (int) crc.getValue());
            at += 12 + length;
        }
    }
}

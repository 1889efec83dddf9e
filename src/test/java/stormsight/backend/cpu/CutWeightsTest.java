package stormsight.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.program.DType;
import stormsight.program.Step;

/** Compiled loops over weights whose file was cut short end in an error, not the process, which is one of their own. */
class CutWeightsTest {
    private static final int ROWS = 64;
    private static final int COLUMNS = 4096;
    private static final int BYTES = 4 << 20;
    /** Of the file, once it is cut: the fault is met within a loop. */
    private static final int LEFT = 12 << 10;
    /** Until the loops are compiled. */
    private static final int CALLS = 3000;

    @TempDir
    private java.nio.file.Path folder;

    /**
     * The process.
     *
     * @param arguments a folder, then types and numbers of tokens in turns
     */
    public static void main(String[] arguments) throws IOException {
        for (int i = 1; i < arguments.length; i += 2) {
            DType type = DType.valueOf(arguments[i]);
            int tokens = Integer.parseInt(arguments[i + 1]);
            java.nio.file.Path path = java.nio.file.Path.of(arguments[0], "weights" + i);
            Files.write(path, new byte[BYTES]);
            try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
                    Arena arena = Arena.ofShared()) {
                MemorySegment mapped = file.map(FileChannel.MapMode.READ_ONLY, 0, BYTES, arena);
                Runnable product = product(type, tokens, mapped.address(), arena);
                for (int call = 0; call < CALLS; call++) {
                    product.run();
                }
                file.truncate(LEFT);
                try {
                    product.run();
                    System.out.println(type + " " + tokens + " no error");
                } catch (InternalError e) {
                    System.out.println(type + " " + tokens + " error");
                }
            }
        }
    }

    private static Runnable product(DType type, int tokens, long address, Arena arena) {
        int block = type.isBlocked() ? type.block() : 2 * Tile.LANES;
        Packing packing = new Packing(Packing.perLane(type), block, COLUMNS, Step.MOST_SEQUENCES);
        // Not in the file, so that levels are what is missing.
        long scales = type.isBlocked() ? arena.allocate(BYTES, 64).address() : 0;
        Weight w = new Weight(type, address, scales, COLUMNS / DType.Q8_BLOCK, ROWS, COLUMNS);
        long x = arena.allocate(4L * COLUMNS * Step.MOST_SEQUENCES, 64).address();
        long sums = arena.allocate(4L * ROWS * Step.MOST_SEQUENCES, 64).address();
        long scratch = arena.allocate(1 << 20, 64).address();
        return tokens == 1
                ? () -> MatVec.rows(w, packing, 0, ROWS, x, sums, scratch)
                : () -> FewTokens.rows(w, packing, 0, ROWS, x, 4L * COLUMNS, tokens, sums, 4L * ROWS, scratch);
    }

    @Test
    void compiledLoopsEndInAnError() throws IOException, InterruptedException {
        List<String> cases = List.of("BF16", "1", "F32", "1", "F16", "1", "Q8", "1", "Q4", "1", "BF16", "4", "Q8", "4",
                "Q4", "4");
        List<String> command = new ArrayList<>(List.of(
                java.nio.file.Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED",
                "-XX:ErrorFile=" + folder.resolve("error.log"), "-cp", System.getProperty("java.class.path"),
                CutWeightsTest.class.getName(), folder.toString()));
        command.addAll(cases);
        Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), out);
        StringBuilder expected = new StringBuilder();
        for (int i = 0; i < cases.size(); i += 2) {
            expected.append(cases.get(i)).append(' ').append(cases.get(i + 1)).append(" error\n");
        }
        assertEquals(expected.toString(), out);
    }
}

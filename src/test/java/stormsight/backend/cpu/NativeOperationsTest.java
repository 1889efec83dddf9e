package stormsight.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.BackendOptions;
import stormsight.backend.Executor;
import stormsight.backend.OpCase;
import stormsight.backend.OpCases;
import stormsight.backend.RunListener;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** Attention and norms of many rows through oneDNN, in 32 bits, in the cases and tolerances of every backend. */
class NativeOperationsTest {
    private static Backend one;
    private static Backend three;

    @BeforeAll
    static void open() {
        assumeTrue(NativeKernels.unavailable().isEmpty(), () -> NativeKernels.unavailable().orElse(""));
        one = open(1);
        three = open(3);
    }

    private static Backend open(int threads) {
        return CpuBackend.open("cpu", new BackendOptions(threads, Optional.empty()), Path.VECTORS, 0);
    }

    @AfterAll
    static void close() {
        if (one != null) {
            one.close();
            three.close();
        }
    }

    /** Whether something of the case runs on oneDNN, and no product, whose tolerance is another one. */
    private static boolean many(OpCase.Setup setup) {
        return setup.programs().stream().allMatch(program -> program.segments().stream()
                        .flatMap(segment -> segment.ops().stream())
                        .noneMatch(op -> op instanceof Op.MatMul || op instanceof Op.GatedMatMul))
                && setup.runs().stream().anyMatch(run -> run.step().rows() > Step.MOST_SEQUENCES
                        && one.plan(List.of(run.program())).stream()
                                .anyMatch(launch -> launch.kernel().startsWith("oneDNN ")));
    }

    private static List<OpCase> cases(String kind) {
        List<OpCase> cases = OpCases.all().stream()
                .filter(each -> each.name().startsWith(kind) && many(each.setup().get()))
                .toList();
        assertFalse(cases.isEmpty(), kind);
        return cases;
    }

    @TestFactory
    Stream<DynamicTest> agreesWithScalarOnAnyNumberOfThreads() {
        return Stream.of("attention_", "blockedAttention_", "layerNorm_", "rmsNorm_")
                .flatMap(kind -> cases(kind).stream())
                .map(each -> DynamicTest.dynamicTest(each.name(), () -> {
                    OpCases.check(three, each);
                    OpCase.Setup setup = each.setup().get();
                    Map<Tensor, MemorySegment> alone = OpCases.run(one, setup);
                    OpCases.run(three, setup).forEach((output, actual) ->
                            assertEquals(-1, actual.mismatch(alone.get(output)), output::toString));
                }));
    }

    /** Native code that read the mapping would end this process. */
    @Test
    void aFileThatIsCutShortIsAnError(@TempDir java.nio.file.Path folder) throws IOException {
        int width = 4096;
        Shape vector = Shape.of(width);
        Tensor x = new Tensor("x", DType.F32, Shape.of(32, width), Tensor.Kind.INPUT, 1);
        Tensor w = new Tensor("w", DType.F32, vector, Tensor.Kind.WEIGHT, 1);
        Tensor bias = new Tensor("bias", DType.F32, vector, Tensor.Kind.WEIGHT, 1);
        Tensor out = new Tensor("out", DType.F32, x.shape(), Tensor.Kind.OUTPUT, 1);
        Program program =
                new Program("norm", List.of(Segment.once("norm", List.of(new Op.LayerNorm(x, w, bias, 1e-6f, out)))));
        java.nio.file.Path path = folder.resolve("weights");
        Files.write(path, new byte[8 * width]);
        try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
                Arena arena = Arena.ofShared()) {
            MemorySegment mapped = file.map(FileChannel.MapMode.READ_ONLY, 0, 8 * width, arena);
            Map<Tensor, HostTensor> weights = Map.of(
                    w, new HostTensor(DType.F32, vector, List.of(mapped.asSlice(0, 4 * width))),
                    bias, new HostTensor(DType.F32, vector, List.of(mapped.asSlice(4 * width))));
            try (Executor executor = one.prepare(weights, List.of(program), RunListener.NONE)) {
                Step step = new Step(0, 32, 0);
                assertTrue(executor.profile(program, step).entries().getLast().kernel().startsWith("oneDNN "));
                file.truncate(0);
                assertThrows(BackendException.class, () -> executor.run(program, step));
            }
        }
    }
}

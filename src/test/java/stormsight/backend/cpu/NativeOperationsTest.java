package stormsight.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.OpCase;
import stormsight.backend.OpCases;
import stormsight.program.Op;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** Attention and norms of many rows through oneDNN, in 32 bits, in the cases and tolerances of every backend. */
class NativeOperationsTest {
    private static Backend one;
    private static Backend three;

    @BeforeAll
    static void open() {
        assumeTrue(NativeProducts.unavailable().isEmpty(), () -> NativeProducts.unavailable().orElse(""));
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
}

package stormsight.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import stormsight.program.Tensor;

/** The vector path against the scalar one. */
class CpuBackendTest {
    private static Backend cpu;

    @BeforeAll
    static void open() {
        cpu = Backends.open("cpu", new BackendOptions(2, Optional.empty()));
    }

    @AfterAll
    static void close() {
        cpu.close();
    }

    @TestFactory
    Stream<DynamicTest> agreesWithScalar() {
        return OpCases.all().stream().map(opCase -> DynamicTest.dynamicTest(opCase.name(),
                () -> OpCases.check(cpu, opCase)));
    }

    /** Pieces of work do not depend on the number of threads, so neither do the results, bit for bit. */
    @TestFactory
    Stream<DynamicTest> threadsDoNotMatter() {
        Backend one = Backends.open("cpu", new BackendOptions(1, Optional.empty()));
        Backend three = Backends.open("cpu", new BackendOptions(3, Optional.empty()));
        return OpCases.all().stream().map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> {
            OpCase.Setup setup = opCase.setup().get();
            Map<Tensor, MemorySegment> expected = OpCases.run(one, setup);
            for (Backend backend : List.of(cpu, three)) {
                OpCases.run(backend, setup).forEach((output, actual) ->
                        assertEquals(-1, actual.mismatch(expected.get(output)),
                        () -> output + " on " + backend.device().computeUnits() + " threads differs at this byte"));
            }
        })).onClose(() -> {
            one.close();
            three.close();
        });
    }

    @Test
    void samplingGoldensHold() {
        assertEquals(120, SamplingGoldens.check(cpu));
    }
}

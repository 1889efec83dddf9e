package stormsight.backend;

import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The vector path against the scalar one. */
class CpuBackendTest {
    private static Backend cpu;

    @BeforeAll
    static void open() {
        cpu = Backends.open("cpu", new BackendOptions(2, java.util.Optional.empty()));
    }

    @AfterAll
    static void close() {
        cpu.close();
    }

    @TestFactory
    Stream<DynamicTest> agreesWithScalar() {
        return OpCases.all().stream().map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> OpCases.check(cpu, opCase)));
    }
}

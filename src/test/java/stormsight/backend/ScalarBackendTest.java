package stormsight.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** The scalar path, which checks all others, against the formulas. */
class ScalarBackendTest {
    @TestFactory
    Stream<DynamicTest> agreesWithFormulas() {
        Backend scalar = Backends.open("scalar", new BackendOptions(2, Optional.empty()));
        return OpCases.all().stream().map(opCase -> DynamicTest.dynamicTest(opCase.name(), () -> {
            OpCase.Setup setup = opCase.setup().get();
            OpCases.compare(opCase, setup, OpCases.run(scalar, setup), Reference.run(setup));
        })).onClose(scalar::close);
    }

    @Test
    void samplingGoldensHold() {
        try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT)) {
            assertEquals(120, SamplingGoldens.check(scalar));
        }
    }
}

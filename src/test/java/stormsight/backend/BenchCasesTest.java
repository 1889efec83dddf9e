package stormsight.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.OpName;
import stormsight.program.Tensor;

class BenchCasesTest {
    private static final String NAME = "[a-z][A-Za-z]+_[0-9]+((x|of|at|top)[0-9]+)*_(f32|f16|bf16|q8|q4)";

    @Test
    void everyOperationHasSmallOnesAndOnesOfTheModel() {
        Set<Class<?>> operations = Set.of(Op.class.getPermittedSubclasses());
        for (boolean small : new boolean[] {true, false}) {
            assertEquals(operations, BenchCases.all().stream().filter(each -> each.small() == small && each.quick())
                    .map(each -> each.op().getClass()).collect(Collectors.toSet()));
        }
    }

    @Test
    void productsComeInEveryType() {
        for (DType dtype : List.of(DType.F32, DType.F16, DType.BF16, DType.Q8, DType.Q4)) {
            Set<String> kinds = BenchCases.all().stream().map(each -> OpName.of(each.op(), each.step()))
                    .filter(name -> name.dtype() == dtype).map(OpName::op).collect(Collectors.toSet());
            assertTrue(kinds.containsAll(Set.of("matMul", "gatedMatMul", "embed")), dtype + ": " + kinds);
        }
    }

    @Test
    void namesAreUniqueAndSayOperationShapeAndType() {
        Set<String> names = new HashSet<>();
        for (BenchCase each : BenchCases.all()) {
            assertTrue(each.name().matches(NAME), each.name());
            assertTrue(names.add(each.name()), "two cases " + each.name());
        }
        assertTrue(names.contains("gatedMatMul_272x2048x16384_bf16"), names::toString);
        assertTrue(names.contains("matMul_1x2048x257216_q8"), names::toString);
        assertTrue(names.contains("attention_1024x16of16x72_f32"), names::toString);
    }

    static Stream<BenchCase> small() {
        return BenchCases.all().stream().filter(BenchCase::small);
    }

    @ParameterizedTest
    @MethodSource("small")
    void theCheckPassesWhatIsRightAndNothingElse(BenchCase each) {
        BenchCase.Setup setup = each.setup().get();
        try (Backend backend = Backends.open("cpu", BackendOptions.DEFAULT)) {
            Map<Tensor, MemorySegment> outputs = OpCases.run(backend, setup.full());
            each.check(setup, outputs);
            int row = setup.rows()[setup.rows().length - 1];
            int column = setup.columns()[setup.columns().length - 1];
            Tensor output = setup.full().outputs().getFirst();
            MemorySegment data = outputs.get(output);
            long at = output.shape().elements() == 1 ? 0 : (long) row * output.columns() + column;
            if (output.dtype() == DType.I32) {
                data.setAtIndex(ValueLayout.JAVA_INT_UNALIGNED, at, data.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, at)
                        + 1);
            } else {
                data.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, at, data.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED,
                        at) + 1);
            }
            assertThrows(AssertionError.class, () -> each.check(setup, outputs));
        }
    }

    /** A sample of a sum over fewer columns, or of other rows, would be another result. */
    @ParameterizedTest
    @MethodSource("small")
    void theSampleIsPartOfTheWhole(BenchCase each) {
        BenchCase.Setup setup = each.setup().get();
        try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT)) {
            each.check(setup, OpCases.run(scalar, setup.full()));
        }
        assertTrue(Arrays.stream(setup.rows()).distinct().count() == setup.rows().length
                && Arrays.stream(setup.columns()).distinct().count() == setup.columns().length);
    }
}

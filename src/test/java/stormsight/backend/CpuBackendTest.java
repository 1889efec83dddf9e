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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
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

    /** Up to 16 rows share the reading of weights; what one of them becomes is what it becomes alone, bit for bit. */
    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"I32", "U8"}, mode = EnumSource.Mode.EXCLUDE)
    void fewRowsDoNotDependOnEachOther(DType dtype) {
        for (int[] size : new int[][] {{327, 37}, {2048, 133}, {9, 5}, {96, 4100}, {352, 70}}) {
            int depth = size[0];
            int width = size[1];
            if (dtype.forRows(depth) != dtype) {
                continue;
            }
            OpCases.Data data = new OpCases.Data("rows " + dtype);
            Tensor gate = data.weight("gate", dtype, 0.2, width, depth);
            Tensor up = data.weight("up", dtype, 0.2, width, depth);
            MemorySegment all = data.arena.allocate(4L * Step.MOST_SEQUENCES * depth);
            for (int i = 0; i < Step.MOST_SEQUENCES; i++) {
                Tensor x = data.input("x" + i, 1, 1, depth);
                MemorySegment.copy(data.inputs.get(x), 0, all, 4L * i * depth, 4L * depth);
                data.run(
                        new Step(0, 1, 0),
                        new Op.GatedMatMul(x, gate, up, Op.Activation.SILU, data.output("out" + i, 1, 1, width)));
            }
            Map<Tensor, MemorySegment> alone = OpCases.run(cpu, data.setup());
            Tensor x = new Tensor("x", DType.F32, Shape.of(Step.MOST_SEQUENCES, depth), Tensor.Kind.INPUT, 1);
            Tensor out = new Tensor(
                    "out", DType.F32, Shape.of(Step.MOST_SEQUENCES, width), Tensor.Kind.OUTPUT, 1);
            Program product = new Program(
                    "some",
                    List.of(Segment.once("some", List.of(new Op.GatedMatMul(x, gate, up, Op.Activation.SILU, out)))));
            for (int rows = 2; rows <= Step.MOST_SEQUENCES; rows++) {
                OpCase.Setup some = new OpCase.Setup(
                        data.weights,
                        Map.of(x, all),
                        List.of(new OpCase.Run(product, new Step(0, rows, 0))),
                        List.of(out));
                MemorySegment together = OpCases.run(cpu, some).get(out);
                for (int i = 0; i < rows; i++) {
                    assertEquals(
                            -1,
                            together.asSlice(4L * i * width, 4L * width).mismatch(alone.get(data.outputs.get(i))),
                            "row " + i + " of " + rows + ", " + depth + " x " + width);
                }
            }
        }
    }

    /** Images that see themselves alone, the last of them in part, as on the scalar path. */
    @ParameterizedTest
    @ValueSource(ints = {3, 5, 7, 10})
    void rowsSeeTheirOwnBlock(int rows) {
        OpCases.check(cpu, new OpCase("blocks", 2e-5, "sums in another order", () -> {
            Op.Heads heads = new Op.Heads(4, 2, 12);
            OpCases.Data data = new OpCases.Data("blocks");
            data.run(
                    new Step(0, rows, 0),
                    new Op.Attention(
                            data.input("q", 1, 10, heads.queryColumns()),
                            data.input("k", 1, 10, heads.keyValueColumns()),
                            data.input("v", 1, 10, heads.keyValueColumns()),
                            heads,
                            0.3f,
                            0,
                            Op.Windows.NONE,
                            Op.Keys.each(5, 2),
                            data.output("out", 1, 10, heads.queryColumns())));
            return data.setup();
        }));
    }

    @Test
    void samplingGoldensHold() {
        assertEquals(120, SamplingGoldens.check(cpu));
    }
}

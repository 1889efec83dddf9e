package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.DeviceInfo;
import stormsight.backend.DeviceMemory;
import stormsight.backend.KernelSource;
import stormsight.backend.PlannedLaunch;
import stormsight.model.Limits;
import stormsight.model.Options;
import stormsight.model.Preset;
import stormsight.model.VisionLanguageModel;
import stormsight.model.Weights;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.program.Program;
import tools.jackson.databind.json.JsonMapper;

/** Models in full size can be launched on GPUs that are not here: limits are checked for each launch. */
class PlanTest {
    /** As the drivers of AMD, Intel and Apple describe theirs, the least of each. */
    private static final DeviceInfo ANY_GPU = gpu(48_000_000_000L, 32_768, 256, Set.of());
    private static final DeviceInfo TENSOR_CORES = gpu(141_000_000_000L, 49_152, 1024, Set.of(DType.BF16, DType.F16));

    @TempDir
    private Path folder;

    @BeforeEach
    void needsTornadoVm() {
        Devices.all();
    }

    private static DeviceInfo gpu(long memory, long localMemory, int lanes, Set<DType> types) {
        return new DeviceInfo("9:0", "tornado", "GPU", "Test", "", "", DeviceInfo.Kind.GPU, memory, localMemory, 0,
                lanes, 100, types);
    }

    private List<PlannedLaunch> plan(String preset, DType weights, DeviceInfo info,
            String language) throws IOException {
        return plan(programs(preset, weights), info, language);
    }

    private static List<PlannedLaunch> plan(List<Program> programs, DeviceInfo info, String language) {
        return backend(info, language).plan(programs);
    }

    private static Backend backend(DeviceInfo info, String language) {
        // TornadoVM looks at kernels as soon as they are put into a graph, so those for tensor cores need a driver that
        // knows them.
        Runtime.Device device = Runtime.devices().stream().filter(known ->
                known.language().equals(language)).findFirst().orElse(null);
        assumeTrue(device != null, "there is no device of TornadoVM's backend " + language);
        return new TornadoVm(new Runtime.Device(device.tornado(), info, language));
    }

    private List<Program> programs(String preset, DType weights) throws IOException {
        return programs(preset, weights, 1);
    }

    private List<Program> programs(String preset, DType weights, int sequences) throws IOException {
        Preset found = Families.presets().stream().filter(known ->
                known.name().equals(preset)).findFirst().orElseThrow();
        Files.writeString(folder.resolve("config.json"),
                JsonMapper.shared().writeValueAsString(found.files("bfloat16").get("config.json")));
        VisionLanguageModel model = (VisionLanguageModel) Families.configured(folder);
        return model.build(Weights.declared(weights), new Limits(model.processor().imageTokens() + 40, 64)
                .withSequences(sequences), Options.DEFAULT).programs();
    }

    @Test
    void launchesAsLittleDevicesAllow() throws IOException {
        for (String preset : List.of("paligemma-3b-224", "paligemma2-3b-448")) {
            for (DType weights : List.of(DType.BF16, DType.Q8, DType.Q4)) {
                List<PlannedLaunch> launches = plan(preset, weights, ANY_GPU, "opencl");
                assertTrue(launches.stream().noneMatch(launch -> launch.kernel().startsWith("Mma")));
                assertTrue(launches.stream().anyMatch(launch -> launch.kernel().equals("Attention.flash")));
            }
        }
    }

    /** Products whose blocks leave most of a GPU idle divide their columns; others are spared the second kernel. */
    @Test
    void narrowProductsAreDivided() throws IOException {
        List<String> divided = plan("paligemma-3b-224", DType.BF16, ANY_GPU, "opencl").stream()
                .filter(launch -> launch.program().equals("prefill") && launch.kernel().equals("MatMul.sum"))
                .map(launch -> launch.op().orElseThrow().reads().toString()).toList();
        for (String weight : List.of("k_proj", "v_proj", "down_proj")) {
            assertTrue(divided.stream().anyMatch(reads -> reads.contains(weight)), weight + " of " + divided);
        }
        DeviceInfo small = new DeviceInfo("9:0", "tornado", "GPU", "Test", "", "", DeviceInfo.Kind.GPU, 48_000_000_000L,
                32_768, 0, 256, 2, Set.of());
        assertTrue(plan("paligemma-3b-224", DType.BF16, small, "opencl").stream().noneMatch(launch ->
                launch.kernel().endsWith("MatMul.sum")));
    }

    /**
     * Norm, projections, rotation and stores of a layer are one launch, attention is one, and so are the norm and the
     * product behind it, so that it takes six. All layers of a program are in few graphs, each of which is waited for.
     */
    @Test
    void aDecodeStepTakesFewLaunchesInFewGraphs() throws IOException {
        List<Program> programs = programs("paligemma-3b-224", DType.BF16);
        Backend backend = backend(ANY_GPU, "opencl");
        int launches = backend.plan(programs).stream()
                .filter(launch -> launch.program().equals("decode")).mapToInt(PlannedLaunch::times).sum();
        assertTrue(launches <= 18 * 6 + 4, launches + " launches");
        List<Integer> graphs = backend.graphs(programs);
        assertEquals(2, graphs.getLast(), graphs.toString());
        assertTrue(graphs.stream().allMatch(count -> count <= 6), graphs.toString());
    }

    /** Several sequences share the reading of each weight. */
    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"BF16", "Q8", "Q4"})
    void manySequencesTakeKernelsForFewRows(DType weights) throws IOException {
        List<String> kernels = plan(programs("paligemma-3b-224", weights, 16), ANY_GPU, "opencl").stream()
                .filter(launch -> launch.program().equals("decode")).map(PlannedLaunch::kernel).toList();
        for (String family : List.of("MatMul", "GatedMatMul")) {
            assertTrue(kernels.stream().anyMatch(kernel -> kernel.startsWith(family + ".few")), kernels.toString());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {64, 128})
    void modelsRunInSmallGroups(int lanes) throws IOException {
        DeviceInfo small = gpu(48_000_000_000L, 32_768, lanes, Set.of());
        for (int sequences : List.of(1, 16)) {
            List<PlannedLaunch> launches = plan(programs("paligemma-3b-224", DType.BF16, sequences), small, "opencl");
            assertEquals(lanes, launches.stream().mapToInt(PlannedLaunch::groupSize).max().orElseThrow());
        }
    }

    /** A device that states no limit is taken to allow what all do; where groups are too small one is told so. */
    @Test
    void groupsAreAsLargeAsDevicesAllow() throws IOException {
        List<Program> programs = programs("tiny-llava", DType.F32);
        List<String> launches = plan(programs, gpu(0, 0, 0, Set.of()), "opencl").stream()
                .filter(launch -> launch.kernel().equals("Attention.flash")).map(PlannedLaunch::geometry).toList();
        assertTrue(!launches.isEmpty() && launches.stream().allMatch(launch -> launch.matches(".* groups? of 256.*")),
                launches.toString());
        assertThrows(BackendException.class, () -> plan(programs, gpu(0, 0, 32, Set.of()), "opencl"));
    }

    @Test
    void usesTensorCoresUnlessWeightsHave32Bits() throws IOException {
        for (DType weights : List.of(DType.BF16, DType.F16, DType.Q8, DType.Q4, DType.F32)) {
            List<String> kernels = plan("paligemma-3b-224", weights, TENSOR_CORES, "cuda").stream()
                    .map(PlannedLaunch::kernel).toList();
            assertEquals(weights != DType.F32, kernels.stream().anyMatch(kernel ->
                    kernel.startsWith("MmaMatMul.product")));
            assertEquals(weights != DType.F32, kernels.contains("MmaAttention.flash"));
            assertEquals(weights == DType.F32, kernels.contains("Attention.flash"));
        }
    }

    /** Nobody is told that activations are rounded where they are not. */
    @Test
    void roundsNothingBesideWeightsOf32Bits() throws IOException {
        Runtime.Device device = Runtime.devices().getFirst();
        Runtime.Device rounding = new Runtime.Device(device.tornado(), TENSOR_CORES, device.language(), true);
        try (Backend backend = new TornadoVm(rounding)) {
            List<Program> programs = programs("tiny-llava", DType.F32);
            assertTrue(assertThrows(BackendException.class, () -> backend.plan(programs)).getMessage()
                    .contains("weights of 32 bits"));
        }
    }

    @Test
    void theLargestModelFits() throws IOException {
        assertTrue(plan("paligemma2-28b-896", DType.BF16, TENSOR_CORES, "cuda").size() > 50);
    }

    /** Whatever memory a device has: buffers stay within what kernels can index, and hold all that is needed. */
    @Test
    void modelsThatDoNotFitArePlanned() throws IOException {
        Runtime.Device device = Runtime.devices().getFirst();
        DeviceInfo small = gpu(24_000_000_000L, 32_768, 256, Set.of());
        try (Backend backend = new TornadoVm(new Runtime.Device(device.tornado(), small, device.language()))) {
            List<Program> programs = programs("paligemma2-28b-896", DType.BF16);
            assertTrue(backend.plan(programs).size() > 50);
            DeviceMemory memory = backend.memory(programs);
            assertTrue(memory.total() > small.memoryBytes());
            assertTrue(memory.largerThan(1L << 31) > 0);
            assertTrue(memory.buffers().stream().allMatch(buffer -> buffer.elements() <= Integer.MAX_VALUE));
            assertEquals(memory.total(), memory.buffers().stream().mapToLong(DeviceMemory.Buffer::bytes).sum(),
                    memory.total() / 1e6);
        }
    }

    /** Attention of all layers of a tower is planned on tensor cores. */
    @Test
    void allLayersHaveAttentionOnTensorCores() throws IOException {
        assertEquals(27, plan("paligemma-3b-224", DType.F16, TENSOR_CORES, "cuda").stream()
                .filter(launch -> launch.program().equals("encode")
                && launch.kernel().equals("MmaAttention.flash")).mapToInt(PlannedLaunch::times).sum());
    }

    /** Queries, keys and values are one product and one kernel behind it, unless rows alone keep all groups busy. */
    @Test
    void projectionsAreOneProductOnTensorCores() throws IOException {
        for (DType weights : List.of(DType.BF16, DType.Q8)) {
            List<PlannedLaunch> launches = plan("paligemma-3b-224", weights, TENSOR_CORES, "cuda");
            assertEquals(List.of(27, 18), Stream.of("encode", "prefill").map(program -> launches.stream()
                    .filter(launch -> launch.program().equals(program)
                    && launch.kernel().equals("MmaProjections.finish")).mapToInt(PlannedLaunch::times).sum()).toList());
            assertTrue(launches.stream().noneMatch(launch -> launch.program().equals("prefill")
                    && Set.of("rope", "store").contains(launch.kernel())));
        }
        assertTrue(plan("paligemma-3b-896", DType.BF16, TENSOR_CORES, "cuda").stream().noneMatch(launch ->
                launch.kernel().equals("MmaProjections.finish")));
    }

    /** Every launch has its code, and nothing of it appears on standard output. */
    @Test
    void everyKernelHasItsSource() throws IOException {
        List<Program> programs = programs("tiny-llava", DType.BF16);
        PrintStream standard = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        try (Backend backend = Devices.open(Devices.all().getFirst());
                PrintStream caught = new PrintStream(printed, true, StandardCharsets.UTF_8)) {
            System.setOut(caught);
            List<KernelSource> sources = backend.sources(programs);
            assertEquals(backend.plan(programs), sources.stream().map(KernelSource::launch).toList());
            for (KernelSource source : sources) {
                assertTrue(source.text().contains(" " + source.entryPoint() + "("), source.text());
                assertTrue(source.launch().kernel().contains(source.entryPoint()),
                        source.launch() + " is not " + source.entryPoint());
            }
        } finally {
            System.setOut(standard);
        }
        assertEquals("", printed.toString(StandardCharsets.UTF_8));
    }
}

package stormsight.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.backend.DeviceInfo;
import stormsight.backend.KernelSource;
import stormsight.backend.PlannedLaunch;
import stormsight.checkpoint.JsonRecord;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class KernelReportTest {
    private static final DeviceInfo DEVICE = new DeviceInfo("0:0", "tornado", "GPU", "Test", "TornadoVM", "",
            DeviceInfo.Kind.GPU, 1, 1, 1, 256, 1, Set.of());

    @TempDir
    private Path folder;

    private static KernelResources kernel(String target, String name, int registers, int spills, int occupancy,
            OptionalInt waits) {
        return new KernelResources(target, name, "decode decoder.layers", registers, spills, 0, 1024, occupancy,
                OptionalInt.of(24), waits);
    }

    /** As ptxas 13.0 writes it. */
    @Test
    void readsWhatPtxasSays() {
        OfflineCompiler.Needs needs = OfflineCompiler.nvidia("""
                ptxas info    : 0 bytes gmem
                ptxas info    : Compiling entry function 'vector' for 'sm_90'
                ptxas info    : Function properties for vector
                    40 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads
                ptxas info    : Used 48 registers, used 1 barriers, 40 bytes cumulative stack size, 1024 bytes smem
                """);
        assertEquals(new OfflineCompiler.Needs(48, 8, 40, 1024, OptionalInt.empty(), OptionalInt.empty()), needs);
    }

    /** As clang 19 writes it. */
    @Test
    void readsAmdsAssembly() {
        OfflineCompiler.Needs needs = OfflineCompiler.amd("""
                \ts_load_dwordx2 s[0:1], s[4:5], 0x20
                \tglobal_load_dwordx4 v[2:5], v1, s[2:3]
                \ts_waitcnt vmcnt(0) lgkmcnt(0)
                \ts_waitcnt lgkmcnt(0)
                \tflat_load_dword v6, v[2:3]
                \ts_waitcnt vmcnt(0)
                  - .agpr_count:     0
                    .group_segment_fixed_size: 1024
                    .private_segment_fixed_size: 12
                    .sgpr_count:     27
                    .sgpr_spill_count: 1
                    .vgpr_count:     65
                    .vgpr_spill_count: 2
                """);
        assertEquals(new OfflineCompiler.Needs(65, 12, 12, 1024, OptionalInt.of(2), OptionalInt.of(2)), needs);
    }

    /** Figures of NVIDIA's occupancy calculator. */
    @Test
    void occupancyIsThatOfTheScarcestResource() {
        GpuTarget h100 = GpuTarget.named("sm_90").orElseThrow();
        assertEquals(100, h100.occupancy(32, 256, 0));
        assertEquals(50, h100.occupancy(64, 256, 0), "registers");
        assertEquals(37, h100.occupancy(71, 256, 0), "registers are given out by the 8");
        assertEquals(50, h100.occupancy(16, 32, 0), "groups");
        assertEquals(25, h100.occupancy(32, 256, 100 << 10), "local memory");
        assertEquals(0, h100.occupancy(32, 256, 227 << 10), "no group fits");
        assertEquals(100, GpuTarget.named("gfx90a").orElseThrow().occupancy(64, 256, 8 << 10));
        assertEquals(Optional.empty(), GpuTarget.named("sm_91"));
    }

    @Test
    void namesWhatBecameWorse() throws IOException {
        Path file = folder.resolve("then.json");
        Files.writeString(file, new KernelReport("m", List.of(
                kernel("sm_90", "vector", 32, 0, 100, OptionalInt.empty()),
                kernel("sm_90", "gone", 32, 0, 100, OptionalInt.empty()),
                kernel("gfx90a", "vector", 32, 0, 100, OptionalInt.of(7)),
                kernel("sm_80", "vector", 32, 0, 100, OptionalInt.empty()))).json());
        List<String> notes = new ArrayList<>();
        KernelReport now = new KernelReport("m", List.of(
                kernel("sm_90", "vector", 48, 4, 62, OptionalInt.empty()),
                kernel("gfx90a", "vector", 30, 0, 100, OptionalInt.of(9)),
                kernel("gfx90a", "new", 30, 0, 100, OptionalInt.of(9))));
        assertEquals(
                List.of(
                        "sm_90 vector: occupancy 100 % -> 62 % (32 -> 48 registers, 1024 -> 1024 B local)",
                        "sm_90 vector: 0 -> 4 B spilled",
                        "gfx90a vector: 7 -> 9 waits for memory"),
                now.worseThan(file, notes::add));
        assertEquals(List.of("gfx90a new is not in " + file, "sm_90 gone is in " + file + " alone"), notes);
        assertEquals(List.of(), now.worseThan(write("now.json", now.json()), notes::add));
    }

    /** What {@code --against} is usually given: the kernels of the embedded model, none of which spills. */
    @Test
    void recordedLimitsCanBeComparedWith() throws IOException {
        JsonRecord limits = JsonRecord.read(Path.of("bench/offline.json"));
        List<JsonRecord> recorded = limits.get("kernels").elements();
        assertEquals(
                Set.of("sm_90", "gfx90a", "gfx1030"),
                recorded.stream().map(kernel -> kernel.get("target").text()).collect(Collectors.toSet()));
        for (JsonRecord kernel : recorded) {
            assertEquals(0, kernel.get("spill_bytes").index(1 << 20), kernel.get("kernel").text());
        }
        String vector = recorded.stream().map(kernel -> kernel.get("kernel").text())
                .filter(name -> name.startsWith("MatMul.vector")).findFirst().orElseThrow();
        KernelReport now = new KernelReport("m", List.of(kernel("sm_90", vector, 255, 8, 12, OptionalInt.empty())));
        assertEquals(2, now.worseThan(Path.of("bench/offline.json"), _ -> {}).size());
    }

    @Test
    void aBrokenFileIsNamed() throws IOException {
        KernelReport now = new KernelReport("m", List.of(kernel("sm_90", "v", 1, 0, 100, OptionalInt.empty())));
        for (String text : List.of("[]", "{\"kernels\": 1}", "{\"kernels\": [{\"target\": 1}]}", "{")) {
            Path file = write("broken.json", text);
            JsonRecord.WrongShapeException e = assertThrows(
                    JsonRecord.WrongShapeException.class, () -> now.worseThan(file, note -> {}));
            assertTrue(e.getMessage().contains("broken.json"), e.getMessage());
        }
    }

    /** A compiler is not told to read files outside the folder. */
    @Test
    void filesAreThoseOfTheFolder() throws IOException {
        write(KernelFolder.CONTENTS, """
                {"model": "m", "language": "opencl", "flags": "", "launches": [],
                 "sources": [{"file": "../secret.cl", "kernel": "k", "entry_point": "k", "group_size": 1}]}
                """);
        Exception e = assertThrows(JsonRecord.WrongShapeException.class,
                () -> KernelReport.of(List.of(folder), KernelReport.targets(), _ -> {}));
        assertTrue(e.getMessage().contains("is not the name of a file"), e.getMessage());
    }

    @Test
    void equalSourcesAreOneFile() throws IOException {
        PlannedLaunch first = new PlannedLaunch("prefill", "decoder.layers", 18, Optional.empty(), "rope", "4 groups");
        PlannedLaunch second = new PlannedLaunch("decode", "decoder.layers", 18, Optional.empty(), "rope", "1 groups");
        int files = KernelFolder.write(folder.resolve("new"), "m", DEVICE, List.of(
                new KernelSource(first, "opencl", "rope", "-cl-mad-enable", 64, 0, "__kernel void rope() {}"),
                new KernelSource(second, "opencl", "rope", "-cl-mad-enable", 64, 0, "__kernel void rope() {}"),
                new KernelSource(second, "opencl", "rope", "-cl-mad-enable", 64, 0, "__kernel void rope() { ; }")));
        assertEquals(2, files);
        assertEquals("__kernel void rope() {}", Files.readString(folder.resolve("new/001-rope.cl")));
        JsonNode contents = JsonMapper.shared().readTree(folder.resolve("new/contents.json").toFile());
        assertEquals(List.of("001-rope.cl", "001-rope.cl", "002-rope.cl"), contents.get("launches").valueStream()
                .map(launch -> launch.get("file").asString()).toList());
        assertEquals(64, contents.get("sources").get(1).get("group_size").asInt());
    }

    private Path write(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text);
    }
}

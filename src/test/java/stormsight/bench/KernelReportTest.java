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
        return new KernelResources(target, name, "decode decoder.layers", registers, spills, 0, 1024,
                OptionalInt.empty(), occupancy, OptionalInt.of(24), waits);
    }

    private static KernelResources onIntel(int simd) {
        return new KernelResources("acm-g10", "vector", "decode decoder.layers", 1024 / simd, 0, 0, 1024,
                OptionalInt.of(simd), 100, OptionalInt.of(24), OptionalInt.of(7));
    }

    private static OfflineCompiler.Needs needs(int registers, int localBytes) {
        return new OfflineCompiler.Needs(registers, 0, 0, localBytes, OptionalInt.empty(), false, OptionalInt.empty(),
                OptionalInt.empty());
    }

    /** Of 8 words a register. */
    private static OfflineCompiler.Needs needsOfIntel(int registers, int simd, int localBytes, boolean barrier) {
        return new OfflineCompiler.Needs(registers * 8 / simd, 0, 0, localBytes, OptionalInt.of(simd), barrier,
                OptionalInt.empty(), OptionalInt.empty());
    }

    private static String resource(String name) throws IOException {
        return Files.readString(Path.of("src/test/resources/ocloc", name));
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
        assertEquals(
                new OfflineCompiler.Needs(48, 8, 40, 1024, OptionalInt.empty(), false, OptionalInt.empty(),
                        OptionalInt.empty()),
                needs);
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
        assertEquals(
                new OfflineCompiler.Needs(65, 12, 12, 1024, OptionalInt.empty(), false, OptionalInt.of(2),
                        OptionalInt.of(2)),
                needs);
    }

    /** As ocloc 22.43 writes it; loads and waits were counted by hand. */
    @Test
    void readsWhatOclocMakesOfAKernel() throws IOException {
        String information = resource("sums.ze_info");
        OfflineCompiler.Needs needs =
                OfflineCompiler.intel("Build succeeded.\n", information, 32, Optional.of(resource("sums.asm")));
        assertEquals(
                new OfflineCompiler.Needs(32, 0, 0, 256, OptionalInt.of(32), true, OptionalInt.of(4),
                        OptionalInt.of(4)),
                needs);
        OfflineCompiler.Needs withoutAssembly =
                OfflineCompiler.intel("Build succeeded.\n", information, 32, Optional.empty());
        assertEquals(
                new OfflineCompiler.Needs(32, 0, 0, 256, OptionalInt.of(32), true, OptionalInt.empty(),
                        OptionalInt.empty()),
                withoutAssembly);
    }

    /** The kinds of private memory that ocloc 22.43 and newer ones write. */
    @Test
    void readsIntelsPrivateMemory() {
        String information = """
                kernels:
                  - name:            t
                    execution_env:
                      grf_count:       256
                      simd_size:       8
                    per_thread_memory_buffers:
                      - type:            scratch
                        usage:           single_space
                        size:            8192
                      - type:            global
                        usage:           private_space
                        size:            160
                        is_simt_thread:  true
                """;
        OfflineCompiler.Needs arrays = OfflineCompiler.intel("", information, 32, Optional.empty());
        assertEquals(256, arrays.registers());
        assertEquals(0, arrays.spillBytes());
        assertEquals(1024 + 160, arrays.stackBytes());
        assertEquals(0, arrays.localBytes());
        assertTrue(!arrays.barrier());
        assertEquals(
                1184,
                OfflineCompiler.intel(
                        "warning: kernel t  compiled SIMD8 allocated 128 regs and spilled around 185\n",
                        information, 32, Optional.empty()).spillBytes());
        assertEquals(
                40,
                OfflineCompiler.intel("", information.replace("      simd", "      spill_size: 320\n      simd"), 32,
                        Optional.empty()).spillBytes());
    }

    /** Of the two loads before the loop, one is waited for in it, and so is that of the turn before. */
    @Test
    void waitsOfIntelsCodeAreFoundAcrossJumps() {
        IntelAssembly code = new IntelAssembly("""
                L0:
                (W)     send.ugm (1|M0)  r4    r127  null:0  0x0  0x6218D500  {$2} // load.ugm.d32x16t.a32.bti[255]
                        send.ugm (16|M0) r10   r8    null:0  0x0  0x64280500  {$3} // load.ugm.d32.a32.bti[0]
                        mov (16|M0)              r8.0<1>:d     r4.0<1;1,0>:d     {$2.dst}
                        send.ugm (16|M0) null  r8    r9:2    0x0  0x640E0504  {$3} // store.ugm.d32.a32.bti[1]
                        mov (16|M0)              r8.0<1>:d     r4.0<1;1,0>:d     {$3.dst}
                        load.ugm.d32.a64 (16|M0)  r12:2        [r8:4]            {A@1,$5} // ex_desc:0x0
                        sync.allrd                           ($5)
                        sync.allwr                           ($2,$3)
                L100:
                        add (16|M0)              r30.0<1>:f    r12.0<1;1,0>:f    r30.0<1;1,0>:f   {$5.dst}
                        add (16|M0)              r30.0<1>:f    r14.0<1;1,0>:f    r30.0<1;1,0>:f   {$6.dst}
                        send.slm (16|M0)         r12      r39     null:0  0x0  0x04280500  {$5} // load.slm.d32.a32
                        mov (16|M0)              r8.0<1>:d     r4.0<1;1,0>:d     {$6.src}
                        send.ugm (16|M0) r14   r8    null:0  0x0  0x64280500  {$6} // load.ugm.d32.a32.bti[0]
                (W&f0.0) jmpi                                L100
                        sync.allwr                           null
                """);
        assertEquals(3, code.loads());
        assertEquals(4, code.waits(), "at the store, at both additions, at the end");
    }

    /** An ocloc that copies what a real one wrote stands on the path. */
    @Test
    void compilesWithOcloc() throws IOException {
        kernelFolder();
        Path kept = Path.of("src/test/resources/ocloc").toAbsolutePath();
        Path ocloc = Files.createDirectory(folder.resolve("bin")).resolve("ocloc");
        Files.writeString(ocloc, "#!/bin/sh\n" + """
                echo "$@" >> '%1$s/said'
                case "$1 $2" in
                    "ids acm-g10") ;;
                    "ids "*) echo "Unknown acronym $2."; exit 226 ;;
                    "compile "*) : > "${9}/kernel_XE_HPG_COREdg2.bin"; echo "Build succeeded." ;;
                    *) cp '%2$s/sums.ze_info' "$5/.ze_info" && cp '%2$s/sums.asm' "$5/.text.sums.asm" ;;
                esac
                """.formatted(folder, kept));
        assertTrue(ocloc.toFile().setExecutable(true));
        List<String> notes = new ArrayList<>();
        KernelReport report = KernelReport.of(List.of(folder), List.of("bmg-g21", "dg2"), notes::add,
                OfflineCompiler.find(ocloc.getParent().toString()));
        assertEquals(List.of("bmg-g21 left out: this ocloc does not know it; a newer one may"), notes);
        assertEquals(
                List.of(
                        new KernelResources("acm-g10", "rope", "", 32, 0, 0, 256, OptionalInt.of(32), 50,
                                OptionalInt.of(4), OptionalInt.of(4)),
                        new KernelResources("acm-g10", "rope#2", "", 32, 0, 0, 256, OptionalInt.of(32), 100,
                                OptionalInt.of(4), OptionalInt.of(4))),
                report.kernels());
        String said = Files.readString(folder.resolve("said"));
        assertTrue(said.contains("-device acm-g10 --format zebin"), said);
        assertTrue(said.contains("-options -cl-mad-enable"), said);
        assertTrue(!said.contains("-w"), "a flag that is not OpenCL's: " + said);
        assertTrue(report.table().contains("SIMD"), report.table());
    }

    @Test
    void withoutOclocOneLineSaysSo() throws IOException {
        kernelFolder();
        List<String> notes = new ArrayList<>();
        MeasuringException e = assertThrows(MeasuringException.class, () -> KernelReport.of(List.of(folder),
                List.of("acm-g10"), notes::add, OfflineCompiler.find(folder.toString())));
        assertEquals(List.of("acm-g10 left out: ocloc is not found"), notes);
        assertTrue(e.getMessage().contains("ocloc"), e.getMessage());
    }

    /** Two kernels, of 64 and of 256 items a group. */
    private void kernelFolder() throws IOException {
        write(KernelFolder.CONTENTS, """
                {"model": "m", "language": "opencl", "flags": "-cl-mad-enable -w", "launches": [],
                 "sources": [{"file": "a.cl", "kernel": "rope", "entry_point": "rope", "group_size": 64},
                             {"file": "b.cl", "kernel": "rope", "entry_point": "rope", "group_size": 256}]}
                """);
        write("a.cl", "__kernel void rope() {}");
        write("b.cl", "__kernel void rope() { ; }");
    }

    /** Figures of NVIDIA's occupancy calculator. */
    @Test
    void occupancyIsThatOfTheScarcestResource() {
        GpuTarget h100 = GpuTarget.named("sm_90").orElseThrow();
        assertEquals(100, h100.occupancy(needs(32, 0), 256));
        assertEquals(50, h100.occupancy(needs(64, 0), 256), "registers");
        assertEquals(37, h100.occupancy(needs(71, 0), 256), "registers are given out by the 8");
        assertEquals(50, h100.occupancy(needs(16, 0), 32), "groups");
        assertEquals(25, h100.occupancy(needs(32, 100 << 10), 256), "local memory");
        assertEquals(0, h100.occupancy(needs(32, 227 << 10), 256), "no group fits");
        assertEquals(100, GpuTarget.named("gfx90a").orElseThrow().occupancy(needs(64, 8 << 10), 256));
        assertEquals(Optional.empty(), GpuTarget.named("sm_91"));
    }

    /** 128 threads of an Xe core; rules and sizes of Intel's occupancy calculator. */
    @Test
    void occupancyOfIntelIsThatOfHardwareThreads() {
        GpuTarget arc = GpuTarget.named("acm-g10").orElseThrow();
        assertEquals(arc, GpuTarget.named("dg2").orElseThrow());
        assertEquals(100, arc.occupancy(needsOfIntel(128, 32, 0, false), 256));
        assertEquals(100, arc.occupancy(needsOfIntel(128, 8, 0, false), 256));
        assertEquals(50, arc.occupancy(needsOfIntel(256, 16, 0, false), 256), "256 registers: half of the threads");
        assertEquals(100, arc.occupancy(needsOfIntel(128, 32, 0, false), 32));
        assertEquals(50, arc.occupancy(needsOfIntel(128, 32, 0, true), 64), "32 groups with a barrier");
        assertEquals(50, arc.occupancy(needsOfIntel(128, 16, 17 << 10, true), 256), "17 KB take 32");
        assertEquals(0, arc.occupancy(needsOfIntel(128, 32, 65 << 10, true), 256), "64 KB are a group's most");
        GpuTarget max = GpuTarget.named("pvc").orElseThrow();
        assertEquals(25, max.occupancy(
                new OfflineCompiler.Needs(64, 0, 0, 65 << 10, OptionalInt.of(32), true, OptionalInt.empty(),
                        OptionalInt.empty()), 512));
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
        notes.clear();
        Path same = write("now.json", now.json());
        assertEquals(List.of(), now.worseThan(same, notes::add));
        assertEquals(List.of("no kernel is worse than in " + same + "; compared: 3"), notes);

        Path wide = write("wide.json", new KernelReport("m", List.of(onIntel(32))).json());
        assertEquals(List.of("acm-g10 vector: SIMD 32 -> 16"),
                new KernelReport("m", List.of(onIntel(16))).worseThan(wide, notes::add));
        assertEquals(List.of(), new KernelReport("m", List.of(onIntel(32))).worseThan(wide, notes::add));
    }

    /** What {@code --against} is usually given: the kernels of the embedded model, none of which spills. */
    @Test
    void recordedLimitsCanBeComparedWith() throws IOException {
        JsonRecord limits = JsonRecord.read(Path.of("bench/offline.json"));
        List<JsonRecord> recorded = limits.get("kernels").elements();
        assertEquals(
                Set.of("sm_90", "gfx90a", "gfx1030", "acm-g10"),
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

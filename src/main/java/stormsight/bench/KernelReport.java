package stormsight.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import stormsight.checkpoint.JsonRecord;
import stormsight.checkpoint.TemporaryFolder;
import stormsight.report.TextTable;
import tools.jackson.databind.json.JsonMapper;

/**
 * What the kernels of some {@link KernelFolder}s need on some GPUs, without any of them.
 *
 * @param model what was planned
 * @param kernels target by target, in the folders' order
 */
public record KernelReport(String model, List<KernelResources> kernels) {
    private static final String FORMAT = "stormsight-kernels-1";
    private static final int LARGEST = 1 << 30;

    /** The targets that are known, for a help text. */
    public static List<String> targets() {
        return GpuTarget.names();
    }

    /** Whether {@link #of} takes a target: one of {@link #targets}, or another name that compilers have for it. */
    public static boolean isTarget(String name) {
        return GpuTarget.named(name).isPresent();
    }

    /** A kernel of the folders: code that differs from that of all before it. */
    private record Code(Path file, String kernel, String language, String flags, int groupSize, Set<String> uses) {}

    /**
     * Compiles every kernel of some folders for every target for which there are compilers.
     *
     * @param folders in the order in which kernels of the same name are numbered; equal code is compiled once
     * @param targets of {@link #targets}
     * @param notes gets a line for each target that was left out
     * @throws IOException if a folder has no readable table of contents
     * @throws JsonRecord.WrongShapeException if the table is not one
     * @throws MeasuringException if there is no compiler for any target, or a compiler refuses a kernel
     */
    public static KernelReport of(List<Path> folders, List<String> targets, Consumer<String> notes)
            throws IOException {
        return of(folders, targets, notes, OfflineCompiler.find());
    }

    static KernelReport of(List<Path> folders, List<String> targets, Consumer<String> notes,
            OfflineCompiler compiler) throws IOException {
        Set<String> models = new LinkedHashSet<>();
        Map<String, Code> codes = new LinkedHashMap<>();
        for (Path folder : folders) {
            JsonRecord contents = JsonRecord.read(folder.resolve(KernelFolder.CONTENTS));
            models.add(contents.get("model").text());
            read(folder, contents, codes);
        }
        List<KernelResources> kernels = new ArrayList<>();
        Path made = TemporaryFolder.create();
        for (String name : targets) {
            GpuTarget target = GpuTarget.named(name).orElseThrow();
            Map<String, Integer> counts = new HashMap<>();
            Set<String> told = new HashSet<>();
            for (Code code : codes.values()) {
                int number = counts.merge(code.kernel, 1, Integer::sum);
                Optional<String> missing = compiler.missing(code.language, target);
                if (missing.isPresent()) {
                    if (told.add(missing.get())) {
                        notes.accept(name + " left out: " + missing.get());
                    }
                    continue;
                }
                OfflineCompiler.Needs needs =
                        compiler.compile(code.file, code.language, code.flags, target, made);
                kernels.add(new KernelResources(
                        target.name(),
                        code.kernel + (number == 1 ? "" : "#" + number),
                        String.join(", ", code.uses),
                        needs.registers(),
                        needs.spillBytes(),
                        needs.stackBytes(),
                        needs.localBytes(),
                        needs.simd(),
                        target.occupancy(needs, code.groupSize),
                        needs.loads(),
                        needs.waits()));
            }
        }
        if (kernels.isEmpty()) {
            throw new MeasuringException(1, "no kernel was compiled: install clang with libclc or ROCm's device "
                    + "libraries, ptxas, nvcc or ocloc, so that they are on the PATH");
        }
        return new KernelReport(String.join(", ", models), kernels);
    }

    /** @param codes by language, flags and text; what the folder has besides is added */
    private static void read(Path folder, JsonRecord contents, Map<String, Code> codes) throws IOException {
        String language = contents.get("language").text();
        String flags = contents.get("flags").text();
        Map<String, Set<String>> uses = new HashMap<>();
        for (JsonRecord launch : contents.get("launches").elements()) {
            uses.computeIfAbsent(launch.get("file").text(), _ -> new LinkedHashSet<>())
                    .add(launch.get("program").text() + " " + launch.get("segment").text());
        }
        for (JsonRecord code : contents.get("sources").elements()) {
            String name = code.get("file").text();
            if (!Path.of(name).equals(Path.of(name).getFileName())) {
                throw code.get("file").invalid("is not the name of a file in the folder");
            }
            Path file = folder.resolve(name);
            codes.computeIfAbsent(language + "\n" + flags + "\n" + Files.readString(file), _ -> new Code(
                    file,
                    code.get("kernel").text(),
                    language,
                    flags,
                    code.get("group_size").index(LARGEST),
                    new LinkedHashSet<>()))
                    .uses.addAll(uses.getOrDefault(name, Set.of()));
        }
    }

    /** A table for people; what a compiler does not show stays empty. */
    public String table() {
        TextTable table = new TextTable(
                "target",
                "kernel",
                ">registers",
                ">spills B",
                ">stack B",
                ">local B",
                ">SIMD",
                ">occupancy %",
                ">loads",
                ">waits",
                "where");
        kernels.forEach(kernel -> table.row(
                kernel.target(),
                kernel.kernel(),
                kernel.registers(),
                kernel.spillBytes(),
                kernel.stackBytes(),
                kernel.localBytes(),
                text(kernel.simd()),
                kernel.occupancy(),
                text(kernel.loads()),
                text(kernel.waits()),
                kernel.uses()));
        return table.plain();
    }

    private static String text(OptionalInt number) {
        return number.isPresent() ? String.valueOf(number.getAsInt()) : "";
    }

    /** The same as JSON text that ends with a newline, with a line for each kernel. */
    public String json() {
        JsonMapper mapper = JsonMapper.shared();
        return "{\n  \"format\": " + mapper.writeValueAsString(FORMAT) + ",\n  \"model\": "
                + mapper.writeValueAsString(model) + ",\n  \"kernels\": [\n"
                + kernels.stream().map(kernel -> "    " + mapper.writeValueAsString(kernel.json()))
                        .collect(Collectors.joining(",\n"))
                + "\n  ]\n}\n";
    }

    /**
     * What is worse than in a file of {@link #json}: more registers or local memory where that costs occupancy, fewer
     * work items of a hardware thread, more spilled bytes, more waits. A line for each; and, to {@code notes}, what is
     * in one of both alone, of the targets that were compiled for, and how many were compared if nothing is worse.
     *
     * @throws IOException if the file cannot be read
     * @throws JsonRecord.WrongShapeException if it is not one
     */
    public List<String> worseThan(Path file, Consumer<String> notes) throws IOException {
        JsonRecord recorded = JsonRecord.read(file);
        Map<String, JsonRecord> then = new LinkedHashMap<>();
        for (JsonRecord kernel : recorded.get("kernels").elements()) {
            then.put(kernel.get("target").text() + " " + kernel.get("kernel").text(), kernel);
        }
        List<String> worse = new ArrayList<>();
        int compared = 0;
        for (KernelResources now : kernels) {
            String name = now.target() + " " + now.kernel();
            JsonRecord old = then.remove(name);
            if (old == null) {
                notes.accept(name + " is not in " + file);
                continue;
            }
            compared++;
            int occupancy = old.get("occupancy").index(LARGEST);
            if (now.occupancy() < occupancy) {
                worse.add(name + ": occupancy " + occupancy + " % -> " + now.occupancy() + " % ("
                        + old.get("registers").index(LARGEST) + " -> " + now.registers() + " registers, "
                        + old.get("local_bytes").index(LARGEST) + " -> " + now.localBytes() + " B local)");
            }
            int simd = old.find("simd").map(number -> number.index(LARGEST)).orElse(0);
            if (now.simd().orElse(LARGEST) < simd) {
                worse.add(name + ": SIMD " + simd + " -> " + now.simd().getAsInt());
            }
            int spills = old.get("spill_bytes").index(LARGEST);
            if (now.spillBytes() > spills) {
                worse.add(name + ": " + spills + " -> " + now.spillBytes() + " B spilled");
            }
            int waits = old.find("waits").map(number -> number.index(LARGEST)).orElse(Integer.MAX_VALUE);
            if (now.waits().orElse(0) > waits) {
                worse.add(name + ": " + waits + " -> " + now.waits().getAsInt() + " waits for memory");
            }
        }
        then.keySet().removeIf(name -> kernels.stream().noneMatch(kernel -> name.startsWith(kernel.target() + " ")));
        then.keySet().forEach(name -> notes.accept(name + " is in " + file + " alone"));
        if (worse.isEmpty()) {
            notes.accept(compared == 0 ? "no kernel could be compared with " + file
                    : "no kernel is worse than in " + file + "; compared: " + compared);
        }
        return worse;
    }
}

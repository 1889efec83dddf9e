package stormsight.bench;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import stormsight.backend.DeviceInfo;
import stormsight.backend.KernelSource;
import stormsight.report.OutputFile;
import stormsight.report.TextTable;
import tools.jackson.databind.json.JsonMapper;

/**
 * A folder of kernel sources: a file for each that differs, and a table of contents, {@value #CONTENTS} for programs
 * and contents.txt for people.
 */
public final class KernelFolder {
    /** The table of contents as JSON. */
    public static final String CONTENTS = "contents.json";

    /** Endings by which compilers know the languages. */
    private static final Map<String, String> ENDINGS =
            Map.of("opencl", "cl", "cuda", "cu", "ptx", "ptx", "metal", "metal", "spirv", "spv");

    /** One file, and the first kernel that it is the code of. */
    private record Entry(String file, KernelSource source) {}

    private KernelFolder() {}

    /**
     * Writes sources and their table of contents.
     *
     * @param folder made if it is missing; what is in it is replaced where names are equal
     * @param model what was planned, for the table
     * @return how many files of code there are
     * @throws stormsight.report.FigureException if a file cannot be written
     */
    public static int write(Path folder, String model, DeviceInfo device, List<KernelSource> sources) {
        Map<String, Entry> files = new LinkedHashMap<>();
        TextTable table = new TextTable("file", "program", "segment", ">times", "operation", "kernel", "launch");
        List<Map<String, Object>> launches = new ArrayList<>();
        for (KernelSource source : sources) {
            Entry entry = files.computeIfAbsent(source.text(), _ -> new Entry(name(files.size() + 1, source), source));
            String operation =
                    source.launch().op().map(op -> op.getClass().getSimpleName()).orElse("");
            table.row(
                    entry.file(),
                    source.launch().program(),
                    source.launch().segment(),
                    source.launch().times(),
                    operation,
                    source.launch().kernel(),
                    source.launch().geometry());
            Map<String, Object> launch = new LinkedHashMap<>();
            launch.put("file", entry.file());
            launch.put("program", source.launch().program());
            launch.put("segment", source.launch().segment());
            launch.put("times", source.launch().times());
            launch.put("operation", operation);
            launch.put("kernel", source.launch().kernel());
            launch.put("launch", source.launch().geometry());
            launches.add(launch);
        }
        List<Map<String, Object>> codes = new ArrayList<>();
        for (Entry entry : files.values()) {
            OutputFile.write(folder.resolve(entry.file()), entry.source().text());
            Map<String, Object> code = new LinkedHashMap<>();
            code.put("file", entry.file());
            code.put("kernel", entry.source().launch().kernel());
            code.put("entry_point", entry.source().entryPoint());
            code.put("group_size", entry.source().groupSize());
            code.put("local_bytes", entry.source().localBytes());
            codes.add(code);
        }
        Map<String, Object> contents = new LinkedHashMap<>();
        contents.put("model", model);
        contents.put("device", device.title());
        contents.put("language", sources.isEmpty() ? "" : sources.getFirst().language());
        contents.put("flags", sources.isEmpty() ? "" : sources.getFirst().flags());
        contents.put("sources", codes);
        contents.put("launches", launches);
        OutputFile.write(
                folder.resolve(CONTENTS),
                JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(contents) + "\n");
        OutputFile.write(
                folder.resolve("contents.txt"),
                model + " on " + device.title() + "\ncompiler flags: " + contents.get("flags") + "\n\n"
                        + table.plain());
        return files.size();
    }

    private static String name(int number, KernelSource source) {
        return String.format(Locale.ROOT, "%03d-%s.%s", number, source.launch().kernel(),
                ENDINGS.getOrDefault(source.language(), "txt"));
    }
}

package stormsight.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import stormsight.checkpoint.TemporaryFolder;

/**
 * The compilers that are found on the PATH, and what they say of a kernel: nvcc and ptxas for CUDA and PTX; clang with
 * the device libraries of ROCm for OpenCL on AMD; clang with libclc, and ptxas, for OpenCL on NVIDIA, whose own
 * compiler is close to that but not the same; ocloc, the driver's own compiler, for OpenCL on Intel.
 */
final class OfflineCompiler {
    private static final List<String> CLANGS = List.of("clang", "clang-22", "clang-21", "clang-20", "clang-19",
            "clang-18", "clang-17", "clang-16", "clang-15", "clang-14");
    private static final List<String> BITCODE = List.of("/usr/lib/x86_64-linux-gnu/amdgcn/bitcode",
            "/opt/rocm/amdgcn/bitcode", "/usr/lib/amdgcn/bitcode");
    private static final List<String> LIBCLC = List.of("/usr/lib/clc/nvptx64--nvidiacl.bc",
            "/usr/share/clc/nvptx64--nvidiacl.bc");

    private static final Pattern REGISTERS = Pattern.compile("Used (\\d+) registers");
    private static final Pattern SHARED = Pattern.compile("(\\d+) bytes smem");
    private static final Pattern STACK =
            Pattern.compile("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
    private static final Pattern AMD_LOAD = Pattern.compile("^\\s+(?:global|flat|buffer)_load_", Pattern.MULTILINE);
    private static final Pattern AMD_WAIT = Pattern.compile("^\\s+s_waitcnt .*vmcnt", Pattern.MULTILINE);

    /** ocloc's word for registers that did not suffice. */
    private static final Pattern INTEL_SPILLED = Pattern.compile("spilled around \\d+");
    /** Private memory of a hardware thread, or of a work item where it says is_simt_thread. */
    private static final Pattern INTEL_BUFFER =
            Pattern.compile("- type: +\\w+((?:\\n +\\w+: +\\S+)+)");

    /** What a tool printed, both streams. */
    private record Run(int exitCode, String output) {}

    /**
     * Of a kernel on a target, before anything is known of its launch.
     *
     * @param simd work items of a hardware thread, where the compiler chooses that
     * @param barrier whether groups wait for their items, where that takes something of which there are few
     */
    record Needs(int registers, int spillBytes, int stackBytes, int localBytes, OptionalInt simd, boolean barrier,
            OptionalInt loads, OptionalInt waits) {}

    private final Optional<String> clang;
    private final Optional<String> ptxas;
    private final Optional<String> nvcc;
    private final Optional<String> bitcode;
    private final Optional<String> libclc;
    private final Optional<String> ocloc;
    private final Map<String, Boolean> knownToOcloc = new HashMap<>();

    private OfflineCompiler(Optional<String> clang, Optional<String> ptxas, Optional<String> nvcc,
            Optional<String> bitcode, Optional<String> libclc, Optional<String> ocloc) {
        this.clang = clang;
        this.ptxas = ptxas;
        this.nvcc = nvcc;
        this.bitcode = bitcode;
        this.libclc = libclc;
        this.ocloc = ocloc;
    }

    static OfflineCompiler find() {
        return find(System.getenv().getOrDefault("PATH", ""));
    }

    /** @param path folders with tools, as the variable PATH has them */
    static OfflineCompiler find(String path) {
        Function<String, Optional<String>> found = tool -> Arrays.stream(path.split(":"))
                .filter(folder -> !folder.isEmpty() && Files.isExecutable(Path.of(folder, tool)))
                .map(folder -> Path.of(folder, tool).toString()).findFirst();
        return new OfflineCompiler(
                CLANGS.stream().map(found).flatMap(Optional::stream).findFirst(),
                found.apply("ptxas"),
                found.apply("nvcc"),
                BITCODE.stream().filter(folder -> Files.isDirectory(Path.of(folder))).findFirst(),
                LIBCLC.stream().filter(file -> Files.isRegularFile(Path.of(file))).findFirst(),
                found.apply("ocloc"));
    }

    /** Why kernels of a language cannot be compiled for a target here, or empty. */
    Optional<String> missing(String language, GpuTarget target) {
        return switch (language) {
            case "opencl" -> switch (target.vendor()) {
                case NVIDIA -> missing(clang, "clang").or(() -> missing(libclc, "libclc"))
                        .or(() -> missing(ptxas, "ptxas"));
                case AMD -> missing(clang, "clang").or(() -> missing(bitcode, "a folder of ROCm's device libraries"));
                case INTEL -> missing(ocloc, "ocloc").or(() -> knownToOcloc(target)
                        ? Optional.empty()
                        : Optional.of("this ocloc does not know it; a newer one may"));
            };
            case "cuda" -> target.vendor() == GpuTarget.Vendor.NVIDIA
                    ? missing(nvcc, "nvcc")
                    : Optional.of("CUDA is for NVIDIA's alone");
            case "ptx" -> target.vendor() == GpuTarget.Vendor.NVIDIA
                    ? missing(ptxas, "ptxas")
                    : Optional.of("PTX is for NVIDIA's alone");
            default -> Optional.of("there is no offline compiler for the language " + language);
        };
    }

    private boolean knownToOcloc(GpuTarget target) {
        return knownToOcloc.computeIfAbsent(target.name(),
                name -> run(List.of(ocloc.orElseThrow(), "ids", name)).exitCode == 0);
    }

    private static Optional<String> missing(Optional<String> tool, String name) {
        return tool.isPresent() ? Optional.empty() : Optional.of(name + " is not found");
    }

    /**
     * Compiles a file.
     *
     * @param flags what the driver's compiler would be told
     * @param folder for what compilers write
     * @throws MeasuringException with the compiler's first line, if it refuses the file
     */
    Needs compile(Path source, String language, String flags, GpuTarget target, Path folder) {
        return switch (language) {
            case "cuda" -> nvidia(run(List.of(nvcc.orElseThrow(), "-cubin", "-arch=" + target.name(), "-Xptxas", "-v",
                    "-o", folder.resolve("kernel.cubin").toString(), source.toString()), source));
            case "ptx" -> nvidia(ptxas(source, target, folder));
            default -> switch (target.vendor()) {
                case NVIDIA -> openClOnNvidia(source, flags, target, folder);
                case AMD -> openClOnAmd(source, flags, target, folder);
                case INTEL -> openClOnIntel(source, flags, target);
            };
        };
    }

    private String ptxas(Path source, GpuTarget target, Path folder) {
        return run(List.of(ptxas.orElseThrow(), "-v", "-arch=" + target.name(), "-o",
                folder.resolve("kernel.cubin").toString(), source.toString()), source);
    }

    private Needs openClOnNvidia(Path source, String flags, GpuTarget target, Path folder) {
        Path ptx = folder.resolve("kernel.ptx");
        List<String> command = openCl(flags);
        command.addAll(List.of("-target", "nvptx64-nvidia-cuda", "-march=" + target.name(), "-Xclang",
                "-mlink-builtin-bitcode", "-Xclang", libclc.orElseThrow(), "-S", "-o", ptx.toString(),
                source.toString()));
        run(command, source);
        return nvidia(ptxas(ptx, target, folder));
    }

    private Needs openClOnAmd(Path source, String flags, GpuTarget target, Path folder) {
        Path assembly = folder.resolve("kernel.s");
        List<String> command = openCl(flags);
        command.addAll(List.of("-target", "amdgcn-amd-amdhsa", "-mcpu=" + target.name(),
                "--rocm-device-lib-path=" + bitcode.orElseThrow(), "-S", "-o", assembly.toString(),
                source.toString()));
        run(command, source);
        try {
            return amd(Files.readString(assembly));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private List<String> openCl(String flags) {
        List<String> command =
                new ArrayList<>(List.of(clang.orElseThrow(), "-x", "cl", "-cl-std=CL1.2", "-O3", "-w"));
        ofOpenCl(flags).forEach(command::add);
        return command;
    }

    private static Stream<String> ofOpenCl(String flags) {
        return Arrays.stream(flags.split("\\s+")).filter(flag -> flag.startsWith("-cl-"));
    }

    private Needs openClOnIntel(Path source, String flags, GpuTarget target) {
        try {
            Path made = TemporaryFolder.create();
            List<String> command = new ArrayList<>(List.of(ocloc.orElseThrow(), "compile", "-file", source.toString(),
                    "-device", target.name(), "--format", "zebin", "-out_dir", made.toString(), "-output", "kernel"));
            String options = ofOpenCl(flags).collect(Collectors.joining(" "));
            if (!options.isEmpty()) {
                command.addAll(List.of("-options", options));
            }
            String said = run(command, source);
            Path binary = only(made, "kernel*.bin").orElseThrow(() -> new MeasuringException(1,
                    source.getFileName() + ": ocloc writes no binary: " + said.strip()));
            Path parts = TemporaryFolder.create();
            run(List.of(ocloc.orElseThrow(), "disasm", "-file", binary.toString(), "-dump", parts.toString(),
                    "-device", target.name()), source);
            Path information = parts.resolve(".ze_info");
            if (!Files.exists(information)) {
                throw new MeasuringException(1, source.getFileName() + ": ocloc takes no .ze_info out of its binary; "
                        + "22.43 and newer ones do");
            }
            Optional<Path> assembly = only(parts, ".text.*.asm");
            return intel(said, Files.readString(information), target.registerBytes(),
                    assembly.isPresent() ? Optional.of(Files.readString(assembly.get())) : Optional.empty());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Optional<Path> only(Path folder, String glob) throws IOException {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, glob)) {
            for (Path file : files) {
                return Optional.of(file);
            }
            return Optional.empty();
        }
    }

    /** From what {@code ptxas -v} prints. */
    static Needs nvidia(String output) {
        Matcher stack = STACK.matcher(output);
        boolean known = stack.find();
        return new Needs(
                number(REGISTERS, output).orElseThrow(() -> new IllegalArgumentException(output)),
                known ? Integer.parseInt(stack.group(2)) : 0,
                known ? Integer.parseInt(stack.group(1)) : 0,
                number(SHARED, output).orElse(0),
                OptionalInt.empty(),
                false,
                OptionalInt.empty(),
                OptionalInt.empty());
    }

    /** From the assembly that clang writes for AMD. */
    static Needs amd(String assembly) {
        return new Needs(
                field(assembly, "vgpr_count"),
                4 * (field(assembly, "vgpr_spill_count") + field(assembly, "sgpr_spill_count")),
                field(assembly, "private_segment_fixed_size"),
                field(assembly, "group_segment_fixed_size"),
                OptionalInt.empty(),
                false,
                OptionalInt.of((int) AMD_LOAD.matcher(assembly).results().count()),
                OptionalInt.of((int) AMD_WAIT.matcher(assembly).results().count()));
    }

    /**
     * From what ocloc writes. Newer ones than 22.43 name the spilled bytes; of others that spill, all private memory
     * counts as spilled, which is an upper bound where a kernel has arrays as well.
     *
     * @param said what it printed as it compiled
     * @param information the section .ze_info of its binary, in YAML
     * @param registerBytes of a register of the hardware
     * @param assembly if ocloc found the library that disassembles
     * @see <a href="https://github.com/intel/compute-runtime/blob/master/level_zero/doc/ZEBIN.md">zebin</a>
     */
    static Needs intel(String said, String information, int registerBytes, Optional<String> assembly) {
        int simd = value(information, "simd_size")
                .orElseThrow(() -> new IllegalArgumentException("no simd_size in .ze_info"));
        int registers = value(information, "grf_count")
                .orElseThrow(() -> new IllegalArgumentException("no grf_count in .ze_info"));
        int stack = INTEL_BUFFER.matcher(information).results()
                .mapToInt(buffer -> value(buffer.group(1), "size").orElse(0)
                        / (buffer.group(1).contains("is_simt_thread:  true") ? 1 : simd))
                .sum();
        int spilled = value(information, "spill_size").map(bytes -> Math.ceilDiv(bytes, simd))
                .orElse(INTEL_SPILLED.matcher(said).find() ? stack : 0);
        Optional<IntelAssembly> code = assembly.map(IntelAssembly::new);
        return new Needs(
                registers * registerBytes / Integer.BYTES / simd,
                spilled,
                stack,
                value(information, "slm_size").orElse(0),
                OptionalInt.of(simd),
                value(information, "barrier_count").orElse(0) > 0,
                code.map(lines -> OptionalInt.of(lines.loads())).orElse(OptionalInt.empty()),
                code.map(lines -> OptionalInt.of(lines.waits())).orElse(OptionalInt.empty()));
    }

    private static Optional<Integer> value(String yaml, String name) {
        return number(Pattern.compile("(?m)^ *" + name + ": +(\\d+)"), yaml);
    }

    private static int field(String assembly, String name) {
        return number(Pattern.compile("\\." + name + ":\\s+(\\d+)"), assembly)
                .orElseThrow(() -> new IllegalArgumentException("no ." + name + " in the assembly"));
    }

    private static Optional<Integer> number(Pattern pattern, String text) {
        Matcher matcher = pattern.matcher(text);
        return matcher.find() ? Optional.of(Integer.valueOf(matcher.group(1))) : Optional.empty();
    }

    private static String run(List<String> command, Path source) {
        Run run = run(command);
        if (run.exitCode != 0) {
            String reason = run.output.lines().filter(line -> line.contains("error")).findFirst()
                    .orElse(run.output.lines().findFirst().orElse("exit code " + run.exitCode));
            throw new MeasuringException(1, source.getFileName() + ": "
                    + Path.of(command.getFirst()).getFileName() + " refuses it: " + reason);
        }
        return run.output;
    }

    private static Run run(List<String> command) {
        try {
            Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
            process.getOutputStream().close();
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return new Run(process.waitFor(), output);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MeasuringException(130, "interrupted");
        }
    }
}

package stormsight.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The compilers that are found on the PATH, and what they say of a kernel: nvcc and ptxas for CUDA and PTX; clang with
 * the device libraries of ROCm for OpenCL on AMD; clang with libclc, and ptxas, for OpenCL on NVIDIA, whose own
 * compiler is close to that but not the same.
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

    /** What a tool printed, both streams. */
    private record Run(int exitCode, String output) {}

    /** Of a kernel on a target, before anything is known of its launch. */
    record Needs(int registers, int spillBytes, int stackBytes, int localBytes, OptionalInt loads, OptionalInt waits) {}

    private final Optional<String> clang;
    private final Optional<String> ptxas;
    private final Optional<String> nvcc;
    private final Optional<String> bitcode;
    private final Optional<String> libclc;

    private OfflineCompiler(Optional<String> clang, Optional<String> ptxas, Optional<String> nvcc,
            Optional<String> bitcode, Optional<String> libclc) {
        this.clang = clang;
        this.ptxas = ptxas;
        this.nvcc = nvcc;
        this.bitcode = bitcode;
        this.libclc = libclc;
    }

    static OfflineCompiler find() {
        return new OfflineCompiler(
                CLANGS.stream().filter(OfflineCompiler::onPath).findFirst(),
                Optional.of("ptxas").filter(OfflineCompiler::onPath),
                Optional.of("nvcc").filter(OfflineCompiler::onPath),
                BITCODE.stream().filter(folder -> Files.isDirectory(Path.of(folder))).findFirst(),
                LIBCLC.stream().filter(file -> Files.isRegularFile(Path.of(file))).findFirst());
    }

    private static boolean onPath(String tool) {
        return Arrays.stream(System.getenv().getOrDefault("PATH", "").split(":"))
                .anyMatch(folder -> !folder.isEmpty() && Files.isExecutable(Path.of(folder, tool)));
    }

    /** Why kernels of a language cannot be compiled for a target here, or empty. */
    Optional<String> missing(String language, GpuTarget target) {
        return switch (language) {
            case "opencl" -> target.isNvidia()
                    ? missing(clang, "clang").or(() -> missing(libclc, "libclc")).or(() -> missing(ptxas, "ptxas"))
                    : missing(clang, "clang").or(() -> missing(bitcode, "a folder of ROCm's device libraries"));
            case "cuda" -> target.isNvidia()
                    ? missing(nvcc, "nvcc")
                    : Optional.of("CUDA is for NVIDIA's alone");
            case "ptx" -> target.isNvidia()
                    ? missing(ptxas, "ptxas")
                    : Optional.of("PTX is for NVIDIA's alone");
            default -> Optional.of("there is no offline compiler for the language " + language);
        };
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
            default -> target.isNvidia() ? openClOnNvidia(source, flags, target, folder)
                    : openClOnAmd(source, flags, target, folder);
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
        Arrays.stream(flags.split("\\s+")).filter(flag -> flag.startsWith("-cl-")).forEach(command::add);
        return command;
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
                OptionalInt.empty());
    }

    /** From the assembly that clang writes for AMD. */
    static Needs amd(String assembly) {
        return new Needs(
                field(assembly, "vgpr_count"),
                4 * (field(assembly, "vgpr_spill_count") + field(assembly, "sgpr_spill_count")),
                field(assembly, "private_segment_fixed_size"),
                field(assembly, "group_segment_fixed_size"),
                OptionalInt.of((int) AMD_LOAD.matcher(assembly).results().count()),
                OptionalInt.of((int) AMD_WAIT.matcher(assembly).results().count()));
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
            throw new MeasuringException(1, source.getFileName() + ": " + command.getFirst() + " refuses it: "
                    + reason);
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

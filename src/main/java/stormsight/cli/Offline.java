package stormsight.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import stormsight.bench.KernelReport;
import stormsight.checkpoint.JsonRecord;
import stormsight.report.OutputFile;

/** What bench/offline starts. */
@Command(
        name = Offline.NAME,
        hidden = true,
        description = {
            "Compiles the kernels that plan --sources wrote for GPUs that need not be here, with the compilers that "
                    + "are on the PATH: nvcc, ptxas, clang, ocloc. Prints registers, spills, local memory and "
                    + "occupancy of each kernel; for AMD and Intel how many instructions read global memory and wait "
                    + "for it; for Intel how many work items share a hardware thread (SIMD).",
            "OpenCL for sm_* goes through clang, libclc and ptxas, which is close to what NVIDIA's own compiler makes "
                    + "of it but not the same. NVIDIA's tools show no waits."
        })
final class Offline implements Callable<Integer> {
    static final String NAME = "offline";

    @Parameters(
            paramLabel = "DIR",
            arity = "1..*",
            description = "What plan --sources wrote, once or several times; equal kernels count once.")
    private List<Path> folders;

    /** Values of {@code --target}. */
    static final class Targets implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return KernelReport.targets().iterator();
        }
    }

    @Option(
            names = "--target",
            paramLabel = "GPU",
            split = ",",
            completionCandidates = Targets.class,
            defaultValue = "sm_90,gfx90a",
            description = "For which GPUs, of ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
    private List<String> targets;

    @Option(names = {"-o", "--out"}, paramLabel = "FILE", description = "Write the table as JSON as well.")
    private Path out;

    @Option(
            names = "--against",
            paramLabel = "FILE",
            description = "Compare with a file of --out; exit code 8 if a kernel has become worse.")
    private Path against;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        for (String target : targets) {
            if (!KernelReport.isTarget(target)) {
                throw new UsageException("--target " + target + " is not known; there are "
                        + String.join(", ", KernelReport.targets()));
            }
        }
        if (out != null) {
            OutputOption.requireWritable("--out", out);
        }
        PrintWriter err = spec.commandLine().getErr();
        try {
            KernelReport report = KernelReport.of(folders, targets, err::println);
            spec.commandLine().getOut().print(report.table());
            spec.commandLine().getOut().flush();
            if (out != null) {
                OutputFile.write(out, report.json());
            }
            if (against == null) {
                return 0;
            }
            List<String> worse = report.worseThan(against, err::println);
            worse.forEach(err::println);
            return worse.isEmpty() ? 0 : Main.SLOWER;
        } catch (JsonRecord.WrongShapeException e) {
            throw new UsageException(e.getMessage());
        }
    }
}

package stormsight.jmh;

import java.lang.foreign.MemorySegment;
import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.BenchCase;
import stormsight.backend.BenchCases;
import stormsight.backend.Executor;
import stormsight.backend.OpCase;
import stormsight.backend.RunListener;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** Times one operation on one backend, after its result was found right. What {@link KernelBenchmarks} runs. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class OpBenchmark {
    private static final long SLICE_NANOS = 50_000_000;
    private static final long MOST_NANOS = 5_000_000_000L;

    /** Name of a case. */
    @Param("")
    public String op;

    @Param("cpu")
    public String backend;

    /** Id of a device, empty for the default one. */
    @Param("")
    public String device;

    /** Of a CPU backend, 0 for one a core. */
    @Param("0")
    public int threads;

    private Backend opened;
    private Executor executor;
    private Program program;
    private Step step;

    /** @throws AssertionError if the result is wrong: then nothing is timed */
    @Setup(Level.Trial)
    public void prepare() {
        try {
            open();
            settle();
        } catch (RuntimeException | Error e) {
            // JMH tears down only what was set up, and the next case may run in this JVM.
            close();
            throw e;
        }
    }

    private void open() {
        BenchCase benchCase = BenchCases.byName().get(op);
        BenchCase.Setup setup = benchCase.setup().get();
        OpCase.Setup full = setup.full();
        opened = Backends.open(backend, new BackendOptions(threads, Optional.of(device).filter(id -> !id.isEmpty())));
        executor = opened.prepare(full.weights(), full.programs(), RunListener.NONE);
        full.inputs().forEach(executor::write);
        for (OpCase.Run run : full.runs()) {
            executor.run(run.program(), run.step());
        }
        Map<Tensor, MemorySegment> outputs = new LinkedHashMap<>();
        for (Tensor output : full.outputs()) {
            MemorySegment to = MemorySegment.ofArray(new byte[Math.toIntExact(output.bytes())]);
            executor.read(output, to);
            outputs.put(output, to);
        }
        benchCase.check(setup, outputs);
        program = setup.program();
        step = benchCase.step();
    }

    /**
     * Runs until the JVM's compilers have no more to do, for some seconds at most. With -Xbatch, as the launcher has
     * it, they work within the runs.
     */
    private void settle() {
        CompilationMXBean compilers = ManagementFactory.getCompilationMXBean();
        long start = System.nanoTime();
        long compiled;
        do {
            compiled = compilers.getTotalCompilationTime();
            for (long begun = System.nanoTime(); System.nanoTime() - begun < SLICE_NANOS;) {
                executor.run(program, step);
            }
        } while (compilers.getTotalCompilationTime() != compiled && System.nanoTime() - start < MOST_NANOS);
    }

    @Benchmark
    public void time() {
        executor.run(program, step);
    }

    @TearDown(Level.Trial)
    public void close() {
        if (executor != null) {
            executor.close();
        }
        if (opened != null) {
            opened.close();
        }
        // Weights are freed with what refers to them; those of the next case may need their room.
        program = null;
        System.gc();
    }
}

package stormsight.tornado;

import static uk.ac.manchester.tornado.api.common.TaskPackage.createPackage;

import java.util.ArrayList;
import java.util.List;
import stormsight.backend.BackendException;
import stormsight.backend.Ceilings;
import stormsight.backend.DeviceInfo;
import stormsight.tornado.kernel.Peak;
import uk.ac.manchester.tornado.api.GridScheduler;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.TaskGraph;
import uk.ac.manchester.tornado.api.TornadoExecutionPlan;
import uk.ac.manchester.tornado.api.WorkerGrid;
import uk.ac.manchester.tornado.api.WorkerGrid1D;
import uk.ac.manchester.tornado.api.enums.DataTransferMode;
import uk.ac.manchester.tornado.api.enums.ProfilerMode;
import uk.ac.manchester.tornado.api.exceptions.TornadoExecutionPlanException;
import uk.ac.manchester.tornado.api.exceptions.TornadoInternalError;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;

/** Measures what a device does at most, by the clock of its driver: launches and transfers do not count. */
final class Peaks {
    /** Well beyond the caches of CPUs. */
    private static final long CPU_BYTES = 1L << 28;
    /** Well beyond those of GPUs. */
    private static final long GPU_BYTES = 1L << 30;
    /** Part of a device's memory that one of two buffers may take at most. */
    private static final int MEMORY_PART = 4;
    private static final int GROUP = 256;
    /** Elements that an item reads. */
    private static final int READS = 256;
    /** Enough items to fill the largest GPUs. */
    private static final int FMA_ITEMS = 1 << 18;
    private static final int FMA_ROUNDS = 2048;
    /** Runs that compile and warm up. */
    private static final int WARM_UP = 2;

    private final Runtime.Device device;
    private final int repetitions;
    private final KernelContext context = new KernelContext();

    private Peaks(Runtime.Device device, int repetitions) {
        this.device = device;
        this.repetitions = repetitions;
    }

    static Ceilings measure(Runtime.Device device, int repetitions) {
        if (repetitions < 1) {
            throw new IllegalArgumentException(repetitions + " repetitions");
        }
        return new Peaks(device, repetitions).measure();
    }

    private Ceilings measure() {
        DeviceInfo info = device.info();
        boolean cpu = info.kind() == DeviceInfo.Kind.CPU;
        long most = info.memoryBytes() / MEMORY_PART;
        if (info.maxAllocationBytes() > 0) {
            most = Math.min(most, info.maxAllocationBytes() / 2);
        }
        long wanted = Math.min(cpu ? CPU_BYTES : GPU_BYTES, most);
        int items = Math.toIntExact(wanted / Float.BYTES / READS / GROUP * GROUP);
        if (items == 0) {
            throw new BackendException(info.name() + " has too little memory to measure its speed: "
                    + info.memoryBytes() + " bytes");
        }
        int elements = items * READS;
        long bytes = (long) elements * Float.BYTES;
        FloatArray x = new FloatArray(elements);
        FloatArray sums = new FloatArray(items);
        FloatArray to = new FloatArray(elements);
        FloatArray factors = FloatArray.fromElements(0.5f, 1);
        FloatArray results = new FloatArray(FMA_ITEMS);
        String size = "a buffer of " + (bytes >> 20) + " MiB, kernel's time on the device";
        List<Double> read = rates(bytes, items, x, sums, name ->
                createPackage(name, Peak::read, context, x, sums, READS, cpu ? READS : 1, cpu ? 1 : items));
        List<Double> copy = rates(2 * bytes, elements, x, to, name ->
                createPackage(name, Peak::copy, context, x, to));
        List<Double> fma = rates((long) FMA_ITEMS * FMA_ROUNDS * Peak.ROUND_OPERATIONS, FMA_ITEMS, factors, results,
                name -> createPackage(name, Peak::multiplyAdd, context, factors, results, FMA_ROUNDS));
        return new Ceilings(new Ceilings.Rate("reading " + size, read),
                new Ceilings.Rate("copying " + size + ", reads and writes counted", copy),
                new Ceilings.Rate("F32 multiply-adds in registers, kernel's time on the device", fma));
    }

    /** @param amount what one launch does */
    private List<Double> rates(long amount, int items, FloatArray in, FloatArray out, TaskFactory factory) {
        TaskGraph graph = new TaskGraph("peak");
        graph.transferToDevice(DataTransferMode.FIRST_EXECUTION, in);
        graph.addTask(factory.create("kernel"));
        graph.transferToHost(DataTransferMode.UNDER_DEMAND, out);
        WorkerGrid grid = new WorkerGrid1D(items);
        grid.setGlobalWork(items, 1, 1);
        grid.setLocalWork(GROUP, 1, 1);
        List<Double> rates = new ArrayList<>();
        try (TornadoExecutionPlan plan = new TornadoExecutionPlan(graph.snapshot())) {
            plan.withDevice(device.tornado());
            plan.withGridScheduler(new GridScheduler("peak.kernel", grid));
            plan.withProfiler(ProfilerMode.SILENT);
            for (int i = 0; i < WARM_UP + repetitions; i++) {
                long nanos = plan.execute().getProfilerResult().getDeviceKernelTime();
                if (nanos <= 0) {
                    throw new BackendException(device.info().name() + " does not say how long a kernel took");
                }
                if (i >= WARM_UP) {
                    rates.add(amount * 1e9 / nanos);
                }
            }
        } catch (TornadoExecutionPlanException e) {
            throw new BackendException("freeing " + device.info().name() + " failed: " + Runtime.reason(e), e);
        } catch (BackendException e) {
            throw e;
        } catch (RuntimeException | TornadoInternalError e) {
            throw new BackendException("measuring the speed of " + device.info().name() + " failed: "
                    + Runtime.reason(e), e);
        }
        return rates;
    }
}

package stormsight.backend;

/**
 * Where the time of starting a device and preparing programs went, in nanoseconds.
 *
 * @param runtime starting the backend's runtime and its drivers, once a process
 * @param lowering building graphs
 * @param upload filling host memory and sending weights
 * @param compile running every graph once over no rows, which compiles it; the next two are parts of it and of the upload
 * @param jit the backend's compiler
 * @param driver the driver's compiler
 * @param kernels how many were compiled
 */
public record StartUp(long runtime, long lowering, long upload, long compile, long jit, long driver, int kernels) {}

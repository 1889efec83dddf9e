package stormsight.tornado;

/**
 * Where the time of preparing programs went, in nanoseconds.
 *
 * @param lowering building graphs
 * @param upload filling host memory and sending weights
 * @param compile running every graph once over no rows, which compiles it; the next two are parts of it and of the upload
 * @param jit TornadoVM's compiler
 * @param driver the driver's compiler
 * @param tasks kernels compiled for operations
 */
record StartUp(long lowering, long upload, long compile, long jit, long driver, int tasks) {}

package stormsight.backend;

/**
 * Where the time of starting a device and preparing programs went, in nanoseconds. Runtime, lowering, upload and
 * compile follow one another. Weights are read beside them, from before lowering on: what is not read when compiling
 * ends is waited for in the upload.
 *
 * @param runtime starting the backend's runtime and its drivers, once a process
 * @param lowering building graphs
 * @param read copying weights from the checkpoint to where they are sent from, on a thread of its own
 * @param upload sending weights, and waiting for those that are still being read
 * @param compile compiling all graphs, and running each once over no rows, in which some drivers finish compiling; the
 *     next two are parts of it and, for the graph that starts the device, of the upload
 * @param jit the backend's compiler
 * @param driver the driver's compiler, without what it puts off until a kernel is launched
 * @param kernels how many were compiled
 */
public record StartUp(long runtime, long lowering, long read, long upload, long compile, long jit, long driver,
        int kernels) {}

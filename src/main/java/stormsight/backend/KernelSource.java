package stormsight.backend;

/**
 * The source code of a kernel that a backend would launch.
 *
 * @param launch how it would be launched
 * @param language the language, as backends of TornadoVM are called: {@code opencl}, {@code cuda}, {@code ptx}
 * @param entryPoint name of the kernel in the code
 * @param flags what the driver's compiler would be told, or empty
 * @param groupSize work items of a group
 * @param localBytes local memory of a group
 * @param text the code, with all that it calls
 */
public record KernelSource(PlannedLaunch launch, String language, String entryPoint, String flags, int groupSize,
        int localBytes, String text) {}

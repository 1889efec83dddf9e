package stormsight.tornado;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import stormsight.backend.BackendException;
import stormsight.backend.DeviceInfo;
import stormsight.backend.Precision;
import stormsight.program.DType;
import uk.ac.manchester.tornado.api.TornadoBackend;
import uk.ac.manchester.tornado.api.TornadoRuntime;
import uk.ac.manchester.tornado.api.TornadoTargetDevice;
import uk.ac.manchester.tornado.api.common.TornadoDevice;
import uk.ac.manchester.tornado.api.enums.TornadoDeviceType;
import uk.ac.manchester.tornado.api.runtime.TornadoRuntimeProvider;

/** TornadoVM in this JVM, and the only class that knows in what its versions differ. */
final class Runtime {
    /**
     * A device, and what is known of it.
     *
     * @param roundsActivations whether its tensor cores take activations that are rounded to bfloat16
     */
    record Device(TornadoDevice tornado, DeviceInfo info, String language, boolean roundsActivations) {
        Device(TornadoDevice tornado, DeviceInfo info, String language) {
            this(tornado, info, language, false);
        }

        /** The same with another description. */
        Device with(DeviceInfo other) {
            return new Device(tornado, other, language, roundsActivations);
        }

        /** As precise as somebody wants. */
        Device with(Precision precision) {
            return switch (precision) {
                // Without tensor cores: products are those of kernels that run on any GPU, in 32 bits.
                case STRICT -> with(info.withoutNativeTypes());
                case FAST -> this;
                case BF16 -> new Device(tornado, info, language, true);
            };
        }
    }

    private static final String MEMORY_LIMIT = "tornado.device.memory";

    /** The enum by whose identity hashes TornadoVM's OpenCL backend orders declarations. */
    private static final String VARIABLE_TYPES = "uk.ac.manchester.tornado.drivers.opencl.graal.lir.OCLKind";
    /** More hashes than a JVM has given out before it gets here. */
    private static final int FIRST_HASH = 1 << 20;
    /** Hashes that other threads may take between two of ours, if they count up at all. */
    private static final int LARGEST_GAP = 1000;

    /** Drivers of one device, the better ones first: those that know more of its types and instructions. */
    private static final List<String> LANGUAGES = List.of("cuda", "ptx", "metal", "opencl", "spirv");
    /**
     * TornadoVM tells a driver's version nowhere but in a text for people, and some of its backends not there either.
     */
    private static final Pattern DRIVER_VERSION = Pattern.compile("^Driver version *: *(\\S.*)$", Pattern.MULTILINE);

    /** The same text tells the compute capability, by which there are instructions for bfloat16 from 8.0 on. */
    private static final Pattern TENSOR_CORES = Pattern.compile("^Device version *: *CUDA ([89]|\\d\\d)\\.",
            Pattern.MULTILINE);

    private static final Pattern COLOUR = Pattern.compile("\u001B\\[[0-9;]*m");

    private static List<Device> devices;
    private static String failure;
    private static long startNanos;

    private Runtime() {}

    /**
     * All devices, GPUs first, and of one that several drivers offer the one that runs our kernels best. Empty if
     * {@link #failure} says why.
     */
    static synchronized List<Device> devices() {
        if (devices == null) {
            // TornadoVM's own limit, 4 GB unless told otherwise, knows nothing of the device; Residency compares what a
            // model needs with what the device has. Must be set before the first class of the runtime is loaded.
            if (System.getProperty(MEMORY_LIMIT) == null) {
                System.setProperty(MEMORY_LIMIT, String.valueOf(1L << 50));
            }
            long start = System.nanoTime();
            try {
                orderDeclarations();
                devices = find();
                failure = devices.isEmpty() ? "TornadoVM finds no device" : null;
            } catch (RuntimeException | Error e) {
                // TornadoVM has errors of its own, which are named nowhere here, so that this class loads without it,
                // too.
                devices = List.of();
                failure = "TornadoVM does not start: " + reason(e);
            }
            startNanos = System.nanoTime() - start;
        }
        return devices;
    }

    /**
     * Gives the types of OpenCL variables the same identity hashes in every JVM that was started with
     * {@code -XX:hashCode=3}, as our argument files do: hashes count up then. TornadoVM declares variables in their
     * order, and drivers find compiled kernels by their source code.
     */
    private static void orderDeclarations() {
        Object[] types;
        try {
            types = Class.forName(VARIABLE_TYPES).getEnumConstants();
        } catch (ClassNotFoundException e) {
            // Not the OpenCL backend, or a version that names its types otherwise: kernels are compiled anew at every
            // start.
            return;
        }
        int hash = System.identityHashCode(new Object());
        int gap = System.identityHashCode(new Object()) - hash;
        if (gap < 0 || gap > LARGEST_GAP) {
            return;
        }
        while (hash < FIRST_HASH) {
            hash = System.identityHashCode(new Object());
        }
        // Nothing between here and there that loads a class or waits: other threads take hashes, too.
        for (int i = 0; i < types.length; i++) {
            System.identityHashCode(types[i]);
        }
    }

    /** How long TornadoVM and its drivers took to start. */
    static synchronized long startNanos() {
        return startNanos;
    }

    /** Why there are no devices, one line. */
    static String failure() {
        return failure;
    }

    private static List<Device> find() {
        TornadoRuntime runtime = TornadoRuntimeProvider.getTornadoRuntime();
        List<Device> found = new ArrayList<>();
        for (int b = 0; b < runtime.getNumBackends(); b++) {
            TornadoBackend backend = runtime.getBackend(b);
            for (int d = 0; d < backend.getNumDevices(); d++) {
                TornadoDevice device = backend.getDevice(d);
                String language = runtime.getBackendType(b).name().toLowerCase(Locale.ROOT);
                found.add(new Device(device, describe(b + ":" + d, language, device), language));
            }
        }
        found.sort(Comparator.comparing((Device device) -> device.info().kind() == DeviceInfo.Kind.CPU)
                .thenComparing(device -> LANGUAGES.reversed().indexOf(device.language()), Comparator.reverseOrder()));
        return List.copyOf(found);
    }

    private static DeviceInfo describe(String id, String language, TornadoDevice device) {
        TornadoTargetDevice physical = device.getPhysicalDevice();
        String name = physical.getDeviceName();
        Set<DType> types = EnumSet.noneOf(DType.class);
        String details = String.valueOf(physical.getDeviceInfo()) + device.getDescription();
        if (!language.equals("opencl") || details.contains("cl_khr_fp16")) {
            types.add(DType.F16);
        }
        if (language.equals("cuda") && TENSOR_CORES.matcher(details).find()) {
            types.add(DType.BF16);
        }
        String platform = device.getPlatformName();
        return new DeviceInfo(id, TornadoProvider.NAME, name, vendor(platform, name), runtime(language, device),
                driver(platform, details), kind(device.getDeviceType()), device.getMaxGlobalMemory(),
                physical.getDeviceLocalMemorySize(), physical.getDeviceMaxAllocationSize(),
                physical.getMaxThreadsPerBlock(), physical.getDeviceMaxComputeUnits(), types);
    }

    private static DeviceInfo.Kind kind(TornadoDeviceType type) {
        return switch (type) {
            case CPU -> DeviceInfo.Kind.CPU;
            case GPU -> DeviceInfo.Kind.GPU;
            default -> DeviceInfo.Kind.ACCELERATOR;
        };
    }

    private static String runtime(String language, TornadoDevice device) {
        return switch (language) {
            case "opencl" -> "TornadoVM OpenCL (" + device.getDeviceOpenCLCVersion().strip() + ")";
            default -> "TornadoVM " + language.toUpperCase(Locale.ROOT);
        };
    }

    /** The platform, with the driver's version if the device's details tell it. */
    static String driver(String platform, String details) {
        Matcher version = DRIVER_VERSION.matcher(details);
        return version.find() ? platform + " " + version.group(1) : platform;
    }

    /** TornadoVM does not tell the vendor, but platforms and devices are named after it. */
    private static String vendor(String platform, String name) {
        for (String vendor : List.of("NVIDIA", "AMD", "Intel", "Apple", "ARM", "Qualcomm")) {
            if (name.contains(vendor) || platform.contains(vendor)) {
                return vendor;
            }
        }
        return platform.contains("Portable Computing Language") ? "PoCL" : platform;
    }

    /** @throws BackendException if there is none of that id */
    static Device device(String id) {
        return devices().stream()
                .filter(device -> device.info().id().equals(id))
                .findFirst()
                .orElseThrow(() -> new BackendException("there is no device " + id + "; there are "
                        + devices.stream().map(device -> device.info().id() + " (" + device.info().name() + ")")
                                .collect(Collectors.joining(", "))));
    }

    /**
     * What TornadoVM says of a failure, in one line: it colours its messages and puts the reason on a line of its own.
     */
    static String reason(Throwable error) {
        Throwable cause = error;
        while (cause.getMessage() == null && cause.getCause() != null) {
            cause = cause.getCause();
        }
        if (cause.getMessage() == null) {
            return cause.getClass().getSimpleName();
        }
        List<String> lines = COLOUR.matcher(cause.getMessage()).replaceAll("").lines().map(String::strip)
                .filter(line -> !line.isEmpty()).toList();
        if (lines.stream().anyMatch(line -> line.contains("No OpenCL platforms found"))) {
            return "there is no OpenCL platform; install the driver of a device, or PoCL";
        }
        for (String lead : List.of("The internal error is:", "Reason:")) {
            for (String line : lines) {
                if (line.startsWith(lead)) {
                    return line.substring(lead.length()).strip();
                }
            }
        }
        return lines.isEmpty() ? cause.getClass().getSimpleName() : lines.getFirst();
    }
}

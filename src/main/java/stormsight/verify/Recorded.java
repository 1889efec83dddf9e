package stormsight.verify;

import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.TensorInfo;

/** The values of a golden folder, and which of them were compared. */
final class Recorded {
    /** Hears each comparison. */
    @FunctionalInterface
    interface Listener {
        void result(String name, double error, double tolerance);
    }

    private final Path file;
    private final Checkpoint values;
    private final String prefix;
    private final Listener listener;
    private final Set<String> compared = new HashSet<>();

    /** @param prefix of the names of comparisons */
    Recorded(Path file, Checkpoint values, String prefix, Listener listener) {
        this.file = file;
        this.values = values;
        this.prefix = prefix;
        this.listener = listener;
    }

    Path file() {
        return file;
    }

    boolean has(String name) {
        return values.names().contains(name);
    }

    boolean isCompared(String name) {
        return compared.contains(name);
    }

    TensorInfo info(String name) {
        return values.info(name);
    }

    /** The values of an F32 tensor, which counts as compared. */
    float[] values(String name) {
        compared.add(name);
        return values.f32(List.of(name)).layers().getFirst().toArray(ValueLayout.JAVA_FLOAT);
    }

    /** The values of a U8 tensor, which counts as compared. */
    byte[] bytes(String name) {
        compared.add(name);
        return values.data(name).toArray(ValueLayout.JAVA_BYTE);
    }

    /** Compares with a recorded tensor, if it is there. */
    void floats(String name, float[] found, double tolerance) {
        if (has(name)) {
            compare(name, found, values(name), tolerance);
        }
    }

    void compare(String name, float[] found, float[] wanted, double tolerance) {
        if (found.length != wanted.length) {
            throw new CheckpointException(
                    file, name + " has " + wanted.length + " values, the model computes " + found.length);
        }
        report(name, largestError(found, wanted), tolerance);
    }

    /** Counts the ids that differ. */
    void exact(String name, int[] found, int[] wanted) {
        int different = Math.abs(found.length - wanted.length);
        for (int i = 0; i < Math.min(found.length, wanted.length); i++) {
            different += found[i] == wanted[i] ? 0 : 1;
        }
        report(name, different, GoldenCheck.EXACT);
    }

    void report(String name, double error, double tolerance) {
        listener.result(prefix + name, error, tolerance);
    }

    /** @throws CheckpointException naming the values that nothing was compared with */
    void requireAllCompared() {
        Set<String> forgotten = new TreeSet<>(values.names());
        forgotten.removeAll(compared);
        if (!forgotten.isEmpty()) {
            throw new CheckpointException(file, "records what is not known here: " + String.join(", ", forgotten));
        }
    }

    /** NaN if one of the values is: Math.max does not lose it. */
    private static double largestError(float[] found, float[] wanted) {
        double largest = 0;
        for (int i = 0; i < found.length; i++) {
            largest = Math.max(largest, Math.abs((double) found[i] - wanted[i]));
        }
        return largest;
    }
}

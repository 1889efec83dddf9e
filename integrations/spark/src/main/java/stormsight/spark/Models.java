package stormsight.spark;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import stormsight.Stormsight;

/** The models of a process: all tasks of an executor share one, opened by the first that needs it. */
final class Models {
    private static final Map<ModelChoice, Stormsight> OPEN = new ConcurrentHashMap<>();

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> OPEN.values().forEach(Stormsight::close)));
    }

    private Models() {}

    static Stormsight of(ModelChoice choice) {
        return OPEN.computeIfAbsent(choice, ModelChoice::open);
    }
}

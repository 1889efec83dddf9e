package stormsight.bench;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Names of what is shown side by side. */
final class Labels {
    private Labels() {}

    /** The same labels in the same order; the second of a name has {@code (2)} behind it, and so on. */
    static List<String> distinct(List<String> labels) {
        Set<String> taken = new HashSet<>(labels);
        Set<String> used = new HashSet<>();
        List<String> distinct = new ArrayList<>();
        for (String label : labels) {
            String name = label;
            for (int number = 2; used.contains(name) || !name.equals(label) && taken.contains(name); number++) {
                name = label + " (" + number + ")";
            }
            used.add(name);
            distinct.add(name);
        }
        return distinct;
    }
}

package stormsight.probe;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Step;

/**
 * Which tokens read which, as the attention of a program says: where it is false, the weight is 0 whatever the model
 * computes.
 *
 * @param layers in which that holds, rising
 * @param tokens all of them: rows, and keys
 * @param seen [tokens, tokens], true where the token of the row sees that of the column; not copied and not to be
 *     changed
 */
public record Visibility(List<Integer> layers, int tokens, boolean[] seen) {
    public Visibility {
        layers = List.copyOf(layers);
        if (seen.length != tokens * tokens) {
            throw new IllegalArgumentException(seen.length + " edges of " + tokens + " tokens");
        }
    }

    /** Programs and the steps that they are run with, whose rows follow each other: a prompt, then token by token. */
    public record Run(Program program, Step step) {}

    /** Whether a token sees another. */
    public boolean sees(int reader, int read) {
        return seen[reader * tokens + read];
    }

    /** Whether every token sees every other. */
    public boolean isWhole() {
        for (boolean edge : seen) {
            if (!edge) {
                return false;
            }
        }
        return true;
    }

    /**
     * What tokens see in the layers of a segment, once for layers that see the same.
     *
     * @param segment of every program, as {@link stormsight.model.Stage} names it
     * @throws IllegalArgumentException if the programs have no such segment with an attention
     */
    public static List<Visibility> of(List<Run> runs, String segment) {
        int tokens = 0;
        for (Run run : runs) {
            tokens = Math.max(tokens, run.step().token(run.step().rows() - 1) + 1);
        }
        Map<Integer, boolean[]> layers = new LinkedHashMap<>();
        for (Run run : runs) {
            for (Segment part : run.program().segments()) {
                if (Probes.isPart(part, segment)) {
                    add(layers, part, run.step(), tokens);
                }
            }
        }
        if (layers.isEmpty()) {
            throw new IllegalArgumentException("no attention in a segment " + segment);
        }
        List<Visibility> found = new ArrayList<>();
        while (!layers.isEmpty()) {
            boolean[] seen = layers.values().iterator().next();
            List<Integer> same = layers.entrySet().stream()
                    .filter(entry -> Arrays.equals(entry.getValue(), seen))
                    .map(Map.Entry::getKey)
                    .sorted()
                    .toList();
            same.forEach(layers::remove);
            found.add(new Visibility(same, tokens, seen));
        }
        return found;
    }

    private static void add(Map<Integer, boolean[]> layers, Segment part, Step step, int tokens) {
        for (Op op : part.ops()) {
            if (op instanceof Op.Attention attention) {
                for (int layer = part.firstLayer(); layer < part.firstLayer() + part.layers(); layer++) {
                    boolean[] seen = layers.computeIfAbsent(layer, _ -> new boolean[tokens * tokens]);
                    for (int row = 0; row < Math.min(step.rows(), attention.out().rows()); row++) {
                        int from = step.token(row) * tokens;
                        Arrays.fill(
                                seen,
                                from + Op.Windows.first(attention.windows().of(layer), step, row),
                                from + attention.keys().seen(step, row),
                                true);
                    }
                }
            }
        }
    }
}

package stormsight.checkpoint;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import stormsight.program.Shape;

/** The weights that a model is made of, by name and shape, to be held against a checkpoint before anything is allocated for them. */
public final class RequiredTensors {
    /** Stands for the index of a layer in a name. */
    public static final String LAYER = "{i}";

    /** Problems of each kind that a message spells out; the rest is counted. */
    private static final int NAMED = 2;

    /** @param layers 0 for a name without a layer */
    private record Requirement(String name, int layers, Shape shape) {}

    private record Problem(Path file, String text) {}

    private final Map<String, Requirement> requirements = new LinkedHashMap<>();
    private final List<Predicate<String>> ignored = new ArrayList<>();

    /** Requires a tensor. */
    public RequiredTensors add(String name, Shape shape) {
        return add(new Requirement(name, 0, shape));
    }

    /**
     * Requires a tensor in each of some identical layers.
     *
     * @param pattern a name with {@value #LAYER} for the layer
     * @param layers at least 1
     * @param shape of one layer
     */
    public RequiredTensors addLayers(String pattern, int layers, Shape shape) {
        if (!pattern.contains(LAYER) || layers < 1) {
            throw new IllegalArgumentException(pattern + " for " + layers + " layers");
        }
        return add(new Requirement(pattern, layers, shape));
    }

    private RequiredTensors add(Requirement requirement) {
        if (requirements.putIfAbsent(requirement.name(), requirement) != null) {
            throw new IllegalArgumentException(requirement.name() + " is required twice");
        }
        return this;
    }

    /**
     * Lets a tensor be there without a word although the model does not use it.
     *
     * @param pattern a name in which {@code *} stands for any characters
     */
    public RequiredTensors ignore(String pattern) {
        String regex = Arrays.stream(pattern.split("\\*", -1)).map(Pattern::quote).collect(Collectors.joining(".*"));
        ignored.add(Pattern.compile(regex, Pattern.DOTALL).asMatchPredicate());
        return this;
    }

    /** The names of one tensor in all layers, in order. */
    public static List<String> layerNames(String pattern, int layers) {
        return IntStream.range(0, layers).mapToObj(layer -> layerName(pattern, layer)).toList();
    }

    private static String layerName(String pattern, int layer) {
        return pattern.replace(LAYER, String.valueOf(layer));
    }

    /** Every required name with its shape, in the order in which they were added. */
    public Map<String, Shape> shapes() {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        for (Requirement requirement : requirements.values()) {
            if (requirement.layers() == 0) {
                shapes.put(requirement.name(), requirement.shape());
            }
            layerNames(requirement.name(), requirement.layers()).forEach(name -> shapes.put(name, requirement.shape()));
        }
        return shapes;
    }

    /**
     * Compares names, shapes and types with those of a checkpoint. Its data is not touched.
     *
     * @param strictness what becomes of tensors that are not part of the model, and of weights that must be converted
     * @throws CheckpointException in one line, naming the first tensors that are missing or of another shape or type, and then of those that are not part of
     *     the model, with their files, and counting the others
     */
    public void check(Checkpoint checkpoint, Strictness strictness) {
        Set<String> names = checkpoint.names();
        Set<String> known = new HashSet<>();
        List<Problem> missing = new ArrayList<>();
        List<Problem> wrong = new ArrayList<>();
        List<Problem> doubles = new ArrayList<>();
        List<Problem> mixed = new ArrayList<>();
        long missingUnnamed = 0;
        for (Requirement requirement : requirements.values()) {
            // A config.json may ask for any number of layers: those that cannot be there are counted, not visited.
            int visited = Math.min(Math.max(requirement.layers(), 1), names.size() + 1);
            missingUnnamed += Math.max(requirement.layers(), 1) - visited;
            TensorInfo first = null;
            boolean equal = true;
            for (int layer = 0; layer < visited; layer++) {
                String name = requirement.layers() == 0 ? requirement.name() : layerName(requirement.name(), layer);
                if (!names.contains(name)) {
                    missing.add(new Problem(checkpoint.source(), "tensor " + name + " " + requirement.shape() + " is missing"));
                    continue;
                }
                known.add(name);
                TensorInfo info = checkpoint.info(name);
                if (!info.shape().equals(requirement.shape())) {
                    wrong.add(new Problem(info.file(),
                            "tensor " + info.label() + " is " + info.shape() + ", " + requirement.shape() + " expected"));
                } else if (info.type().weightType().isEmpty()) {
                    wrong.add(new Problem(info.file(),
                            "tensor " + info.label() + " is " + info.type() + ", F32, F16, BF16 or F64 expected"));
                } else if (info.type() == StoredType.F64) {
                    doubles.add(new Problem(info.file(), "tensor " + info.label() + " is F64"));
                } else if (first == null) {
                    first = info;
                } else if (equal && info.type() != first.type()) {
                    equal = false;
                    mixed.add(new Problem(info.file(), "tensor " + info.label() + " is " + info.type() + ", in other layers " + first.type()));
                }
            }
        }
        List<Problem> extra = names.stream()
                .filter(name -> !known.contains(name) && ignored.stream().noneMatch(pattern -> pattern.test(name)))
                .map(checkpoint::info)
                .map(info -> new Problem(info.file(),
                        "tensor " + info.label() + " " + info.shape() + " is not part of this model"))
                .toList();
        if (!missing.isEmpty() || !wrong.isEmpty()) {
            List<List<Problem>> kinds = List.of(missing, wrong, extra);
            throw new CheckpointException(file(kinds), text(kinds, missingUnnamed));
        }
        tell(extra, "not used", strictness);
        tell(doubles, "rounded to F32", strictness);
        tell(mixed, "held as F32", strictness);
    }

    private static void tell(List<Problem> problems, String done, Strictness strictness) {
        if (!problems.isEmpty()) {
            strictness.odd(file(List.of(problems)), text(List.of(problems), 0) + ": " + done);
        }
    }

    private static Path file(List<List<Problem>> kinds) {
        return kinds.stream().flatMap(List::stream).findFirst().orElseThrow().file();
    }

    private static String text(List<List<Problem>> kinds, long unnamed) {
        List<Problem> first = kinds.stream().flatMap(kind -> kind.stream().limit(NAMED)).toList();
        Path file = file(kinds);
        String problems = first.stream()
                .map(problem -> problem.text() + (problem.file().equals(file) ? "" : " (in " + problem.file().getFileName() + ")"))
                .collect(Collectors.joining("; "));
        long more = kinds.stream().mapToLong(List::size).sum() - first.size() + unnamed;
        return problems + (more == 0 ? "" : "; and " + more + " more");
    }
}

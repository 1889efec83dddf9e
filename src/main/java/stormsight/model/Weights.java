package stormsight.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import stormsight.checkpoint.Blocks;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.HostTensor;
import stormsight.checkpoint.StoredType;
import stormsight.checkpoint.Strictness;
import stormsight.checkpoint.TensorInfo;
import stormsight.program.DType;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * The weights of a model. A weight is declared, held against the checkpoint and bound where a program uses it, by one
 * call; a second call for the same weight gives the same tensor. What is missing or wrong is collected, for {@link
 * #check} to tell of all of it.
 *
 * <p>A model asks for the same weights whether they have values or not. {@link #declared} knows no checkpoint: it tells
 * what a checkpoint would have to hold. {@link #of} takes types from a checkpoint and holds it against what is asked
 * for, reading no values. {@link #bound} gives the values, too.
 *
 * <p>Names are the checkpoint's. {@link #in} and {@link #layers} give the same weights under a prefix, the latter as
 * stacks of one tensor a layer.
 */
public final class Weights {
    /** Stands for the index of a layer in a name. */
    public static final String LAYER = "{i}";

    /** Problems of each kind that a message spells out; the rest is counted. */
    private static final int NAMED = 2;

    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** How a program reads a stored weight. */
    public enum Use {
        /** In the file's type, in place; seen as [first dimension, product of the others]. */
        MATRIX,
        /** As F32. */
        VECTOR,
        /** As F32 plus one: Gemma stores its norms centred at zero. */
        ONE_PLUS
    }

    /**
     * A weight that was asked for, or a stack of equal ones.
     *
     * @param name with {@value #LAYER} for the layer in a stack
     * @param layers 1, or the number of layers of a stack
     * @param shape of one layer in the file
     */
    public record Stored(String name, int layers, Shape shape, Use use) {
        /** Names of all layers, the first layer's first. */
        public List<String> names() {
            return IntStream.range(0, layers).mapToObj(this::name).toList();
        }

        private String name(int layer) {
            return name.replace(LAYER, String.valueOf(layer));
        }

        /** Numbers in all layers. */
        public long parameters() {
            return shape.elements() * layers;
        }
    }

    private record Problem(Path file, String text) {}

    /** What all views of the same weights share. */
    private static final class State {
        private final Optional<Checkpoint> checkpoint;
        private final Optional<Arena> arena;
        private final Function<List<Stored>, DType> matrixType;
        private final Map<String, Tensor> tensors = new LinkedHashMap<>();
        private final List<Stored> stored = new ArrayList<>();
        private final Map<Tensor, HostTensor> values = new LinkedHashMap<>();
        private final List<Predicate<String>> unused = new ArrayList<>();
        private final Set<String> known = new HashSet<>();
        private final List<Problem> missing = new ArrayList<>();
        private final List<Problem> wrong = new ArrayList<>();
        private final List<Problem> doubles = new ArrayList<>();
        private final List<Problem> mixed = new ArrayList<>();
        private long missingUnnamed;

        State(Optional<Checkpoint> checkpoint, Optional<Arena> arena, Function<List<Stored>, DType> matrixType) {
            this.checkpoint = checkpoint;
            this.arena = arena;
            this.matrixType = matrixType;
        }
    }

    private final State state;
    private final String prefix;
    /** 0 outside of a stack. */
    private final int layers;

    private Weights(State state, String prefix, int layers) {
        this.state = state;
        this.prefix = prefix;
        this.layers = layers;
    }

    /**
     * Weights without a checkpoint.
     *
     * @param matrixType where rows have whole blocks of it
     */
    public static Weights declared(DType matrixType) {
        return new Weights(new State(Optional.empty(), Optional.empty(),
                weights -> matrixType.forRows(seen(weights.getFirst()).columns())), "", 0);
    }

    /**
     * Weights of a checkpoint without their values, to look at programs before anything is allocated.
     *
     * @param options in what type matrices are held
     */
    public static Weights of(Checkpoint checkpoint, Options options) {
        return new Weights(new State(Optional.of(checkpoint), Optional.empty(), type(checkpoint, options)), "", 0);
    }

    /**
     * Weights of a checkpoint, whose memory is used in place but for what is computed or quantised. Vectors become F32.
     *
     * @param arena shared; owns what is computed
     * @param options in what type matrices are held
     */
    public static Weights bound(Checkpoint checkpoint, Arena arena, Options options) {
        return new Weights(new State(Optional.of(checkpoint), Optional.of(arena), type(checkpoint, options)), "", 0);
    }

    private static Function<List<Stored>, DType> type(Checkpoint checkpoint, Options options) {
        return weights -> {
            DType stored = checkpoint.weightType(names(weights));
            return options.weights().map(type -> turned(type, stored, weights.getFirst(), checkpoint)).orElse(stored);
        };
    }

    private static DType turned(DType type, DType stored, Stored weight, Checkpoint checkpoint) {
        DType turned = type.forRows(seen(weight).columns());
        if (stored.isBlocked() && stored != turned) {
            TensorInfo info = checkpoint.info(weight.names().getFirst());
            throw new CheckpointException(info.file(), "tensor " + info.label() + " is in " + stored.label()
                    + " already; leave out --weights " + type.label()
                    + ", or name the checkpoint that it was made from");
        }
        return turned;
    }

    /** The weights whose names begin so. */
    public Weights in(String more) {
        return new Weights(state, prefix + more, layers);
    }

    /**
     * Stacks of the weights of identical layers.
     *
     * @param more ends the prefix of the names and holds {@value #LAYER}
     * @param count at least 1
     */
    public Weights layers(String more, int count) {
        if (!more.contains(LAYER) || layers > 0 || count < 1) {
            throw new IllegalArgumentException(prefix + more + " for " + count + " layers");
        }
        return new Weights(state, prefix + more, count);
    }

    /** Whether the checkpoint stores a weight that a model can do without; false if there is no checkpoint. */
    public boolean stores(String name) {
        return state.checkpoint.map(checkpoint -> checkpoint.names().contains(prefix + name)).orElse(false);
    }

    /**
     * A weight of a product, or a table.
     *
     * @param columns in the file; seen as their product
     */
    public Tensor matrix(String name, int rows, int... columns) {
        int[] shape = IntStream.concat(IntStream.of(rows), Arrays.stream(columns)).toArray();
        return stored(name, Use.MATRIX, Shape.of(shape));
    }

    /** Matrices that one operation reads, which needs them in one type. */
    public List<Tensor> matrices(List<String> names, int rows, int columns) {
        List<Stored> together = names.stream()
                .map(name -> new Stored(prefix + name, Math.max(layers, 1), Shape.of(rows, columns), Use.MATRIX))
                .toList();
        return together.stream().map(weight -> stored(weight, together)).toList();
    }

    /** A weight that is held as F32: a bias, a norm, a table that is added. */
    public Tensor vector(String name, int... shape) {
        return stored(name, Use.VECTOR, Shape.of(shape));
    }

    /** A vector that is stored centred at zero and used as {@code 1 + w}. */
    public Tensor onePlus(String name, int... shape) {
        return stored(name, Use.ONE_PLUS, Shape.of(shape));
    }

    private Tensor stored(String name, Use use, Shape shape) {
        Stored weight = new Stored(prefix + name, Math.max(layers, 1), shape, use);
        return stored(weight, List.of(weight));
    }

    /** @param together weights that must have one type, this one among them */
    private Tensor stored(Stored weight, List<Stored> together) {
        Tensor known = state.tensors.get(weight.name());
        if (known != null) {
            requireSame(known, seen(weight), weight.layers());
            return known;
        }
        state.stored.add(weight);
        boolean sound = state.checkpoint.isEmpty() || compare(weight, state.checkpoint.get());
        // Of several, all are sound or none is used: whoever is missing is told of when its turn comes.
        sound &= together.stream()
                .allMatch(other ->
                        state.checkpoint.isEmpty() || other.equals(weight) || stores(other, state.checkpoint.get()));
        DType type = weight.use() == Use.MATRIX && sound ? state.matrixType.apply(together) : DType.F32;
        Tensor tensor = new Tensor(weight.name(), type, seen(weight), Tensor.Kind.WEIGHT, weight.layers());
        state.tensors.put(weight.name(), tensor);
        if (sound && state.arena.isPresent()) {
            state.values.put(tensor, value(weight, together, tensor, state.checkpoint.orElseThrow()));
        }
        return tensor;
    }

    private static void requireSame(Tensor known, Shape shape, int layers) {
        if (!known.shape().equals(shape) || known.layers() != layers) {
            throw new IllegalArgumentException(known + " is asked for as " + shape + " x " + layers);
        }
    }

    /** Shape as programs see it. */
    private static Shape seen(Stored weight) {
        return weight.use() == Use.MATRIX ? weight.shape().matrix() : weight.shape();
    }

    private static boolean stores(Stored weight, Checkpoint checkpoint) {
        return weight.layers() <= checkpoint.names().size()
                && weight.names().stream()
                        .allMatch(name -> checkpoint.names().contains(name)
                                && checkpoint.weightType(name).isPresent());
    }

    private static List<String> names(List<Stored> weights) {
        return weights.stream().flatMap(weight -> weight.names().stream()).toList();
    }

    private HostTensor value(Stored weight, List<Stored> together, Tensor tensor, Checkpoint checkpoint) {
        if (tensor.dtype().isBlocked() && checkpoint.weightType(names(together)) != tensor.dtype()) {
            // What an adapter changes is not needed any more once it is quantised.
            try (Arena scratch = Arena.ofShared()) {
                return held(tensor, stored(weight, together, checkpoint, scratch));
            }
        }
        return held(tensor, stored(weight, together, checkpoint, state.arena.orElseThrow()));
    }

    /** @param merged owns what an adapter changes */
    private static HostTensor stored(Stored weight, List<Stored> together, Checkpoint checkpoint, Arena merged) {
        return switch (weight.use()) {
            case MATRIX -> checkpoint.stack(weight.names(), checkpoint.weightType(names(together)), merged);
            case VECTOR -> checkpoint.f32(weight.names());
            case ONE_PLUS -> checkpoint.f32(weight.names(), x -> 1 + x);
        };
    }

    private HostTensor held(Tensor tensor, HostTensor stored) {
        HostTensor value = new HostTensor(stored.dtype(), tensor.shape(), stored.layers());
        return tensor.dtype() == stored.dtype()
                ? value
                : Blocks.quantize(value, tensor.dtype(), state.arena.orElseThrow());
    }

    /**
     * Equal parts of the rows of one stored weight, such as those of q, k and v in {@code in_proj_weight}.
     *
     * @param parts how many; divides the first dimension
     * @param shape of the whole in the file, of one layer
     */
    public List<Tensor> parts(String name, Use use, int parts, int... shape) {
        if (shape[0] % parts != 0) {
            throw new IllegalArgumentException(prefix + name + ": " + parts + " parts of " + shape[0] + " rows");
        }
        Stored weight = new Stored(prefix + name, Math.max(layers, 1), Shape.of(shape), use);
        int[] shapeOfPart = shape.clone();
        shapeOfPart[0] /= parts;
        boolean first = !state.tensors.containsKey(part(weight, 0));
        boolean sound = first && (state.checkpoint.isEmpty() || compare(weight, state.checkpoint.get()));
        DType type = use == Use.MATRIX && sound ? state.matrixType.apply(List.of(weight)) : DType.F32;
        if (first) {
            state.stored.add(weight);
            IntStream.range(0, parts).mapToObj(i -> part(weight, i))
                    .forEach(part -> state.tensors.put(part, new Tensor(
                            part, type, Shape.of(shapeOfPart), Tensor.Kind.WEIGHT, weight.layers())));
        }
        List<Tensor> tensors = IntStream.range(0, parts).mapToObj(i -> state.tensors.get(part(weight, i))).toList();
        if (sound && state.arena.isPresent()) {
            HostTensor whole =
                    stored(weight, List.of(weight), state.checkpoint.orElseThrow(), state.arena.orElseThrow());
            for (int i = 0; i < parts; i++) {
                state.values.put(
                        tensors.get(i), held(tensors.get(i), whole.part(i, parts, state.arena.get())));
            }
        }
        return tensors;
    }

    private static String part(Stored weight, int index) {
        return weight.name() + "." + index;
    }

    /**
     * A table that is computed from other weights, or from none. It belongs to no file.
     *
     * @param name unique in the model
     * @param from weights that were asked for as F32, none of a stack
     * @param values makes the table, row by row, of the values of {@code from}; called only where weights are bound
     */
    public Tensor computed(String name, Shape shape, List<Tensor> from, Function<List<float[]>, float[]> values) {
        return made(Tensor.weight(name, DType.F32, shape), () -> state.values.keySet().containsAll(from)
                ? Optional.of(MemorySegment.ofArray(values.apply(from.stream()
                        .map(source -> state.values.get(source).layers().getFirst().toArray(FLOAT)).toList())))
                : Optional.empty());
    }

    /**
     * Rows that {@link stormsight.program.Op.Gather} takes. It belongs to no file.
     *
     * @param name unique in the model
     * @param rows [R, T], a negative one for zeros
     */
    public Tensor indices(String name, int[][] rows) {
        Tensor tensor = Tensor.weight(name, DType.I32, Shape.of(rows.length, rows[0].length));
        return made(tensor, () -> Optional.of(
                MemorySegment.ofArray(Arrays.stream(rows).flatMapToInt(Arrays::stream).toArray())));
    }

    /** @param values none where what they are made of has none */
    private Tensor made(Tensor tensor, Supplier<Optional<MemorySegment>> values) {
        Tensor known = state.tensors.putIfAbsent(tensor.name(), tensor);
        if (known != null) {
            requireSame(known, tensor.shape(), 1);
            return known;
        }
        state.arena.ifPresent(arena -> values.get().ifPresent(made -> state.values.put(
                tensor,
                HostTensor.of(tensor.dtype(), tensor.shape(), arena.allocate(tensor.bytes(), 64).copyFrom(made)))));
        return tensor;
    }

    /**
     * Lets a tensor be there without a word although the model does not use it.
     *
     * @param pattern a name in which {@code *} stands for any characters
     */
    public void ignore(String pattern) {
        String regex = Arrays.stream((prefix + pattern).split("\\*", -1))
                .map(Pattern::quote)
                .collect(Collectors.joining(".*"));
        state.unused.add(Pattern.compile(regex, Pattern.DOTALL).asMatchPredicate());
    }

    /** All weights that were asked for of a file, in that order. */
    public List<Stored> stored() {
        return Collections.unmodifiableList(state.stored);
    }

    /** Numbers in all weights that were asked for of a file. */
    public long parameters() {
        return state.stored.stream().mapToLong(Stored::parameters).sum();
    }

    /** Values of all weights that were asked for; empty unless they are {@link #bound}. */
    public Map<Tensor, HostTensor> values() {
        return Map.copyOf(state.values);
    }

    private boolean compare(Stored weight, Checkpoint checkpoint) {
        // A config.json may ask for any number of layers: those that cannot be there are counted, not visited.
        int visited = Math.min(weight.layers(), checkpoint.names().size() + 1);
        state.missingUnnamed += weight.layers() - visited;
        boolean sound = visited == weight.layers();
        for (int layer = 0; layer < visited; layer++) {
            sound &= compare(weight, weight.name(layer), checkpoint);
        }
        if (sound) {
            lookAtTypes(weight, checkpoint);
        }
        return sound;
    }

    private void lookAtTypes(Stored weight, Checkpoint checkpoint) {
        List<TensorInfo> infos = weight.names().stream().map(checkpoint::info).toList();
        infos.stream().filter(info -> info.type() == StoredType.F64)
                .forEach(info -> state.doubles.add(new Problem(info.file(), "tensor " + info.label() + " is F64")));
        List<TensorInfo> others = infos.stream().filter(info -> info.type() != StoredType.F64).toList();
        others.stream()
                .filter(info -> info.type() != others.getFirst().type())
                .findFirst()
                .ifPresent(info -> state.mixed.add(new Problem(
                        info.file(),
                        "tensor " + info.label() + " is " + info.type() + ", in other layers "
                                + others.getFirst().type())));
    }

    private boolean compare(Stored weight, String name, Checkpoint checkpoint) {
        if (!checkpoint.names().contains(name)) {
            state.missing.add(
                    new Problem(checkpoint.source(), "tensor " + name + " " + weight.shape() + " is missing"));
            return false;
        }
        state.known.add(name);
        TensorInfo info = checkpoint.info(name);
        if (!info.shape().equals(weight.shape())) {
            state.wrong.add(new Problem(
                    info.file(),
                    "tensor " + info.label() + " is " + info.shape() + ", " + weight.shape() + " expected"));
        } else if (checkpoint.weightType(name).isEmpty()) {
            state.wrong.add(new Problem(
                    info.file(), "tensor " + info.label() + " is " + info.type() + ", F32, F16, BF16 or F64 expected"));
        } else {
            return true;
        }
        return false;
    }

    /**
     * Holds everything that was asked for against the checkpoint, to be called when the model's programs are written.
     *
     * @param strictness what becomes of tensors that are not part of the model, and of weights that must be converted
     * @throws CheckpointException in one line, naming the first tensors that are missing or of another shape or type,
     *     and then of those that are not part of the model, with their files, and counting the others
     */
    public void check(Strictness strictness) {
        if (state.checkpoint.isEmpty()) {
            return;
        }
        Checkpoint checkpoint = state.checkpoint.get();
        List<Problem> extra = checkpoint.names().stream()
                .filter(name ->
                        !state.known.contains(name) && state.unused.stream().noneMatch(pattern -> pattern.test(name)))
                .map(checkpoint::info)
                .map(info -> new Problem(
                        info.file(), "tensor " + info.label() + " " + info.shape() + " is not part of this model"))
                .toList();
        if (!state.missing.isEmpty() || !state.wrong.isEmpty()) {
            List<List<Problem>> kinds = List.of(state.missing, state.wrong, extra);
            throw new CheckpointException(file(kinds), text(kinds, state.missingUnnamed));
        }
        tell(extra, "not used", strictness);
        tell(state.doubles, "rounded to F32", strictness);
        tell(state.mixed, "held as F32", strictness);
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
                .map(problem -> problem.text()
                        + (problem.file().equals(file)
                                ? ""
                                : " (in " + problem.file().getFileName() + ")"))
                .collect(Collectors.joining("; "));
        long more = kinds.stream().mapToLong(List::size).sum() - first.size() + unnamed;
        return problems + (more == 0 ? "" : "; and " + more + " more");
    }
}

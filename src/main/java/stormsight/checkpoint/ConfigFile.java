package stormsight.checkpoint;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A JSON file of settings, such as config.json, or an object within it. A key with dots leads into nested objects:
 * {@code text_config.head_dim}. A null value counts as absent. Each getter throws {@link CheckpointException}, naming
 * file and key, if the value is of another type and, unless it takes a default, if there is none.
 */
public final class ConfigFile {
    /** Real ones take a few thousand bytes. */
    private static final long MAX_BYTES = 16_000_000;

    private final Path file;
    private final String prefix;

    /** As {@link StrictJson#value} returns it. */
    private final Map<?, ?> object;

    private ConfigFile(Path file, String prefix, Map<?, ?> object) {
        this.file = file;
        this.prefix = prefix;
        this.object = object;
    }

    /**
     * Reads a file that holds one JSON object.
     *
     * @throws CheckpointException if it is missing, is not valid JSON or repeats a key
     */
    public static ConfigFile read(Path file) {
        Path directory = ModelFiles.located(file).toAbsolutePath().getParent();
        StrictJson.requireDirectory(directory);
        if (!ModelFiles.exists(file)) {
            throw new CheckpointException(directory, "no " + file.getFileName() + " in this directory");
        }
        if (StrictJson.readFile(file, "the file", MAX_BYTES, StrictJson::value) instanceof Map<?, ?> root) {
            return new ConfigFile(ModelFiles.shown(file), "", root);
        }
        throw new CheckpointException(ModelFiles.shown(file), "not a JSON object");
    }

    /** The same for a file that a checkpoint may lack. */
    public static Optional<ConfigFile> readIfPresent(Path file) {
        return ModelFiles.exists(file) ? Optional.of(read(file)) : Optional.empty();
    }

    public Path file() {
        return file;
    }

    /** Whether there is a value that is not null. */
    public boolean has(String key) {
        return find(key).isPresent();
    }

    /** Whether there is an object: some keys have one or a plain value, such as a number in old files. */
    public boolean hasObject(String key) {
        return find(key).filter(value -> value instanceof Map<?, ?>).isPresent();
    }

    /** Whether there is a value that says something: not null, false or empty, and not the number that says nothing. */
    public boolean says(String key, double nothing) {
        return find(key).filter(value -> switch (value) {
                    case Boolean bool -> bool;
                    case Number number -> number.doubleValue() != nothing;
                    case String text -> !text.isEmpty();
                    case List<?> list -> !list.isEmpty();
                    case Map<?, ?> map -> !map.isEmpty();
                    default -> true;
                })
                .isPresent();
    }

    /** Whether the key is there with the value null: where transformers knows a default, that switches it off. */
    public boolean isNull(String key) {
        int dot = key.lastIndexOf('.');
        Object parent = dot < 0 ? object : find(key.substring(0, dot)).orElse(null);
        String name = key.substring(dot + 1);
        return parent instanceof Map<?, ?> map && map.containsKey(name) && map.get(name) == null;
    }

    public int integer(String key) {
        return integer(key, required(key));
    }

    public int integer(String key, int absent) {
        return find(key).map(value -> integer(key, value)).orElse(absent);
    }

    /** The numbers of an array, or the one number that stands in its place; empty if absent. */
    public List<Integer> integers(String key) {
        return elements(key).stream().map(value -> integer(key, value)).toList();
    }

    /** A finite number. */
    public double number(String key) {
        return number(key, required(key));
    }

    /** A finite number. */
    public double number(String key, double absent) {
        return find(key).map(value -> number(key, value)).orElse(absent);
    }

    /** The finite numbers of an array, or the one number that stands in its place; empty if absent. */
    public List<Double> numbers(String key) {
        return elements(key).stream().map(value -> number(key, value)).toList();
    }

    public boolean bool(String key) {
        return bool(key, required(key));
    }

    public boolean bool(String key, boolean absent) {
        return find(key).map(value -> bool(key, value)).orElse(absent);
    }

    public String text(String key) {
        return text(key, required(key));
    }

    public String text(String key, String absent) {
        return find(key).map(value -> text(key, value)).orElse(absent);
    }

    /** A text, if it is there and is one: some keys have values of several types. */
    public Optional<String> textIfPresent(String key) {
        return find(key).filter(String.class::isInstance).map(String.class::cast);
    }

    /** The texts of an array, or the one text that stands in its place; empty if absent. */
    public List<String> texts(String key) {
        return elements(key).stream().map(value -> text(key, value)).toList();
    }

    /** The pairs of numbers of an array of such; empty if absent. */
    public List<List<Integer>> pairs(String key) {
        return elements(key).stream().map(value -> {
            if (!(value instanceof List<?> pair) || pair.size() != 2) {
                throw expected(key, value, "an array of pairs of numbers");
            }
            return pair.stream().map(number -> integer(key, number)).toList();
        }).toList();
    }

    /** The keys of this object, in their order. */
    public List<String> names() {
        return object.keySet().stream().map(String::valueOf).toList();
    }

    /** The finite numbers of an object, whose keys may hold dots, in their order; empty if absent. */
    Map<String, Double> numbersByName(String key) {
        Map<String, Double> numbers = new LinkedHashMap<>();
        find(key).ifPresent(value -> object(key, value).object.forEach((name, number) ->
                numbers.put(String.valueOf(name), number(key + "." + name, number))));
        return numbers;
    }

    /** A text, number or truth value as text, if it is there and leads through objects; never fails. */
    Optional<String> scalar(String key) {
        Object value = object;
        for (String name : key.split("\\.")) {
            value = value instanceof Map<?, ?> map ? map.get(name) : null;
        }
        return value instanceof Map || value instanceof List
                ? Optional.empty()
                : Optional.ofNullable(value).map(String::valueOf);
    }

    boolean isTrue(String key) {
        return scalar(key).filter("true"::equals).isPresent();
    }

    /** A nested object, if it is there. */
    public Optional<ConfigFile> objectIfPresent(String key) {
        return find(key).map(value -> object(key, value));
    }

    /** What to throw where the value of a key makes no sense to its reader. */
    public CheckpointException invalid(String key, String problem) {
        return new CheckpointException(file, prefix + key + ": " + problem);
    }

    private Optional<Object> find(String key) {
        Object value = object;
        String[] names = key.split("\\.");
        for (int i = 0; i < names.length; i++) {
            if (!(value instanceof Map<?, ?> map)) {
                throw expected(String.join(".", List.of(names).subList(0, i)), value, "an object");
            }
            value = map.get(names[i]);
            if (value == null) {
                return Optional.empty();
            }
        }
        return Optional.of(value);
    }

    private Object required(String key) {
        return find(key).orElseThrow(() -> invalid(key, "missing"));
    }

    private List<?> elements(String key) {
        return find(key).map(value -> value instanceof List<?> list ? list : List.of(value)).orElse(List.of());
    }

    private int integer(String key, Object value) {
        if (!(value instanceof Integer integer)) {
            throw expected(key, value, "an integer of 32 bits");
        }
        return integer;
    }

    private double number(String key, Object value) {
        if (!(value instanceof Number number) || !Double.isFinite(number.doubleValue())) {
            throw expected(key, value, "a finite number");
        }
        return number.doubleValue();
    }

    private boolean bool(String key, Object value) {
        if (!(value instanceof Boolean bool)) {
            throw expected(key, value, "true or false");
        }
        return bool;
    }

    private String text(String key, Object value) {
        if (!(value instanceof String text)) {
            throw expected(key, value, "a string");
        }
        return text;
    }

    private ConfigFile object(String key, Object value) {
        if (!(value instanceof Map<?, ?> map)) {
            throw expected(key, value, "an object");
        }
        return new ConfigFile(file, prefix + key + ".", map);
    }

    private CheckpointException expected(String key, Object value, String expected) {
        String found = switch (value) {
            case Map<?, ?> _ -> "an object";
            case List<?> _ -> "an array";
            case String text when text.isEmpty() -> "an empty string";
            case String text -> '"' + StrictJson.printable(text) + '"';
            case null, default -> StrictJson.printable(String.valueOf(value));
        };
        return invalid(key, found + " found, " + expected + " expected");
    }
}

package stormsight.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A JSON file of settings, such as config.json, or an object within it. A key with dots leads into nested objects:
 * {@code text_config.head_dim}. A null value counts as absent. Each getter throws {@link CheckpointException}, naming file and key, if
 * the value is of another type and, unless it takes a default, if there is none.
 */
public final class ConfigFile {
    /** Real ones take a few thousand bytes. */
    private static final long MAX_BYTES = 16_000_000;

    private static final JsonMapper MAPPER = new JsonMapper(StrictJson.FACTORY);

    private final Path file;
    private final String prefix;
    private final JsonNode object;

    private ConfigFile(Path file, String prefix, JsonNode object) {
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
        Path directory = file.toAbsolutePath().getParent();
        StrictJson.requireDirectory(directory);
        if (!Files.exists(file)) {
            throw new CheckpointException(directory, "no " + file.getFileName() + " in this directory");
        }
        JsonNode root = StrictJson.readFile(file, "the file", MAX_BYTES, MAPPER::<JsonNode>readTree);
        if (root == null || !root.isObject()) {
            throw new CheckpointException(file, "not a JSON object");
        }
        return new ConfigFile(file, "", root);
    }

    /** The same for a file that a checkpoint may lack. */
    public static Optional<ConfigFile> readIfPresent(Path file) {
        return Files.exists(file) ? Optional.of(read(file)) : Optional.empty();
    }

    public Path file() {
        return file;
    }

    /** Whether there is a value that is not null. */
    public boolean has(String key) {
        return find(key).isPresent();
    }

    /** Whether the key is there with the value null: where transformers knows a default, that switches it off. */
    public boolean isNull(String key) {
        int dot = key.lastIndexOf('.');
        Optional<JsonNode> parent = dot < 0 ? Optional.of(object) : find(key.substring(0, dot));
        return parent.map(node -> node.get(key.substring(dot + 1))).map(JsonNode::isNull).orElse(false);
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

    /** A nested object, if it is there. */
    public Optional<ConfigFile> objectIfPresent(String key) {
        return find(key).map(value -> object(key, value));
    }

    /** What to throw where the value of a key makes no sense to its reader. */
    public CheckpointException invalid(String key, String problem) {
        return new CheckpointException(file, prefix + key + ": " + problem);
    }

    private Optional<JsonNode> find(String key) {
        JsonNode node = object;
        String[] names = key.split("\\.");
        for (int i = 0; i < names.length; i++) {
            if (!node.isObject()) {
                throw expected(String.join(".", List.of(names).subList(0, i)), node, "an object");
            }
            node = node.get(names[i]);
            if (node == null || node.isNull()) {
                return Optional.empty();
            }
        }
        return Optional.of(node);
    }

    private JsonNode required(String key) {
        return find(key).orElseThrow(() -> invalid(key, "missing"));
    }

    private List<JsonNode> elements(String key) {
        List<JsonNode> elements = new ArrayList<>();
        find(key).ifPresent(value -> {
            if (value.isArray()) {
                value.forEach(elements::add);
            } else {
                elements.add(value);
            }
        });
        return elements;
    }

    private int integer(String key, JsonNode value) {
        if (!value.isIntegralNumber() || !value.canConvertToInt()) {
            throw expected(key, value, "an integer of 32 bits");
        }
        return value.intValue();
    }

    private double number(String key, JsonNode value) {
        if (!value.isNumber() || !Double.isFinite(value.numberValue().doubleValue())) {
            throw expected(key, value, "a finite number");
        }
        return value.numberValue().doubleValue();
    }

    private boolean bool(String key, JsonNode value) {
        if (!value.isBoolean()) {
            throw expected(key, value, "true or false");
        }
        return value.booleanValue();
    }

    private String text(String key, JsonNode value) {
        if (!value.isString()) {
            throw expected(key, value, "a string");
        }
        return value.stringValue();
    }

    private ConfigFile object(String key, JsonNode value) {
        if (!value.isObject()) {
            throw expected(key, value, "an object");
        }
        return new ConfigFile(file, prefix + key + ".", value);
    }

    private CheckpointException expected(String key, JsonNode value, String expected) {
        String found = value.isObject() ? "an object" : value.isArray() ? "an array" : StrictJson.printable(value.toString());
        return invalid(key, found + " found, " + expected + " expected");
    }
}

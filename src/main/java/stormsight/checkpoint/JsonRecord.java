package stormsight.checkpoint;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A value in a file that comes from outside: a data set, results, recorded values. Whoever asks it for something of
 * another shape gets one line with the file, the line if the file has one record in each, and the place within: {@code
 * set.jsonl, line 3: boxes[0]: an object found, an array expected}.
 */
public final class JsonRecord {
    /** The value is not what was asked for. The message names file and place. */
    public static final class WrongShapeException extends IllegalArgumentException {
        private static final long serialVersionUID = 1;

        private final String problem;

        private WrongShapeException(String file, String problem, Throwable cause) {
            super(file + ": " + problem, cause);
            this.problem = problem;
        }

        /** The message without the file. */
        public String problem() {
            return problem;
        }
    }

    private final String file;
    private final String path;
    private final JsonNode node;

    private JsonRecord(String file, String path, JsonNode node) {
        this.file = file;
        this.path = path;
        this.node = node;
    }

    /**
     * Parses a text.
     *
     * @param file what messages name, with the line if need be
     * @throws WrongShapeException if it is not JSON
     */
    public static JsonRecord parse(String file, String text) {
        try {
            return new JsonRecord(file, "", JsonMapper.shared().readTree(text));
        } catch (JacksonException e) {
            throw new WrongShapeException(file, "not JSON: " + StrictJson.problem(e), e);
        }
    }

    /**
     * Parses a file that is one value.
     *
     * @throws WrongShapeException if it is not JSON in UTF-8
     * @throws IOException if it cannot be read
     */
    public static JsonRecord read(Path file) throws IOException {
        return parse(file.toString(), textOf(file));
    }

    /**
     * A file's text, without the byte order mark that some editors put in front.
     *
     * @throws WrongShapeException if it is not UTF-8
     * @throws IOException if it cannot be read
     */
    public static String textOf(Path file) throws IOException {
        try {
            String text = Files.readString(file);
            return text.startsWith("\uFEFF") ? text.substring(1) : text;
        } catch (CharacterCodingException e) {
            throw new WrongShapeException(file.toString(), "not UTF-8", e);
        }
    }

    /** What to throw where the value makes no sense to its reader. */
    public WrongShapeException invalid(String problem) {
        return new WrongShapeException(file, path.isEmpty() ? problem : path + ": " + problem, null);
    }

    private WrongShapeException expected(String expected) {
        String found = switch (node.getNodeType()) {
            case OBJECT -> "an object";
            case ARRAY -> "an array";
            case STRING -> "\"" + StrictJson.printable(node.asString()) + "\"";
            case MISSING -> "nothing";
            default -> StrictJson.printable(node.toString());
        };
        return invalid(found + " found, " + expected + " expected");
    }

    private JsonRecord inner(String place, JsonNode value) {
        return new JsonRecord(file, path + place, value);
    }

    private JsonRecord object() {
        if (!node.isObject()) {
            throw expected("an object");
        }
        return this;
    }

    /** A field of an object, if it is there and is not null. */
    public Optional<JsonRecord> find(String key) {
        JsonNode value = object().node.get(key);
        return value == null || value.isNull()
                ? Optional.empty()
                : Optional.of(inner((path.isEmpty() ? "" : ".") + StrictJson.printable(key), value));
    }

    /** A field of an object. */
    public JsonRecord get(String key) {
        return find(key).orElseThrow(() -> invalid("\"" + key + "\" is missing"));
    }

    /** The fields of an object. */
    public List<String> names() {
        return List.copyOf(object().node.propertyNames());
    }

    /** The elements of an array. */
    public List<JsonRecord> elements() {
        if (!node.isArray()) {
            throw expected("an array");
        }
        List<JsonRecord> elements = new ArrayList<>();
        for (int i = 0; i < node.size(); i++) {
            elements.add(inner("[" + i + "]", node.get(i)));
        }
        return elements;
    }

    /** The elements of an array of a known length. */
    public List<JsonRecord> elements(int count) {
        List<JsonRecord> elements = elements();
        if (elements.size() != count) {
            throw invalid(elements.size() + " values found, " + count + " expected");
        }
        return elements;
    }

    public String text() {
        if (!node.isString()) {
            throw expected("a text");
        }
        return node.asString();
    }

    /** A finite number. */
    public double number() {
        if (!node.isNumber() || !Double.isFinite(node.asDouble())) {
            throw expected("a finite number");
        }
        return node.asDouble();
    }

    /** An integer from 0 to {@code limit - 1}. */
    public int index(int limit) {
        if (!node.isIntegralNumber() || !node.canConvertToInt() || node.asInt() < 0 || node.asInt() >= limit) {
            throw expected("an integer from 0 to " + (limit - 1));
        }
        return node.asInt();
    }

    /** An array of integers from 0 to {@code limit - 1}. */
    public int[] indices(int limit) {
        return elements().stream().flatMapToInt(element -> IntStream.of(element.index(limit))).toArray();
    }

    /** The value, for code that takes any. */
    public JsonNode node() {
        return node;
    }
}

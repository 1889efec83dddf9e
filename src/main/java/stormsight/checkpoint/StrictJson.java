package stormsight.checkpoint;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PushbackReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.TokenStreamFactory;
import tools.jackson.core.json.JsonFactory;

/**
 * How all JSON of a checkpoint is read: only UTF-8, no duplicate keys, and no more depth, names or tokens than real
 * files have. A byte order mark, which some editors put in front, is passed over.
 */
public final class StrictJson {
    /** Of a header or an index: what the reference implementation of safetensors accepts. */
    static final long MAX_BYTES = 100_000_000;

    /**
     * A header takes about 18 tokens a tensor: this allows 200 000 tensors in a file and bounds the memory for a
     * hostile one.
     */
    private static final long MAX_TOKENS = 4_000_000;
    private static final int MAX_DEPTH = 64;
    private static final int MAX_NAME = 4_096;
    private static final int MAX_NUMBER = 400;

    private static final int PRINTED_NAME = 160;

    private static final Pattern NO_NUMBER = Pattern.compile("Non-standard token '([-+]?\\w+)'");

    private static final char BYTE_ORDER_MARK = '\uFEFF';

    static final JsonFactory FACTORY = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxDocumentLength(MAX_BYTES)
                    .maxTokenCount(MAX_TOKENS)
                    .maxNestingDepth(MAX_DEPTH)
                    .maxNameLength(MAX_NAME)
                    .maxNumberLength(MAX_NUMBER)
                    .build())
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            // The symbol table would keep the names of every file for good.
            .disable(TokenStreamFactory.Feature.INTERN_PROPERTY_NAMES)
            .disable(TokenStreamFactory.Feature.CANONICALIZE_PROPERTY_NAMES)
            .build();

    private StrictJson() {}

    /** Loads what reading takes, which the first reading would wait for. */
    public static void prepare() {
        read(Path.of("nothing"), "nothing", new ByteArrayInputStream(new byte[] {'{', '}'}), StrictJson::value);
    }

    /** What a parser is given to do. */
    public interface Reading<T> {
        T from(JsonParser parser);
    }

    /**
     * Reads one document that takes the whole stream.
     *
     * @param what stands for the document in messages
     * @throws CheckpointException naming the file if it is not UTF-8 or not JSON
     */
    public static <T> T read(Path file, String what, InputStream bytes, Reading<T> reading) {
        PushbackReader text = new PushbackReader(new InputStreamReader(bytes, StandardCharsets.UTF_8.newDecoder()));
        skipByteOrderMark(file, what, text);
        try (JsonParser parser = FACTORY.createParser(ObjectReadContext.empty(), text)) {
            T value = reading.from(parser);
            if (parser.nextToken() != null) {
                throw new CheckpointException(file, what + " goes on after its end");
            }
            return value;
        } catch (JacksonException e) {
            if (e.getCause() instanceof CharacterCodingException) {
                throw new CheckpointException(file, what + " is not UTF-8", e);
            }
            long at = e.getLocation() == null ? -1 : e.getLocation().getCharOffset();
            String place = at < 0 ? "" : " at character " + at;
            throw new CheckpointException(
                    file, what + " is not valid JSON" + place + ": " + problem(e), e);
        }
    }

    /** What the parser met, on one line and without where in its own words. */
    public static String problem(JacksonException e) {
        // Python writes what JSON does not have; Jackson's message is advice for programmers.
        Matcher token = NO_NUMBER.matcher(String.valueOf(e.getOriginalMessage()));
        if (token.find()) {
            return "JSON has no " + token.group(1);
        }
        return printable(String.valueOf(e.getOriginalMessage()).replaceFirst(" \\(start marker at .*", ""));
    }

    private static void skipByteOrderMark(Path file, String what, PushbackReader text) {
        try {
            int first = text.read();
            if (first < 0) {
                throw empty(file, what);
            }
            if (first != BYTE_ORDER_MARK) {
                text.unread(first);
            }
        } catch (CharacterCodingException e) {
            throw new CheckpointException(file, what + " is not UTF-8", e);
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    /**
     * Reads the next value with all in it: a Map, a List, a String, a Boolean, an Integer or, where that is too small,
     * a Long or a BigInteger, a Double, or null. Jackson's own trees would do; starting what makes them takes a third
     * of a second.
     */
    public static Object value(JsonParser parser) {
        return parser.nextToken() == null ? null : current(parser);
    }

    private static Object current(JsonParser parser) {
        return switch (parser.currentToken()) {
            case START_OBJECT -> {
                Map<String, Object> object = new LinkedHashMap<>();
                while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
                    String name = parser.currentName();
                    object.put(name, value(parser));
                }
                yield object;
            }
            case START_ARRAY -> {
                List<Object> array = new ArrayList<>();
                while (parser.nextToken() != JsonToken.END_ARRAY) {
                    array.add(current(parser));
                }
                yield array;
            }
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> parser.getNumberValue();
            case VALUE_TRUE, VALUE_FALSE -> parser.getBooleanValue();
            case VALUE_NULL -> null;
            default -> parser.getString();
        };
    }

    /** Reads a file that is one JSON document of at most {@code limit} bytes. */
    static <T> T readFile(Path file, String what, long limit, Reading<T> reading) {
        try (InputStream in = ModelFiles.open(file, limit)) {
            return read(ModelFiles.shown(file), what, in, reading);
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    /** Refuses what is no regular file, such as a pipe, which would block. */
    static void requireFile(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new CheckpointException(file, Files.exists(file) ? "not a file" : "no such file");
        }
    }

    static void requireDirectory(Path directory) {
        if (!Files.isDirectory(directory)) {
            throw new CheckpointException(directory, Files.exists(directory) ? "not a directory" : "no such directory");
        }
    }

    static CheckpointException unreadable(Path file, IOException e) {
        String reason =
                e instanceof AccessDeniedException ? "permission denied" : oneLine(String.valueOf(e.getMessage()));
        return new CheckpointException(file, "cannot be read: " + reason, e);
    }

    /** What a download that stopped leaves. */
    public static CheckpointException empty(Path file, String what) {
        return new CheckpointException(file, what + " is empty; download it again");
    }

    /** A name from a file, made fit for one line of a message. */
    public static String printable(String name) {
        String line = oneLine(name);
        return line.isEmpty() ? "\"\"" : line;
    }

    private static String oneLine(String text) {
        String line = text.length() <= PRINTED_NAME ? text : text.substring(0, PRINTED_NAME) + "...";
        return line.codePoints()
                .map(c -> Character.isISOControl(c) || Character.getType(c) == Character.LINE_SEPARATOR
                        || Character.getType(c) == Character.PARAGRAPH_SEPARATOR ? '?' : c)
                .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                .toString();
    }
}

package stormsight.tokenizer;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.StrictJson;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.json.JsonFactory;

/**
 * Reads the model of a tokenizer.json: vocabulary and merges, which are nearly all of the file, as a stream into their tables.
 */
final class ModelReader {
    private static final int LONGEST_AFFIX = 32;

    private final Path file;
    private final byte[] json;
    private final JsonFactory factory;
    private final Map<String, Object> arguments = new LinkedHashMap<>();
    private Vocabulary vocabulary;

    /** By id, where the vocabulary is a list of tokens with scores. */
    private double[] scores;

    private Merges merges;

    /** Where merges begin in the file that come before the vocabulary, or -1. */
    private long mergesAt = -1;

    /** A merge: its left token, then its right one. */
    private char[] pair = new char[256];

    ModelReader(Path file, byte[] json, JsonFactory factory) {
        this.file = file;
        this.json = json;
        this.factory = factory;
    }

    Vocabulary vocabulary() {
        return vocabulary;
    }

    /** Reads the object that the parser is at the start of. */
    void read(JsonParser in) {
        while (in.nextToken() == JsonToken.PROPERTY_NAME) {
            String key = in.currentName();
            JsonToken value = in.nextToken();
            if (arguments.putIfAbsent(key, "") != null) {
                throw refused("the key " + StrictJson.printable(key) + " twice");
            }
            if (key.equals("vocab") && value == JsonToken.START_OBJECT) {
                readVocabulary(in);
            } else if (key.equals("vocab") && value == JsonToken.START_ARRAY) {
                readScores(in);
            } else if (key.equals("merges") && value == JsonToken.START_ARRAY) {
                if (vocabulary == null) {
                    mergesAt = in.currentTokenLocation().getByteOffset();
                    in.skipChildren();
                } else {
                    readMerges(in);
                }
            } else {
                arguments.put(key, StrictJson.current(in));
            }
        }
        if (vocabulary == null || vocabulary.count() == 0) {
            throw new CheckpointException(file, "no vocabulary");
        }
        if (mergesAt >= 0) {
            try (JsonParser again = factory.createParser(ObjectReadContext.empty(), json, (int) mergesAt, json.length - (int) mergesAt)) {
                again.nextToken();
                readMerges(again);
            }
        }
    }

    private void readVocabulary(JsonParser in) {
        Vocabulary.Builder builder = new Vocabulary.Builder();
        while (in.nextToken() == JsonToken.PROPERTY_NAME) {
            String token = in.currentName();
            JsonToken value = in.nextToken();
            int id = value == JsonToken.VALUE_NUMBER_INT ? in.getValueAsInt(-1) : -1;
            if (id < 0 || id >= Vocabulary.MOST_IDS) {
                throw refused("the token " + Vocabulary.quoted(token) + " has the id " + StrictJson.printable(in.getString()));
            }
            builder.add(token, id);
        }
        build(builder);
    }

    private void readScores(JsonParser in) {
        Vocabulary.Builder builder = new Vocabulary.Builder();
        double[] read = new double[1 << 10];
        while (in.nextToken() == JsonToken.START_ARRAY) {
            int id = builder.count();
            String token = in.nextToken() == JsonToken.VALUE_STRING ? in.getString() : null;
            double score = token != null && in.nextToken().isNumeric() ? in.getDoubleValue() : Double.NaN;
            if (!Double.isFinite(score) || id >= Vocabulary.MOST_IDS || in.nextToken() != JsonToken.END_ARRAY) {
                throw refused("entry " + id + " of vocab is no token with a score");
            }
            if (token.isEmpty() || token.length() > Unigram.LONGEST_TOKEN) {
                throw refused("the token " + id + " is " + (token.isEmpty() ? "empty" : "too long"));
            }
            read = id == read.length ? Arrays.copyOf(read, 2 * id) : read;
            read[id] = score;
            builder.add(token, id);
        }
        if (in.currentToken() != JsonToken.END_ARRAY) {
            throw refused("entry " + builder.count() + " of vocab is no token with a score");
        }
        build(builder);
        scores = Arrays.copyOf(read, builder.count());
    }

    private void build(Vocabulary.Builder builder) {
        try {
            vocabulary = builder.build();
        } catch (IllegalArgumentException e) {
            throw refused(e.getMessage());
        }
    }

    /** Merges as "a b" or as ["a", "b"]. */
    private void readMerges(JsonParser in) {
        merges = new Merges();
        for (JsonToken token = in.nextToken(); token != JsonToken.END_ARRAY; token = in.nextToken()) {
            if (token == JsonToken.VALUE_STRING) {
                readJoined(in);
            } else if (token == JsonToken.START_ARRAY && in.nextToken() == JsonToken.VALUE_STRING) {
                int left = append(in, 0);
                int both = in.nextToken() == JsonToken.VALUE_STRING ? append(in, left) : -1;
                if (both < 0 || in.nextToken() != JsonToken.END_ARRAY) {
                    throw broken();
                }
                add(left, both);
            } else {
                throw broken();
            }
        }
    }

    private void readJoined(JsonParser in) {
        int length = append(in, 0);
        int space = -1;
        for (int i = 0; i < length; i++) {
            if (pair[i] == ' ') {
                if (space >= 0) {
                    throw broken();
                }
                space = i;
            }
        }
        if (space < 0) {
            throw broken();
        }
        System.arraycopy(pair, space + 1, pair, space, length - space - 1);
        add(space, length - 1);
    }

    /** Puts a text at a place of the pair; returns where it ends. */
    private int append(JsonParser in, int at) {
        int length = in.getStringLength();
        if (at + length > pair.length) {
            pair = Arrays.copyOf(pair, 2 * (at + length));
        }
        System.arraycopy(in.getStringCharacters(), in.getStringOffset(), pair, at, length);
        return at + length;
    }

    private void add(int left, int both) {
        int first = vocabulary.id(pair, 0, left);
        int second = vocabulary.id(pair, left, both);
        int result = vocabulary.id(pair, 0, both);
        if (first < 0 || second < 0 || result < 0) {
            String missing = new String(pair, second < 0 && first >= 0 ? left : 0, first < 0 ? left : second < 0 ? both - left : both);
            throw refused("the merge " + merges.count() + " needs the token " + Vocabulary.quoted(missing)
                    + ", which the vocabulary lacks");
        }
        merges.add(first, second, result);
    }

    private CheckpointException broken() {
        return refused("the merge " + merges.count() + " is no pair of tokens");
    }

    private CheckpointException refused(String problem) {
        return new CheckpointException(file, "model: " + problem);
    }

    /** @param added looks up tokens that the file adds; an unknown token may be one of them */
    Model model(Components.TokenIds added) {
        Component in = new Component(file, "model", arguments);
        String type = in.type();
        if (type.isEmpty()) {
            type = merges != null ? "BPE" : scores != null ? "Unigram" : arguments.containsKey("max_input_chars_per_word") ? "WordPiece" : "";
        }
        in.ignore("vocab", "merges");
        if (merges != null != type.equals("BPE") || scores != null != type.equals("Unigram")) {
            if (type.equals("BPE") || type.equals("Unigram") || type.equals("WordPiece")) {
                throw in.refused("vocab and merges are not those of this type");
            }
        }
        Model model = switch (type) {
            case "BPE" -> bpe(in, added);
            case "Unigram" -> {
                int unknown = in.number("unk_id", 0, scores.length - 1);
                double lowest = Arrays.stream(scores).min().orElseThrow();
                yield new Unigram(vocabulary, scores,
                        new Unigram.Options(unknown, lowest, in.flag("byte_fallback", false), false));
            }
            case "WordPiece" -> new WordPiece(vocabulary, in.text("continuing_subword_prefix", 0, LONGEST_AFFIX),
                    unknown(in, in.text("unk_token", 1, AddedTokens.LONGEST), added),
                    in.number("max_input_chars_per_word", 0, WordPiece.MOST_CHARACTERS));
            default -> throw in.refused(type.isEmpty() ? "no type" : "this type is not supported");
        };
        in.end();
        return model;
    }

    private Model bpe(Component in, Components.TokenIds added) {
        if (in.value("dropout") != null && !(in.value("dropout") instanceof Number number && number.doubleValue() == 0)) {
            throw in.refused("dropout gives other ids each time");
        }
        in.text("continuing_subword_prefix", "");
        if (!in.text("continuing_subword_prefix", "").isEmpty()) {
            throw in.refused("the continuing_subword_prefix " + Vocabulary.quoted(in.text("continuing_subword_prefix", ""))
                    + " is not supported");
        }
        String suffix = in.value("end_of_word_suffix") == null ? "" : in.text("end_of_word_suffix", 0, LONGEST_AFFIX);
        boolean byteFallback = in.flag("byte_fallback", false);
        if (byteFallback && !suffix.isEmpty()) {
            throw in.refused("byte_fallback with an end_of_word_suffix is not supported");
        }
        String unknown = in.text("unk_token", null);
        return new Bpe(vocabulary, merges, new Bpe.Options(suffix, unknown == null ? -1 : unknown(in, unknown, added),
                in.flag("fuse_unk", false), byteFallback, in.flag("ignore_merges", false)));
    }

    private static int unknown(Component in, String token, Components.TokenIds ids) {
        int id = ids.id(token);
        if (id < 0) {
            throw in.refused("the unk_token " + Vocabulary.quoted(token) + " is not in the vocabulary");
        }
        return id;
    }
}

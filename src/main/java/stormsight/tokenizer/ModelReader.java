package stormsight.tokenizer;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.StrictJson;

/**
 * Reads the model of a tokenizer.json: vocabulary and merges, which are nearly all of the file, straight into their
 * tables.
 */
final class ModelReader {
    private static final int LONGEST_AFFIX = 32;

    private final Path file;
    private final Map<String, Object> arguments = new LinkedHashMap<>();
    private Vocabulary vocabulary;

    /** By id, where the vocabulary is a list of tokens with scores. */
    private double[] scores;

    private Merges merges;

    /** What the last merge made, and its id: several ways to make one token tend to stand together. */
    private char[] made = {};

    private int madeId = -1;

    ModelReader(Path file) {
        this.file = file;
    }

    Vocabulary vocabulary() {
        return vocabulary;
    }

    /**
     * Reads the object that comes next.
     *
     * @throws IllegalArgumentException if it is not valid JSON
     */
    void read(JsonScanner in) {
        // Merges that come before the vocabulary.
        byte[] early = null;
        for (boolean more = in.begin('{', '}'); more; more = in.next('}')) {
            String key = in.string();
            in.expect(':');
            if (arguments.putIfAbsent(key, "") != null) {
                throw refused("the key " + StrictJson.printable(key) + " twice");
            }
            int value = in.peek();
            if (key.equals("vocab") && value == '{') {
                readVocabulary(in);
            } else if (key.equals("vocab") && value == '[') {
                readScores(in);
            } else if (key.equals("merges") && value == '[' && vocabulary == null) {
                early = in.value();
            } else if (key.equals("merges") && value == '[') {
                readMerges(in);
            } else {
                arguments.put(key, TokenizerFile.value(file, "model", in));
            }
        }
        if (vocabulary == null) {
            throw new CheckpointException(file, "no vocabulary");
        }
        if (early != null) {
            readMerges(new JsonScanner(early));
        }
    }

    private void readVocabulary(JsonScanner in) {
        Vocabulary.Builder builder = new Vocabulary.Builder();
        for (boolean more = in.begin('{', '}'); more; more = in.next('}')) {
            int length = in.string(0);
            in.expect(':');
            long id = in.integer();
            if (id < 0 || id >= Vocabulary.MOST_IDS) {
                throw refused("the token " + Vocabulary.quoted(new String(in.text(), 0, length)) + " has "
                        + (id < 0 ? "no id" : "the id " + id));
            }
            builder.add(in.text(), length, (int) id);
        }
        build(builder);
    }

    private void readScores(JsonScanner in) {
        Vocabulary.Builder builder = new Vocabulary.Builder();
        double[] read = new double[1 << 10];
        for (boolean more = in.begin('[', ']'); more; more = in.next(']')) {
            int id = builder.count();
            boolean pair = in.peek() == '[' && in.begin('[', ']') && in.peek() == '"';
            int length = pair ? in.string(0) : 0;
            double score = pair && in.next(']') ? in.number() : Double.NaN;
            if (!Double.isFinite(score) || in.next(']') || id >= Vocabulary.MOST_IDS) {
                throw refused("entry " + id + " of vocab is no token with a score");
            }
            if (length == 0 || length > Unigram.LONGEST_TOKEN) {
                throw refused("the token " + id + " is " + (length == 0 ? "empty" : "too long"));
            }
            read = id == read.length ? Arrays.copyOf(read, 2 * id) : read;
            read[id] = score;
            builder.add(in.text(), length, id);
        }
        build(builder);
        scores = Arrays.copyOf(read, builder.count());
    }

    private void build(Vocabulary.Builder builder) {
        if (builder.count() == 0) {
            throw new CheckpointException(file, "no vocabulary");
        }
        try {
            vocabulary = builder.build();
        } catch (IllegalArgumentException e) {
            throw refused(e.getMessage());
        }
    }

    /** Merges as "a b" or as ["a", "b"]. */
    private void readMerges(JsonScanner in) {
        merges = new Merges();
        for (boolean more = in.begin('[', ']'); more; more = in.next(']')) {
            if (in.peek() == '"') {
                readJoined(in);
                continue;
            }
            if (in.peek() != '[' || !in.begin('[', ']') || in.peek() != '"') {
                throw broken();
            }
            int left = in.string(0);
            if (!in.next(']') || in.peek() != '"') {
                throw broken();
            }
            int both = in.string(left);
            if (in.next(']')) {
                throw broken();
            }
            add(in.text(), left, both);
        }
    }

    private void readJoined(JsonScanner in) {
        int length = in.string(0);
        char[] pair = in.text();
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
        add(pair, space, length - 1);
    }

    /** @param pair the left token, which ends at {@code left}, and the right one, which ends at {@code both} */
    private void add(char[] pair, int left, int both) {
        int first = vocabulary.id(pair, 0, left);
        int second = vocabulary.id(pair, left, both);
        if (!Arrays.equals(made, 0, made.length, pair, 0, both)) {
            made = Arrays.copyOf(pair, both);
            madeId = vocabulary.id(pair, 0, both);
        }
        int result = madeId;
        if (first < 0 || second < 0 || result < 0) {
            int from = first >= 0 && second < 0 ? left : 0;
            int to = first < 0 ? left : both;
            throw refused("the merge " + merges.count() + " needs the token "
                    + Vocabulary.quoted(new String(pair, from, to - from)) + ", which the vocabulary lacks");
        }
        merges.add(first, second, result);
    }

    private CheckpointException broken() {
        return refused("the merge " + merges.count() + " is no pair of tokens");
    }

    private CheckpointException refused(String problem) {
        return new CheckpointException(file, "model: " + problem);
    }

    /**
     * The type of the model, known from the arguments where old files name none.
     *
     * @throws CheckpointException if it is not supported
     */
    String type() {
        Component in = new Component(file, "model", arguments);
        String type = in.type();
        if (type.isEmpty()) {
            boolean words = arguments.containsKey("max_input_chars_per_word");
            type = merges != null ? "BPE" : scores != null ? "Unigram" : words ? "WordPiece" : "";
        }
        boolean expected = switch (type) {
            case "BPE" -> merges != null && scores == null;
            case "Unigram" -> merges == null && scores != null;
            case "WordPiece" -> merges == null && scores == null;
            default -> throw in.refused(type.isEmpty() ? "no type" : "this type is not supported");
        };
        if (!expected) {
            throw in.refused("vocab and merges are not those of this type");
        }
        return type;
    }

    /** @param added looks up tokens, those that the file adds included; an unknown token may be one of them */
    Model model(Components.TokenIds added) {
        Component in = new Component(file, "model", arguments);
        in.ignore("vocab", "merges");
        Model model = switch (type()) {
            case "BPE" -> bpe(in, added);
            case "Unigram" -> {
                int unknown = in.number("unk_id", 0, scores.length - 1);
                double lowest = Arrays.stream(scores).min().orElseThrow();
                yield new Unigram(vocabulary, scores,
                        new Unigram.Options(unknown, lowest, in.flag("byte_fallback", false), false));
            }
            default -> new WordPiece(vocabulary, in.text("continuing_subword_prefix", 0, LONGEST_AFFIX),
                    unknown(in, in.text("unk_token", 1, AddedTokens.LONGEST), added),
                    in.number("max_input_chars_per_word", 0, WordPiece.MOST_CHARACTERS));
        };
        in.end();
        return model;
    }

    private Model bpe(Component in, Components.TokenIds added) {
        Object dropout = in.value("dropout");
        if (dropout != null && !(dropout instanceof Number number && number.doubleValue() == 0)) {
            throw in.refused("dropout gives other ids each time");
        }
        String prefix = in.text("continuing_subword_prefix", "");
        if (!prefix.isEmpty()) {
            throw in.refused("the continuing_subword_prefix " + Vocabulary.quoted(prefix) + " is not supported");
        }
        String suffix = in.value("end_of_word_suffix") == null ? "" : in.text("end_of_word_suffix", 0, LONGEST_AFFIX);
        boolean byteFallback = in.flag("byte_fallback", false);
        if (byteFallback && !suffix.isEmpty()) {
            throw in.refused("byte_fallback with an end_of_word_suffix is not supported");
        }
        String unknown = in.text("unk_token", "");
        return new Bpe(vocabulary, merges, new Bpe.Options(suffix, unknown.isEmpty() ? -1 : unknown(in, unknown, added),
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

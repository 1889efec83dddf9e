package stormsight.checkpoint;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The content of a tokenizer.json, made from the pieces of a Gemma's SentencePiece model in GGUF as transformers
 * converts one: each way to put a piece together from two others is a merge.
 */
final class GgufTokenizer {
    /** More than any vocabulary has. */
    private static final int MOST_TOKENS = 1 << 20;
    /** Gemma has 580,000. */
    private static final int MOST_MERGES = 1 << 22;
    /** Of a token; those of Gemma have up to 93. */
    private static final int MOST_BYTES = 1 << 9;

    private static final String SPACE = "\u2581";
    private static final String TAB = "\t";
    private static final String TAB_BYTE = "<0x09>";

    /** Of SentencePiece. */
    private static final String KIND = "llama";
    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int USER_DEFINED = 4;
    private static final int UNUSED = 5;

    private final GgufHeader header;

    /** Two tokens that become one piece, with their lengths in characters. */
    private record Merge(float score, int leftLength, int rightLength, int left, int right) {}

    GgufTokenizer(GgufHeader header) {
        this.header = header;
    }

    /** The id of a token; empty if there is none. */
    Optional<Integer> id(String token) {
        return Optional.of(tokens().indexOf(token)).filter(id -> id >= 0);
    }

    private List<String> tokens() {
        String kind = header.texts().getOrDefault("tokenizer.ggml.model", "none");
        if (!kind.equals(KIND)) {
            throw new CheckpointException(header.file(), "its tokenizer is " + StrictJson.printable(kind) + ", not "
                    + KIND + " (SentencePiece): put tokenizer.json of the model as transformers has it beside it");
        }
        return header.texts("tokenizer.ggml.tokens", MOST_TOKENS, MOST_BYTES);
    }

    /** For a writer of JSON. */
    Map<String, Object> json() {
        List<String> tokens = tokens();
        int[] types = header.integers("tokenizer.ggml.token_type", MOST_TOKENS);
        float[] scores = header.reals("tokenizer.ggml.scores", MOST_TOKENS);
        if (types.length != tokens.size() || scores.length != tokens.size()) {
            throw new CheckpointException(header.file(), tokens.size() + " tokens have " + types.length
                    + " types and " + scores.length + " scores");
        }
        // As transformers mends old Gemmas, which have tabs as bytes alone.
        if (!tokens.contains(TAB)) {
            tokens.replaceAll(token -> token.equals(TAB_BYTE) ? TAB : token);
        }
        Map<String, Integer> ids = ids(tokens, types);
        Map<String, Object> model = new LinkedHashMap<>();
        model.put("type", "BPE");
        named("tokenizer.ggml.unknown_token_id", tokens).ifPresent(id -> model.put("unk_token", tokens.get(id)));
        model.put("fuse_unk", true);
        model.put("byte_fallback", true);
        model.put("vocab", ids);
        model.put("merges", merges(ids, scores).stream()
                .map(merge -> List.of(tokens.get(merge.left), tokens.get(merge.right)))
                .toList());
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("added_tokens", added(ids, types));
        json.put("normalizer", replace(" ", SPACE));
        named("tokenizer.ggml.bos_token_id", tokens)
                .ifPresent(id -> json.put("post_processor", behind(tokens.get(id), id)));
        json.put("decoder", object("type", "Sequence", "decoders",
                List.of(replace(SPACE, " "), object("type", "ByteFallback"), object("type", "Fuse"))));
        json.put("model", model);
        return json;
    }

    private Map<String, Integer> ids(List<String> tokens, int[] types) {
        Map<String, Integer> ids = new LinkedHashMap<>();
        for (int id = 0; id < types.length; id++) {
            // Rows of the embedding table that stand for nothing are filled up so.
            boolean padding = types[id] == UNUSED && tokens.get(id).equals("[PAD" + id + "]");
            if (!padding && ids.putIfAbsent(tokens.get(id), id) != null) {
                throw new CheckpointException(
                        header.file(), "the token " + StrictJson.printable(tokens.get(id)) + " is there twice");
            }
        }
        return ids;
    }

    /** The id in a key, if it is that of a token. */
    private Optional<Integer> named(String key, List<String> tokens) {
        return Optional.ofNullable(header.numbers().get(key))
                .filter(id -> id >= 0 && id < tokens.size())
                .map(Long::intValue);
    }

    private static List<Object> added(Map<String, Integer> ids, int[] types) {
        List<Object> added = new ArrayList<>();
        ids.forEach((token, id) -> {
            if (types[id] == UNKNOWN || types[id] == CONTROL || types[id] == USER_DEFINED) {
                added.add(object(
                        "id", id, "content", token, "normalized", false, "special", types[id] != USER_DEFINED));
            }
        });
        return added;
    }

    private static Map<String, Object> replace(String pattern, String content) {
        return object("type", "Replace", "pattern", object("String", pattern), "content", content);
    }

    /** Puts a text behind a token. */
    private static Map<String, Object> behind(String token, int id) {
        return object(
                "type", "TemplateProcessing",
                "single", List.of(
                        object("SpecialToken", object("id", token, "type_id", 0)),
                        object("Sequence", object("id", "A", "type_id", 0))),
                "special_tokens", object(token, object("id", token, "ids", List.of(id), "tokens", List.of(token))));
    }

    /** Names and values in turns. They stay in order: what is made twice is the same to the byte. */
    private static Map<String, Object> object(Object... members) {
        Map<String, Object> object = new LinkedHashMap<>();
        for (int i = 0; i < members.length; i += 2) {
            object.put((String) members[i], members[i + 1]);
        }
        return object;
    }

    /** By the piece's score, then the longer left part first. */
    private List<Merge> merges(Map<String, Integer> ids, float[] scores) {
        List<Merge> merges = new ArrayList<>();
        ids.forEach((piece, id) -> {
            int length = piece.codePointCount(0, piece.length());
            for (int left = 1; left < length; left++) {
                int at = piece.offsetByCodePoints(0, left);
                Integer first = ids.get(piece.substring(0, at));
                Integer second = first == null ? null : ids.get(piece.substring(at));
                if (second != null) {
                    merges.add(new Merge(scores[id], left, length - left, first, second));
                }
            }
            if (merges.size() > MOST_MERGES) {
                throw new CheckpointException(
                        header.file(), "its tokens can be put together in more than " + MOST_MERGES + " ways");
            }
        });
        merges.sort(Comparator.comparingDouble(Merge::score)
                .thenComparingInt(Merge::leftLength)
                .thenComparingInt(Merge::rightLength)
                .reversed());
        return merges;
    }
}

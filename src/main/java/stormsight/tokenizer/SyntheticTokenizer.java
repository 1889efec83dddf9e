package stormsight.tokenizer;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * tokenizer.json of Gemma's kind for checkpoints of random weights: special tokens, newlines, bytes, locations and segments have Gemma's
 * ids; the words are printable characters and numbered fillers, without merges.
 */
public final class SyntheticTokenizer {
    private static final List<String> SPECIAL = List.of("<pad>", "<eos>", "<bos>", "<unk>", "<mask>");
    private static final int FIRST_NEWLINE = 108;
    private static final int LAST_NEWLINE = 138;
    private static final int FIRST_BYTE = 217;
    private static final int LOCATIONS = 1024;
    private static final int SEGMENTS = 128;
    /** What Gemma writes for a space. */
    private static final String SPACE = "\u2581";

    private SyntheticTokenizer() {}

    /**
     * The content of tokenizer.json.
     *
     * @param textVocabulary ids before {@code <loc0000>}, at least 1024
     */
    public static Map<String, Object> json(int textVocabulary) {
        if (textVocabulary < 1024) {
            throw new IllegalArgumentException("a vocabulary of " + textVocabulary + ", at least 1024 expected");
        }
        List<String> tokens = new ArrayList<>(SPECIAL);
        Set<String> characters = new LinkedHashSet<>();
        characters.add(SPACE);
        for (char c = '!'; c <= '~'; c++) {
            characters.add(String.valueOf(c));
        }
        List<String> left = new ArrayList<>(characters);
        while (tokens.size() < textVocabulary) {
            int id = tokens.size();
            if (id >= FIRST_NEWLINE && id <= LAST_NEWLINE) {
                tokens.add("\n".repeat(id - FIRST_NEWLINE + 1));
            } else if (id >= FIRST_BYTE && id < FIRST_BYTE + 256) {
                tokens.add("<0x%02X>".formatted(id - FIRST_BYTE));
            } else if (id >= FIRST_BYTE + 256 && !left.isEmpty()) {
                tokens.add(left.removeFirst());
            } else {
                tokens.add("<unused" + id + ">");
            }
        }
        List<Object> added = new ArrayList<>();
        for (String token : SPECIAL) {
            added.add(added(added.size(), token, true));
        }
        for (int id = FIRST_NEWLINE; id <= LAST_NEWLINE; id++) {
            added.add(added(id, tokens.get(id), false));
        }
        for (int i = 0; i < LOCATIONS; i++) {
            tokens.add("<loc%04d>".formatted(i));
            added.add(added(tokens.size() - 1, tokens.getLast(), false));
        }
        for (int i = 0; i < SEGMENTS; i++) {
            tokens.add("<seg%03d>".formatted(i));
            added.add(added(tokens.size() - 1, tokens.getLast(), false));
        }
        added.add(added(tokens.size(), "<image>", true));
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("version", "1.0");
        json.put("added_tokens", added);
        json.put("normalizer", Map.of("type", "Replace", "pattern", Map.of("String", " "), "content", SPACE));
        json.put("decoder", Map.of("type", "Sequence", "decoders", List.of(
                Map.of("type", "Replace", "pattern", Map.of("String", SPACE), "content", " "),
                Map.of("type", "ByteFallback"),
                Map.of("type", "Fuse"))));
        json.put("model", model(tokens));
        return json;
    }

    private static Map<String, Object> model(List<String> tokens) {
        Map<String, Object> vocabulary = new LinkedHashMap<>();
        for (int id = 0; id < tokens.size(); id++) {
            vocabulary.put(tokens.get(id), id);
        }
        Map<String, Object> model = new LinkedHashMap<>();
        model.put("type", "BPE");
        model.put("unk_token", "<unk>");
        model.put("fuse_unk", true);
        model.put("byte_fallback", true);
        model.put("vocab", vocabulary);
        model.put("merges", List.of());
        return model;
    }

    private static Map<String, Object> added(int id, String content, boolean special) {
        Map<String, Object> token = new LinkedHashMap<>();
        token.put("id", id);
        token.put("content", content);
        token.put("single_word", false);
        token.put("lstrip", false);
        token.put("rstrip", false);
        token.put("normalized", false);
        token.put("special", special);
        return token;
    }
}

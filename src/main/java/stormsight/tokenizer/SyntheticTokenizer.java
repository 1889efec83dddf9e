package stormsight.tokenizer;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * tokenizer.json for checkpoints of random weights, of the kinds that families have: special tokens and bytes have the
 * ids of the published ones; the words are printable characters and numbered fillers, without merges.
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
     * The content of a tokenizer.json of Gemma's kind, in which newlines, locations and segments have Gemma's ids, too.
     * Behind those of the text come 1024 locations, 128 segments and {@code <image>}, the last id.
     *
     * @param textVocabulary ids before {@code <loc0000>}, at least 1024
     */
    public static Map<String, Object> gemma(int textVocabulary) {
        if (textVocabulary < 1024) {
            throw new IllegalArgumentException("a vocabulary of " + textVocabulary + ", at least 1024 expected");
        }
        List<String> tokens = new ArrayList<>(SPECIAL);
        List<String> left = characters();
        while (tokens.size() < textVocabulary) {
            int id = tokens.size();
            if (id >= FIRST_NEWLINE && id <= LAST_NEWLINE) {
                tokens.add("\n".repeat(id - FIRST_NEWLINE + 1));
            } else if (id >= FIRST_BYTE && id < FIRST_BYTE + 256) {
                tokens.add(byteToken(id - FIRST_BYTE));
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

    /**
     * The content of a tokenizer.json of Llama's kind, with the tokens that LLaVA adds: {@code <image>} and {@code
     * <pad>}.
     *
     * @param textVocabulary ids before {@code <image>}, at least 512
     */
    public static Map<String, Object> llama(int textVocabulary) {
        if (textVocabulary < 512) {
            throw new IllegalArgumentException("a vocabulary of " + textVocabulary + ", at least 512 expected");
        }
        List<String> special = List.of("<unk>", "<s>", "</s>");
        List<String> tokens = new ArrayList<>(special);
        IntStream.range(0, 256).mapToObj(SyntheticTokenizer::byteToken).forEach(tokens::add);
        tokens.addAll(characters());
        while (tokens.size() < textVocabulary) {
            tokens.add("<unused" + tokens.size() + ">");
        }
        List<Object> added = new ArrayList<>();
        for (String token : special) {
            added.add(added(added.size(), token, true));
        }
        added.add(added(textVocabulary, "<image>", true));
        added.add(added(textVocabulary + 1, "<pad>", true));
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("version", "1.0");
        json.put("added_tokens", added);
        json.put("normalizer", Map.of("type", "Sequence", "normalizers", List.of(
                Map.of("type", "Prepend", "prepend", SPACE),
                Map.of("type", "Replace", "pattern", Map.of("String", " "), "content", SPACE))));
        json.put(
                "post_processor",
                Map.of(
                        "type",
                        "TemplateProcessing",
                        "single",
                        List.of(
                                Map.of("SpecialToken", Map.of("id", "<s>", "type_id", 0)),
                                Map.of("Sequence", Map.of("id", "A", "type_id", 0))),
                        "pair",
                        List.of(
                                Map.of("Sequence", Map.of("id", "A", "type_id", 0)),
                                Map.of("Sequence", Map.of("id", "B", "type_id", 1))),
                        "special_tokens",
                        Map.of("<s>", Map.of("id", "<s>", "ids", List.of(1), "tokens", List.of("<s>")))));
        json.put("decoder", Map.of("type", "Sequence", "decoders", List.of(
                Map.of("type", "Replace", "pattern", Map.of("String", SPACE), "content", " "),
                Map.of("type", "ByteFallback"),
                Map.of("type", "Fuse"),
                Map.of("type", "Strip", "content", " ", "start", 1, "stop", 0))));
        json.put("model", model(tokens));
        return json;
    }

    /**
     * The content of a tokenizer.json of CLIP's kind: a text in lower case between {@code <|startoftext|>} and {@code
     * <|endoftext|>}, the last two ids.
     *
     * @param vocabulary at least 514
     */
    public static Map<String, Object> clip(int vocabulary) {
        if (vocabulary < 514) {
            throw new IllegalArgumentException("a vocabulary of " + vocabulary + ", at least 514 expected");
        }
        List<String> tokens = new ArrayList<>();
        IntStream.range(0, 256).mapToObj(value -> String.valueOf(ByteAlphabet.charOf(value))).forEach(tokens::add);
        IntStream.range(0, 256).mapToObj(value -> ByteAlphabet.charOf(value) + "</w>").forEach(tokens::add);
        while (tokens.size() < vocabulary - 2) {
            tokens.add("<unused" + tokens.size() + ">");
        }
        List<String> special = List.of("<|startoftext|>", "<|endoftext|>");
        List<Object> added = new ArrayList<>();
        Map<String, Object> ids = new LinkedHashMap<>();
        for (String token : special) {
            ids.put(token, Map.of("id", token, "ids", List.of(tokens.size()), "tokens", List.of(token)));
            added.add(added(tokens.size(), token, true));
            tokens.add(token);
        }
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("version", "1.0");
        json.put("added_tokens", added);
        json.put("normalizer", Map.of("type", "Sequence", "normalizers", List.of(
                Map.of("type", "NFC"),
                Map.of("type", "Replace", "pattern", Map.of("Regex", "\\s+"), "content", " "),
                Map.of("type", "Lowercase"))));
        json.put(
                "pre_tokenizer",
                Map.of(
                        "type",
                        "Sequence",
                        "pretokenizers",
                        List.of(
                                Map.of(
                                        "type",
                                        "Split",
                                        "pattern",
                                        Map.of(
                                                "Regex",
                                                "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d"
                                                        + "|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"),
                                        "behavior",
                                        "Removed",
                                        "invert",
                                        true),
                                Map.of(
                                        "type",
                                        "ByteLevel",
                                        "add_prefix_space",
                                        false,
                                        "trim_offsets",
                                        true,
                                        "use_regex",
                                        true))));
        json.put(
                "post_processor",
                Map.of(
                        "type",
                        "TemplateProcessing",
                        "single",
                        List.of(
                                special(special.getFirst()),
                                Map.of("Sequence", Map.of("id", "A", "type_id", 0)),
                                special(special.getLast())),
                        "pair",
                        List.of(
                                Map.of("Sequence", Map.of("id", "A", "type_id", 0)),
                                Map.of("Sequence", Map.of("id", "B", "type_id", 1))),
                        "special_tokens",
                        ids));
        json.put(
                "decoder",
                Map.of("type", "ByteLevel", "add_prefix_space", true, "trim_offsets", true, "use_regex", true));
        Map<String, Object> model = model(tokens);
        model.put("unk_token", special.getLast());
        model.put("end_of_word_suffix", "</w>");
        model.put("fuse_unk", false);
        model.put("byte_fallback", false);
        json.put("model", model);
        return json;
    }

    /**
     * The content of a tokenizer.json of OPT's kind, in which {@code <image>} is the last id.
     *
     * @param newline id of the newline, which ends BLIP-2's answers; behind the bytes
     * @param image id of {@code <image>}, larger than that of the newline
     */
    public static Map<String, Object> opt(int newline, int image) {
        List<String> special = List.of("<s>", "<pad>", "</s>", "<unk>");
        if (newline < special.size() + 255 || image <= newline) {
            throw new IllegalArgumentException("a newline with id " + newline + " and an image with id " + image);
        }
        List<String> tokens = new ArrayList<>(special);
        IntStream.range(0, 256)
                .filter(value -> value != '\n')
                .mapToObj(value -> String.valueOf(ByteAlphabet.charOf(value)))
                .forEach(tokens::add);
        while (tokens.size() < image) {
            tokens.add(tokens.size() == newline
                    ? String.valueOf(ByteAlphabet.charOf('\n'))
                    : "<unused" + tokens.size() + ">");
        }
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("version", "1.0");
        json.put("added_tokens", List.of(
                added(1, special.get(1), true), added(2, special.get(2), true), added(image, "<image>", true)));
        json.put("pre_tokenizer", byteLevel(false));
        json.put("post_processor", Map.of(
                "type", "TemplateProcessing",
                "single", List.of(special("</s>"), Map.of("Sequence", Map.of("id", "A", "type_id", 0))),
                "pair", List.of(
                        Map.of("Sequence", Map.of("id", "A", "type_id", 0)),
                        Map.of("Sequence", Map.of("id", "B", "type_id", 1))),
                "special_tokens", Map.of("</s>", Map.of("id", "</s>", "ids", List.of(2), "tokens", List.of("</s>")))));
        json.put("decoder", byteLevel(true));
        Map<String, Object> model = model(tokens);
        model.put("fuse_unk", false);
        model.put("byte_fallback", false);
        json.put("model", model);
        return json;
    }

    /**
     * The content of a tokenizer.json of BERT's kind, uncased, between {@code [CLS]} and {@code [SEP]}; the last id is
     * {@code [DEC]}, which BLIP-2 adds.
     *
     * @param vocabulary at least 512
     */
    public static Map<String, Object> bert(int vocabulary) {
        if (vocabulary < 512) {
            throw new IllegalArgumentException("a vocabulary of " + vocabulary + ", at least 512 expected");
        }
        Map<Integer, String> special =
                Map.of(0, "[PAD]", 100, "[UNK]", 101, "[CLS]", 102, "[SEP]", 103, "[MASK]", vocabulary - 1, "[DEC]");
        List<String> left = new ArrayList<>();
        for (char c = '!'; c <= '~'; c++) {
            if (c < 'A' || c > 'Z') {
                left.add(String.valueOf(c));
                left.add("##" + c);
            }
        }
        List<String> tokens = new ArrayList<>();
        List<Object> added = new ArrayList<>();
        while (tokens.size() < vocabulary) {
            int id = tokens.size();
            if (special.containsKey(id)) {
                tokens.add(special.get(id));
                added.add(added(id, special.get(id), true));
            } else {
                tokens.add(id > 103 && !left.isEmpty() ? left.removeFirst() : "[unused" + id + "]");
            }
        }
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("version", "1.0");
        json.put("added_tokens", added);
        json.put("normalizer", Map.of(
                "type", "BertNormalizer", "clean_text", true, "handle_chinese_chars", true, "lowercase", true));
        json.put("pre_tokenizer", Map.of("type", "BertPreTokenizer"));
        json.put("post_processor", Map.of(
                "type", "TemplateProcessing",
                "single", List.of(
                        special("[CLS]"), Map.of("Sequence", Map.of("id", "A", "type_id", 0)), special("[SEP]")),
                "pair", List.of(
                        Map.of("Sequence", Map.of("id", "A", "type_id", 0)),
                        Map.of("Sequence", Map.of("id", "B", "type_id", 1))),
                "special_tokens", Map.of(
                        "[CLS]", Map.of("id", "[CLS]", "ids", List.of(101), "tokens", List.of("[CLS]")),
                        "[SEP]", Map.of("id", "[SEP]", "ids", List.of(102), "tokens", List.of("[SEP]")))));
        json.put("decoder", Map.of("type", "WordPiece", "prefix", "##", "cleanup", true));
        Map<String, Object> words = model(tokens);
        Map<String, Object> model = new LinkedHashMap<>();
        model.put("type", "WordPiece");
        model.put("unk_token", "[UNK]");
        model.put("continuing_subword_prefix", "##");
        model.put("max_input_chars_per_word", 100);
        model.put("vocab", words.get("vocab"));
        json.put("model", model);
        return json;
    }

    private static Map<String, Object> byteLevel(boolean prefixSpace) {
        return Map.of("type", "ByteLevel", "add_prefix_space", prefixSpace, "trim_offsets", true, "use_regex", true);
    }

    private static Map<String, Object> special(String token) {
        return Map.of("SpecialToken", Map.of("id", token, "type_id", 0));
    }

    /** What Llama and Gemma write for a space, and the printable characters of ASCII. */
    private static List<String> characters() {
        List<String> characters = new ArrayList<>(List.of(SPACE));
        for (char c = '!'; c <= '~'; c++) {
            characters.add(String.valueOf(c));
        }
        return characters;
    }

    private static String byteToken(int value) {
        return "<0x%02X>".formatted(value);
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

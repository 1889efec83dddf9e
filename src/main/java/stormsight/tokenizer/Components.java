package stormsight.tokenizer;

import java.nio.file.Path;
import java.text.Normalizer.Form;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import stormsight.checkpoint.CheckpointException;

/**
 * Makes the parts of a tokenizer out of what tokenizer.json says about them. Types and arguments that are not known
 * here are refused by name.
 */
final class Components {
    /** Real ones are made of up to seven. */
    private static final int MOST_STEPS = 32;

    /** Real ones make up to about sixty characters out of one (SigLIP's). */
    private static final int MOST_GROWTH = 1000;

    /** Of what is put in front or in place of something else: real ones are one character long. */
    private static final int LONGEST_CONTENT = 32;

    private final Path file;
    private int steps;

    Components(Path file) {
        this.file = file;
    }

    private Component component(String place, Object value) {
        if (++steps > MOST_STEPS) {
            throw new CheckpointException(file, place + ": more than " + MOST_STEPS + " components");
        }
        return new Component(file, place, value);
    }

    private List<Component> parts(Component component, String name) {
        List<Component> parts = component.components(name);
        steps += parts.size();
        if (steps > MOST_STEPS) {
            throw component.refused("more than " + MOST_STEPS + " components");
        }
        return parts;
    }

    private static CheckpointException unknown(Component component) {
        return component.refused(component.type().isEmpty() ? "no type" : "this type is not supported");
    }

    /** @param value null for none */
    Normalizer normalizer(Object value) {
        if (value == null) {
            return null;
        }
        Component component = component("normalizer", value);
        Normalizer normalizer = normalizer(component);
        if (normalizer.growth() > MOST_GROWTH) {
            throw component.refused("could make more than " + MOST_GROWTH + " characters out of one");
        }
        return normalizer;
    }

    private Normalizer normalizer(Component in) {
        Normalizer normalizer = switch (in.type()) {
            case "Sequence" ->
                new Normalizer.Sequence(parts(in, "normalizers").stream().map(this::normalizer).toList());
            case "Prepend" -> new Normalizer.Prepend(in.text("prepend", 1, LONGEST_CONTENT));
            case "Replace" -> new Normalizer.Replace(pattern(in), in.text("content", 0, LONGEST_CONTENT));
            case "NFC" -> new Normalizer.Unicode(Form.NFC);
            case "NFD" -> new Normalizer.Unicode(Form.NFD);
            case "NFKC" -> new Normalizer.Unicode(Form.NFKC);
            case "NFKD" -> new Normalizer.Unicode(Form.NFKD);
            case "Lowercase" -> new Normalizer.Lowercase();
            case "Strip" -> new Normalizer.Strip(in.flag("strip_left", true), in.flag("strip_right", true));
            case "StripAccents" -> new Normalizer.StripAccents();
            case "BertNormalizer" -> {
                boolean lowercase = in.flag("lowercase", true);
                yield new Normalizer.Bert(in.flag("clean_text", true), in.flag("handle_chinese_chars", true),
                        in.flag("strip_accents", lowercase), lowercase);
            }
            case "Precompiled" -> new Normalizer.Precompiled(charsmap(in));
            default -> throw unknown(in);
        };
        in.end();
        return normalizer;
    }

    private static Charsmap charsmap(Component in) {
        try {
            return new Charsmap(Base64.getDecoder().decode(in.text("precompiled_charsmap", 0, Integer.MAX_VALUE)));
        } catch (IllegalArgumentException e) {
            throw in.refused(e.getMessage());
        }
    }

    private static Pattern pattern(Component in) {
        Map<?, ?> pattern = in.map("pattern");
        if (pattern.size() == 1 && pattern.get("String") instanceof String string && !string.isEmpty()) {
            return Pattern.compile(Pattern.quote(string));
        }
        Pattern known = pattern.size() == 1 && pattern.get("Regex") instanceof String regex
                ? KnownPattern.of(regex)
                : null;
        if (known == null) {
            throw in.refused("the pattern " + Vocabulary.quoted(String.valueOf(pattern)) + " is not supported");
        }
        return known;
    }

    /** @param value null for none */
    PreTokenizer preTokenizer(Object value) {
        return value == null ? null : preTokenizer(component("pre_tokenizer", value));
    }

    private PreTokenizer preTokenizer(Component in) {
        PreTokenizer preTokenizer = switch (in.type()) {
            case "Sequence" ->
                new PreTokenizer.Sequence(parts(in, "pretokenizers").stream().map(this::preTokenizer).toList());
            case "Split" -> new PreTokenizer.Split(pattern(in), behavior(in), in.flag("invert", false));
            case "ByteLevel" -> {
                in.ignore("trim_offsets");
                yield new PreTokenizer.ByteLevel(in.flag("add_prefix_space", true), in.flag("use_regex", true));
            }
            case "Metaspace" -> new PreTokenizer.Metaspace(sign(in), prepend(in), in.flag("split", true));
            case "WhitespaceSplit" -> new PreTokenizer.WhitespaceSplit();
            case "BertPreTokenizer" -> new PreTokenizer.Bert();
            default -> throw unknown(in);
        };
        in.end();
        return preTokenizer;
    }

    private static PreTokenizer.Behavior behavior(Component in) {
        return switch (in.text("behavior", "")) {
            case "Removed" -> PreTokenizer.Behavior.REMOVED;
            case "Isolated" -> PreTokenizer.Behavior.ISOLATED;
            case "MergedWithPrevious" -> PreTokenizer.Behavior.MERGED_WITH_PREVIOUS;
            case "MergedWithNext" -> PreTokenizer.Behavior.MERGED_WITH_NEXT;
            case "Contiguous" -> PreTokenizer.Behavior.CONTIGUOUS;
            default -> throw in.refused("no known behavior");
        };
    }

    private static char sign(Component in) {
        in.ignore("str_rep");
        char sign = in.text("replacement", 1, 1).charAt(0);
        if (Character.isSurrogate(sign)) {
            throw in.refused("replacement is no character");
        }
        return sign;
    }

    private static PreTokenizer.Prepend prepend(Component in) {
        PreTokenizer.Prepend prepend = switch (in.text("prepend_scheme", "always")) {
            case "always" -> PreTokenizer.Prepend.ALWAYS;
            case "first" -> PreTokenizer.Prepend.FIRST;
            case "never" -> PreTokenizer.Prepend.NEVER;
            default -> throw in.refused("no known prepend_scheme");
        };
        if (!in.flag("add_prefix_space", true)) {
            if (prepend != PreTokenizer.Prepend.NEVER && in.value("prepend_scheme") != null) {
                throw in.refused("add_prefix_space and prepend_scheme contradict each other");
            }
            return PreTokenizer.Prepend.NEVER;
        }
        return prepend;
    }

    /** @param value null for none, which puts spaces between tokens */
    Decoder decoder(Object value) {
        return value == null ? new Decoder.Spaces() : decoder(component("decoder", value), false);
    }

    /** @param joined whether a step before this one joins the tokens to one text */
    private Decoder decoder(Component in, boolean joined) {
        Decoder decoder = switch (in.type()) {
            case "Sequence" -> {
                List<Decoder> decoders = new ArrayList<>();
                boolean soFar = joined;
                for (Component part : parts(in, "decoders")) {
                    Decoder next = decoder(part, soFar);
                    decoders.add(next);
                    soFar |= next.joins();
                }
                yield new Decoder.Sequence(decoders);
            }
            case "Strip" -> strip(in, joined);
            case "Fuse" -> new Decoder.Fuse();
            default -> {
                if (joined) {
                    throw in.refused("not supported after tokens were joined");
                }
                yield ofTokens(in);
            }
        };
        in.end();
        return decoder;
    }

    private static Decoder ofTokens(Component in) {
        return switch (in.type()) {
            case "Replace" -> {
                Map<?, ?> pattern = in.map("pattern");
                if (pattern.size() != 1 || !(pattern.get("String") instanceof String string) || string.isEmpty()) {
                    throw in.refused("the pattern " + Vocabulary.quoted(String.valueOf(pattern)) + " is not supported");
                }
                yield new Decoder.Replace(string, in.text("content", 0, LONGEST_CONTENT));
            }
            case "ByteFallback" -> new Decoder.ByteFallback();
            case "ByteLevel" -> {
                in.ignore("add_prefix_space", "trim_offsets", "use_regex");
                yield new Decoder.ByteLevel();
            }
            case "Metaspace" -> {
                in.ignore("split");
                yield new Decoder.Metaspace(sign(in), prepend(in));
            }
            case "WordPiece" -> new Decoder.WordPiece(in.text("prefix", 0, LONGEST_CONTENT), in.flag("cleanup", true));
            default -> throw unknown(in);
        };
    }

    private static Decoder strip(Component in, boolean joined) {
        String content = in.text("content", 1, 2);
        if (content.codePointCount(0, content.length()) != 1) {
            throw in.refused("content is not one character");
        }
        in.number("stop", 0, 0);
        return new Decoder.Strip(content.codePointAt(0), in.number("start", 0, Integer.MAX_VALUE), joined);
    }

    /** @param value null for none */
    PostProcessor postProcessor(Object value, TokenIds ids) {
        return value == null ? PostProcessor.NONE : postProcessor(component("post_processor", value), ids);
    }

    /** What looks up ids of tokens, added ones included; -1 for none. */
    interface TokenIds {
        int id(String token);
    }

    private PostProcessor postProcessor(Component in, TokenIds ids) {
        PostProcessor result = switch (in.type()) {
            case "Sequence" -> {
                PostProcessor all = PostProcessor.NONE;
                for (Component part : parts(in, "processors")) {
                    all = all.then(postProcessor(part, ids));
                }
                yield all;
            }
            case "TemplateProcessing" -> template(in, ids);
            case "RobertaProcessing", "BertProcessing" -> {
                in.ignore("trim_offsets", "add_prefix_space");
                yield new PostProcessor(new int[] {pair(in, "cls", ids)}, new int[] {pair(in, "sep", ids)});
            }
            case "ByteLevel" -> {
                in.ignore("add_prefix_space", "trim_offsets", "use_regex");
                yield PostProcessor.NONE;
            }
            default -> throw unknown(in);
        };
        in.end();
        return result;
    }

    /** A token with its id: ["</s>", 2]. */
    private static int pair(Component in, String name, TokenIds ids) {
        List<?> pair = in.list(name);
        if (pair.size() != 2 || !(pair.get(0) instanceof String token) || !(pair.get(1) instanceof Integer id)) {
            throw in.refused(name + " is no token with its id");
        }
        return checked(in, token, id, ids);
    }

    private static int checked(Component in, String token, int id, TokenIds ids) {
        if (ids.id(token) != id) {
            throw in.refused(Vocabulary.quoted(token) + " has the id " + id + " here, "
                    + (ids.id(token) < 0 ? "and none" : ids.id(token)) + " in the vocabulary");
        }
        return id;
    }

    private static PostProcessor template(Component in, TokenIds ids) {
        in.ignore("pair");
        Map<?, ?> tokens = in.map("special_tokens");
        List<Integer> before = new ArrayList<>();
        List<Integer> after = new ArrayList<>();
        int texts = 0;
        for (Object piece : in.list("single")) {
            if (!(piece instanceof Map<?, ?> map) || map.size() != 1) {
                throw in.refused("single holds something else than tokens and sequences");
            }
            if (map.get("Sequence") instanceof Map<?, ?> sequence && "A".equals(sequence.get("id"))) {
                texts++;
            } else if (map.get("SpecialToken") instanceof Map<?, ?> token
                    && tokens.get(token.get("id")) instanceof Map<?, ?> named) {
                (texts == 0 ? before : after).addAll(ids(in, named, ids));
            } else {
                throw in.refused("single holds something else than the sequence A and the special_tokens");
            }
        }
        if (texts != 1) {
            throw in.refused("single holds the sequence A " + texts + " times");
        }
        return new PostProcessor(before.stream().mapToInt(i -> i).toArray(), after.stream().mapToInt(i -> i).toArray());
    }

    private static List<Integer> ids(Component in, Map<?, ?> named, TokenIds ids) {
        if (!(named.get("ids") instanceof List<?> numbers) || !(named.get("tokens") instanceof List<?> spelled)
                || numbers.size() != spelled.size() || numbers.size() > MOST_STEPS) {
            throw in.refused("special_tokens need as many ids as tokens");
        }
        List<Integer> result = new ArrayList<>();
        for (int i = 0; i < numbers.size(); i++) {
            if (!(numbers.get(i) instanceof Integer id) || !(spelled.get(i) instanceof String token)) {
                throw in.refused("special_tokens need as many ids as tokens");
            }
            result.add(checked(in, token, id, ids));
        }
        return result;
    }
}

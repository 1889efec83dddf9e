package stormsight.tokenizer;

import java.io.ByteArrayInputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.StrictJson;

/**
 * Reads a tokenizer.json and checks all of it: what is opened can be used. Truncation and padding are passed over:
 * callers say what they need.
 *
 * @see <a href="https://huggingface.co/docs/tokenizers">the tokenizers library</a>, which writes such files and decides
 *     what they mean
 */
final class TokenizerFile {
    private TokenizerFile() {}

    /** What a tokenizer is made of. */
    record Parts(
            Vocabulary vocabulary, AddedTokens added, Cutter cutter, Decoder decoder, PostProcessor postProcessor) {
        Parts with(Cutter.Pipeline other) {
            return new Parts(vocabulary, other.added(), other, decoder, postProcessor);
        }
    }

    /** @throws CheckpointException if the file is broken or holds what is not supported */
    static Parts read(Path file, JsonScanner in) {
        Map<String, Object> components = new HashMap<>();
        ModelReader model = new ModelReader(file);
        try {
            in.skipByteOrderMark();
            if (in.peek() < 0) {
                throw StrictJson.empty(file, "the file");
            }
            if (in.peek() != '{') {
                throw new CheckpointException(file, "not a JSON object");
            }
            for (boolean more = in.begin('{', '}'); more; more = in.next('}')) {
                String key = in.string();
                in.expect(':');
                boolean again = components.containsKey(key);
                if (key.equals("model") && in.peek() == '{' && !again) {
                    model.read(in);
                    components.put(key, "");
                } else {
                    components.put(key, value(file, StrictJson.printable(key), in));
                }
                if (again) {
                    throw new CheckpointException(file, "the key " + StrictJson.printable(key) + " twice");
                }
            }
            if (in.peek() >= 0) {
                throw in.unexpected();
            }
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file, "not valid JSON: " + e.getMessage(), e);
        }
        if (model.vocabulary() == null) {
            throw new CheckpointException(file, "no model");
        }
        return parts(file, components, added(file, components.get("added_tokens")), model);
    }

    /** The value that comes next. */
    static Object value(Path file, String what, JsonScanner in) {
        return StrictJson.read(file, what, new ByteArrayInputStream(in.value()), StrictJson::value);
    }

    private static Parts parts(
            Path file, Map<String, Object> components, List<AddedTokens.Added> added, ModelReader model) {
        model.type();
        Vocabulary vocabulary = model.vocabulary();
        Map<String, Integer> addedIds = new HashMap<>();
        Map<Integer, String> contents = new HashMap<>();
        for (AddedTokens.Added token : added) {
            String quoted = Vocabulary.quoted(token.content());
            String there = vocabulary.token(token.id());
            int known = vocabulary.id(token.content());
            if (there != null && !there.equals(token.content())) {
                throw new CheckpointException(file, "the added token " + quoted + " has the id " + token.id() + " of "
                        + Vocabulary.quoted(there));
            }
            if (known >= 0 && known != token.id()) {
                throw new CheckpointException(file, "the added token " + quoted + " has the id " + token.id()
                        + ", in the vocabulary " + known);
            }
            if (addedIds.put(token.content(), token.id()) != null) {
                throw new CheckpointException(file, "the added token " + quoted + " twice");
            }
            String other = contents.put(token.id(), token.content());
            if (other != null) {
                throw new CheckpointException(file, "the added tokens " + Vocabulary.quoted(other) + " and " + quoted
                        + " both have the id " + token.id());
            }
        }
        Components.TokenIds ids = token -> {
            Integer id = addedIds.get(token);
            return id == null ? vocabulary.id(token) : id;
        };
        Components reader = new Components(file);
        Normalizer normalizer = reader.normalizer(components.get("normalizer"));
        AddedTokens matcher;
        try {
            matcher = new AddedTokens(added, normalizer);
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file, e.getMessage(), e);
        }
        PreTokenizer preTokenizer = reader.preTokenizer(components.get("pre_tokenizer"));
        Model cutter = model.model(ids);
        Decoder decoder = reader.decoder(components.get("decoder"));
        if (cutter instanceof Bpe bpe && !bpe.suffix().isEmpty()) {
            decoder = new Decoder.Sequence(List.of(decoder, new Decoder.WordEnds(bpe.suffix())));
        }
        return new Parts(vocabulary, matcher, new Cutter.Pipeline(matcher, preTokenizer, cutter), decoder,
                reader.postProcessor(components.get("post_processor"), ids));
    }

    private static List<AddedTokens.Added> added(Path file, Object value) {
        if (value == null) {
            return List.of();
        }
        if (!(value instanceof List<?> list)) {
            throw new CheckpointException(file, "added_tokens: not a list");
        }
        List<AddedTokens.Added> added = new ArrayList<>();
        for (Object entry : list) {
            Component in = new Component(file, "added_tokens", entry);
            String content = in.text("content", 0, AddedTokens.LONGEST);
            boolean special = in.flag("special", false);
            added.add(new AddedTokens.Added(in.number("id", 0, Vocabulary.MOST_IDS - 1), content,
                    in.flag("normalized", !special), in.flag("single_word", false), in.flag("lstrip", false),
                    in.flag("rstrip", false), special));
            in.end();
            if (content.isEmpty()) {
                throw new CheckpointException(file, "added_tokens: the token " + added.getLast().id() + " is empty");
            }
        }
        return added;
    }
}

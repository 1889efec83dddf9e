package stormsight.tokenizer;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import stormsight.checkpoint.CheckpointException;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.TokenStreamFactory;
import tools.jackson.core.json.JsonFactory;

/**
 * What the tokenizers library knows of a tokenizer.json and does not tell. Merges are passed over, so that a file of hundreds of
 * thousands of them is read in little time and memory.
 *
 * @param vocabulary of the model, without added tokens
 * @param byteFallback whether the decoder turns tokens {@code <0xHH>} into bytes
 */
record TokenizerFile(Map<String, Integer> vocabulary, Map<String, Added> added, boolean byteFallback) {
    /** An upper limit that no vocabulary comes near: ids are indexes of arrays. */
    private static final int MOST_IDS = 1 << 24;

    record Added(int id, boolean special) {}

    static TokenizerFile parse(Path file, byte[] json) {
        // Names are the vocabulary: a symbol table of them would only cost.
        JsonFactory factory = JsonFactory.builder()
                .disable(TokenStreamFactory.Feature.CANONICALIZE_PROPERTY_NAMES)
                .build();
        Map<String, Integer> vocabulary = new HashMap<>();
        Map<String, Added> added = new LinkedHashMap<>();
        boolean byteFallback = false;
        try (JsonParser in = factory.createParser(ObjectReadContext.empty(), json)) {
            if (in.nextToken() != JsonToken.START_OBJECT) {
                throw new CheckpointException(file, "not a JSON object");
            }
            while (in.nextToken() == JsonToken.PROPERTY_NAME) {
                String key = in.currentName();
                JsonToken value = in.nextToken();
                if (key.equals("added_tokens") && value == JsonToken.START_ARRAY) {
                    while (in.nextToken() == JsonToken.START_OBJECT) {
                        readAdded(file, in, added);
                    }
                } else if (key.equals("model") && value == JsonToken.START_OBJECT) {
                    readModel(file, in, vocabulary);
                } else if (key.equals("decoder") && value == JsonToken.START_OBJECT) {
                    byteFallback = mentionsByteFallback(in);
                } else {
                    in.skipChildren();
                }
            }
        } catch (JacksonException e) {
            throw new CheckpointException(file, "broken JSON (" + e.getOriginalMessage() + ")", e);
        }
        if (vocabulary.isEmpty()) {
            throw new CheckpointException(file, "no vocabulary");
        }
        return new TokenizerFile(vocabulary, added, byteFallback);
    }

    private static void readAdded(Path file, JsonParser in, Map<String, Added> added) {
        String content = null;
        int id = -1;
        boolean special = false;
        while (in.nextToken() == JsonToken.PROPERTY_NAME) {
            String key = in.currentName();
            JsonToken value = in.nextToken();
            switch (key) {
                case "content" -> content = in.getValueAsString();
                case "id" -> id = id(file, in, content);
                case "special" -> special = value == JsonToken.VALUE_TRUE;
                default -> in.skipChildren();
            }
        }
        if (content == null || id < 0) {
            throw new CheckpointException(file, "an added token without content or id");
        }
        added.put(content, new Added(id, special));
    }

    private static void readModel(Path file, JsonParser in, Map<String, Integer> vocabulary) {
        while (in.nextToken() == JsonToken.PROPERTY_NAME) {
            String key = in.currentName();
            JsonToken value = in.nextToken();
            if (key.equals("vocab") && value == JsonToken.START_OBJECT) {
                while (in.nextToken() == JsonToken.PROPERTY_NAME) {
                    String token = in.currentName();
                    in.nextToken();
                    vocabulary.put(token, id(file, in, token));
                }
            } else if (key.equals("vocab") && value == JsonToken.START_ARRAY) {
                // A Unigram model: [token, score] in order of id.
                for (int id = 0; in.nextToken() == JsonToken.START_ARRAY; id++) {
                    in.nextToken();
                    vocabulary.put(in.getValueAsString(""), id);
                    while (in.nextToken() != JsonToken.END_ARRAY) {
                        in.skipChildren();
                    }
                }
            } else {
                in.skipChildren();
            }
        }
    }

    private static int id(Path file, JsonParser in, String token) {
        int id = in.currentToken() == JsonToken.VALUE_NUMBER_INT ? in.getValueAsInt(-1) : -1;
        if (id < 0 || id >= MOST_IDS) {
            throw new CheckpointException(file, "token \"" + token + "\" has the id " + in.getString());
        }
        return id;
    }

    private static boolean mentionsByteFallback(JsonParser in) {
        boolean found = false;
        int depth = 1;
        while (depth > 0) {
            JsonToken token = in.nextToken();
            if (token.isStructStart()) {
                depth++;
            } else if (token.isStructEnd()) {
                depth--;
            } else if (token == JsonToken.VALUE_STRING && "type".equals(in.currentName())) {
                found |= "ByteFallback".equals(in.getString());
            }
        }
        return found;
    }
}

package stormsight.serve;

import io.helidon.webserver.http.ServerResponse;
import java.util.LinkedHashMap;
import java.util.Map;
import stormsight.checkpoint.StrictJson;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The objects of OpenAI's interface. */
final class Json {
    /** A body has a limit of its own, so that an image in it, which is one text, needs none. */
    private static final JsonMapper MAPPER = JsonMapper.builder(JsonFactory.builder()
                    .streamReadConstraints(StreamReadConstraints.builder()
                            .maxStringLength(Integer.MAX_VALUE)
                            .build())
                    .build())
            .build();

    private Json() {}

    static JsonNode read(byte[] body) {
        JsonNode read;
        try {
            read = MAPPER.readTree(body);
        } catch (JacksonException e) {
            throw ApiException.invalid("the body is not JSON: " + StrictJson.problem(e));
        }
        if (!read.isObject()) {
            throw ApiException.invalid("the body is not a JSON object");
        }
        return read;
    }

    static String text(Object object) {
        return MAPPER.writeValueAsString(object);
    }

    static void send(ServerResponse response, Object object) {
        response.header("Content-Type", "application/json").send(MAPPER.writeValueAsBytes(object));
    }

    static Map<String, Object> error(ApiException e) {
        Map<String, Object> inner = new LinkedHashMap<>();
        inner.put("message", e.getMessage());
        inner.put("type", e.type());
        inner.put("param", null);
        inner.put("code", e.code());
        return Map.of("error", inner);
    }

    static Map<String, Object> usage(int prompt, int answer) {
        return Map.of("prompt_tokens", prompt, "completion_tokens", answer, "total_tokens", prompt + answer);
    }
}

package stormsight.serve;

import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import stormsight.generate.Answer;

/** An answer to {@code /v1/chat/completions} on its way to a client: one object, or events as its text comes. */
final class ChatReply {
    private final ServerResponse response;
    private final ChatRequest chat;
    private final String model;
    private final String id = "chatcmpl-" + UUID.randomUUID().toString().replace("-", "");
    private final long created = System.currentTimeMillis() / 1000;
    private OutputStream out;

    ChatReply(ServerResponse response, ChatRequest chat, String model) {
        this.response = response;
        this.chat = chat;
        this.model = model;
    }

    /** Whether the status was sent, so that it is too late for another one. */
    boolean begun() {
        return out != null;
    }

    /** A comment, so that nothing between here and the client thinks that the connection is dead. */
    void heartbeat() throws IOException {
        if (chat.stream()) {
            write(": waiting\n\n");
        }
    }

    void text(String piece) throws IOException {
        if (chat.stream()) {
            event(chunk(Map.of("content", piece), null));
        }
    }

    void done(Answer answer) throws IOException {
        String finish = answer.stop() == Answer.Stop.LENGTH ? "length" : "stop";
        Map<String, Object> usage = Json.usage(answer.promptTokens(), answer.tokens().size());
        if (!chat.stream()) {
            Map<String, Object> choice = new LinkedHashMap<>();
            choice.put("index", 0);
            choice.put("message", Map.of("role", "assistant", "content", answer.text()));
            choice.put("logprobs", null);
            choice.put("finish_reason", finish);
            Map<String, Object> whole = object("chat.completion", List.of(choice));
            whole.put("usage", usage);
            Json.send(response, whole);
            return;
        }
        event(chunk(Map.of(), finish));
        if (chat.usage()) {
            Map<String, Object> last = object("chat.completion.chunk", List.of());
            last.put("usage", usage);
            event(last);
        }
        write("data: [DONE]\n\n");
        out.close();
    }

    /** Ends a stream that began. */
    void failed(ApiException e) throws IOException {
        event(Json.error(e));
        out.close();
    }

    private void write(String text) throws IOException {
        if (out == null) {
            response.header("Content-Type", "text/event-stream");
            response.header("Cache-Control", "no-cache");
            out = response.outputStream();
            event(chunk(Map.of("role", "assistant", "content", ""), null));
        }
        out.write(text.getBytes(StandardCharsets.UTF_8));
        out.flush();
    }

    private void event(Object object) throws IOException {
        write("data: " + Json.text(object) + "\n\n");
    }

    private Map<String, Object> chunk(Map<String, Object> delta, String finish) {
        Map<String, Object> choice = new LinkedHashMap<>();
        choice.put("index", 0);
        choice.put("delta", delta);
        choice.put("finish_reason", finish);
        return object("chat.completion.chunk", List.of(choice));
    }

    private Map<String, Object> object(String kind, List<?> choices) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("id", id);
        object.put("object", kind);
        object.put("created", created);
        object.put("model", model);
        object.put("choices", choices);
        return object;
    }
}

package stormsight.serve;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.generate.Generator;
import stormsight.generate.Scheduler;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.EmbeddedModel;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The embedded model behind a server on loopback, and how clients of a test ask it. */
final class Served implements AutoCloseable {
    static final String CHAT = "/v1/chat/completions";
    static final String CAPTION = "a red triangle, a purple star and a blue triangle";
    static final String KEY = "sesame";
    static final int MAX_BODY = 1 << 20;
    static final int MAX_PIXELS = 1 << 20;
    static final int MAX_TOKENS = 128;
    static final JsonMapper JSON = JsonMapper.shared();
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    final Backend backend = Backends.open("cpu", BackendOptions.DEFAULT);
    final ModelDirectory directory;
    final Scheduler scheduler;
    final Server server;

    /** Answers so many requests at a time, of so many that may be there. */
    Served(int sequences, int places, Duration timeout) {
        this(sequences, places, timeout, "shapes");
    }

    Served(int sequences, int places, Duration timeout, String name) {
        this(sequences, places, timeout, name, false);
    }

    /** @param name of the model */
    Served(int sequences, int places, Duration timeout, String name, boolean remote) {
        this(sequences, places, timeout, name, remote, EmbeddedModel.open(Optional.empty()));
    }

    /** @param directory of another model; is closed with the server */
    Served(int sequences, int places, Duration timeout, String name, boolean remote, ModelDirectory directory) {
        this.directory = directory;
        Limits limits = directory.limitsWithin(64, MAX_TOKENS).withSequences(sequences);
        scheduler = Scheduler.open(
                () -> Generator.open(directory, backend, limits, Options.DEFAULT, RunListener.NONE, List.of()), places);
        server = new Server(options(places, timeout, Optional.of(KEY), remote), name, Optional.of(scheduler),
                Optional.empty());
    }

    static ServerOptions options(int places, Duration timeout, Optional<String> key, boolean remote) {
        return new ServerOptions("127.0.0.1", 0, key, Optional.of(Path.of("examples")), remote, MAX_BODY, MAX_PIXELS,
                places, timeout, MAX_TOKENS);
    }

    @Override
    public void close() {
        server.close();
        scheduler.close();
        directory.close();
        backend.close();
    }

    static HttpRequest.Builder to(Server server, String path) {
        return HttpRequest.newBuilder(URI.create("http://localhost:" + server.port() + path))
                .header("Authorization", "Bearer " + KEY)
                .header("Content-Type", "application/json");
    }

    static CompletableFuture<HttpResponse<String>> send(Server server, String path, String body) {
        return CLIENT.sendAsync(
                to(server, path).POST(HttpRequest.BodyPublishers.ofString(body)).build(),
                HttpResponse.BodyHandlers.ofString());
    }

    static HttpResponse<String> post(Server server, String path, String body) {
        return send(server, path, body).join();
    }

    HttpResponse<String> ask(String body) {
        return post(server, CHAT, body);
    }

    HttpResponse<String> get(String path, String key) throws IOException, InterruptedException {
        return CLIENT.send(HttpRequest.newBuilder(URI.create("http://localhost:" + server.port() + path))
                .header("Authorization", "Bearer " + key).build(), HttpResponse.BodyHandlers.ofString());
    }

    static String question(String url, String text, Map<String, Object> more) {
        Map<String, Object> body = new LinkedHashMap<>(more);
        body.put("messages", List.of(Map.of("role", "user", "content", List.of(
                Map.of("type", "text", "text", text),
                Map.of("type", "image_url", "image_url", Map.of("url", url))))));
        return JSON.writeValueAsString(body);
    }

    static String caption(Map<String, Object> more) {
        return question("kitchen.png", "caption en", more);
    }

    static String data(byte[] file) {
        return "data:image/png;base64," + Base64.getEncoder().encodeToString(file);
    }

    static String content(HttpResponse<String> response) {
        assertEquals(200, response.statusCode(), response.body());
        return JSON.readTree(response.body()).at("/choices/0/message/content").asString();
    }

    /** Refused, and told why. */
    static void refused(int status, String code, HttpResponse<String> response) {
        assertEquals(status, response.statusCode(), response.body());
        refused(code, response.body());
    }

    static void refused(String code, String body) {
        JsonNode error = JSON.readTree(body).path("error");
        assertEquals(code, error.path("code").asString(), body);
        assertTrue(error.path("message").asString().length() > 10, body);
    }

    /** Waits until no request is left. */
    void awaitEmpty() throws InterruptedException {
        long end = System.nanoTime() + Duration.ofSeconds(20).toNanos();
        while (scheduler.running() + scheduler.waiting() > 0) {
            assertTrue(System.nanoTime() < end, "still answers somebody who left");
            Thread.sleep(10);
        }
    }
}

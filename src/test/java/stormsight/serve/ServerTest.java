package stormsight.serve;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static stormsight.serve.Served.CAPTION;
import static stormsight.serve.Served.CHAT;
import static stormsight.serve.Served.CLIENT;
import static stormsight.serve.Served.JSON;
import static stormsight.serve.Served.KEY;
import static stormsight.serve.Served.MAX_BODY;
import static stormsight.serve.Served.caption;
import static stormsight.serve.Served.content;
import static stormsight.serve.Served.data;
import static stormsight.serve.Served.post;
import static stormsight.serve.Served.question;
import static stormsight.serve.Served.refused;
import static stormsight.serve.Served.send;
import static stormsight.serve.Served.to;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import stormsight.backend.RunListener;
import stormsight.generate.AnswerListener;
import stormsight.generate.Request;
import stormsight.image.ImageDecoder;
import stormsight.match.Embedder;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.EmbeddedModel;
import stormsight.model.family.Families;
import stormsight.program.Sampling;
import tools.jackson.databind.JsonNode;

/** The server as clients meet it. */
@Timeout(120)
class ServerTest {
    private static final int CLIENTS = 16;

    @TempDir
    private static Path elsewhere;

    private static Served served;
    private static Server server;

    @BeforeAll
    static void start() {
        served = new Served(4, 4 + CLIENTS, Duration.ofSeconds(60));
        server = served.server;
    }

    @AfterAll
    static void stop() {
        served.close();
    }

    @Test
    void imagesComeAsDataAndAsFiles() throws IOException {
        byte[] kitchen = Files.readAllBytes(Path.of("examples", "kitchen.png"));
        HttpResponse<String> answer = post(server, CHAT, question(data(kitchen), "caption en", Map.of()));
        assertEquals(CAPTION, content(answer));
        JsonNode whole = JSON.readTree(answer.body());
        assertEquals("stop", whole.at("/choices/0/finish_reason").asString());
        assertEquals(260, whole.at("/usage/prompt_tokens").asInt());
        assertEquals(CAPTION, content(post(server, CHAT, question("kitchen.png", "caption en", Map.of()))));
        assertEquals(CAPTION, content(post(server, CHAT, question(
                Path.of("examples", "kitchen.png").toAbsolutePath().toUri().toString(), "caption en", Map.of()))));
        JsonNode cut = JSON.readTree(
                post(server, CHAT, question("kitchen.png", "caption en", Map.of("max_tokens", 2))).body());
        assertEquals("length", cut.at("/choices/0/finish_reason").asString());
        assertEquals(2, cut.at("/usage/completion_tokens").asInt());
        assertEquals("a red triangle, a purple star", content(post(server, CHAT, caption(Map.of("stop", " and")))));
    }

    /** As the same penalty does elsewhere; no penalty may be said, too. */
    @Test
    void aRepetitionPenaltyChangesTheAnswer() throws InterruptedException {
        assertEquals(CAPTION, content(post(server, CHAT, caption(Map.of("repetition_penalty", 1)))));
        Request request = new Request(
                List.of(new ImageDecoder().decode(Path.of("examples", "kitchen.png"))),
                "caption en",
                128,
                Sampling.GREEDY,
                0,
                List.of(),
                50f);
        String expected = served.scheduler.submit(request).orElseThrow().await(AnswerListener.NONE).text();
        assertNotEquals(CAPTION, expected);
        assertEquals(expected, content(post(server, CHAT, caption(Map.of("repetition_penalty", 50)))));
        assertEquals(CAPTION, content(post(server, CHAT,
                caption(Map.of("frequency_penalty", 0, "presence_penalty", 0)))));
        for (String name : List.of("frequency_penalty", "presence_penalty")) {
            HttpResponse<String> response = post(server, CHAT, caption(Map.of(name, 0.5)));
            refused(400, "invalid_request", response);
            assertTrue(response.body().contains("'" + name + "' is not supported"), response.body());
        }
        refused(400, "invalid_request", post(server, CHAT, caption(Map.of("repetition_penalty", 0))));
        assertEquals(
                200, post(server, CHAT, caption(Map.of("repetition_penalty", 5000, "max_tokens", 1))).statusCode());
        HttpResponse<String> hot = post(server, CHAT, caption(Map.of("temperature", 5000)));
        refused(400, "invalid_request", hot);
        assertTrue(hot.body().contains("'temperature' is 5000, not a number from 0.0 to 1000.0"), hot.body());
    }

    @Test
    void eventsMakeTheAnswer() {
        HttpResponse<String> answer = post(server, CHAT, question("kitchen.png", "caption en",
                Map.of("stream", true, "stream_options", Map.of("include_usage", true))));
        assertEquals(200, answer.statusCode());
        assertTrue(answer.headers().firstValue("Content-Type").orElse("").startsWith("text/event-stream"));
        List<String> events = answer.body().lines().filter(line -> line.startsWith("data: "))
                .map(line -> line.substring(6)).toList();
        assertEquals("[DONE]", events.getLast());
        List<JsonNode> chunks = events.subList(0, events.size() - 1).stream().map(JSON::readTree).toList();
        assertEquals(CAPTION, chunks.stream()
                .map(chunk -> chunk.at("/choices/0/delta/content").asString(""))
                .collect(Collectors.joining()));
        assertEquals(260, chunks.getLast().at("/usage/prompt_tokens").asInt());
        assertEquals("stop", chunks.get(chunks.size() - 2).at("/choices/0/finish_reason").asString());
    }

    /** Different questions at the same time: each client gets the answer to its own. */
    @Test
    void manyClientsGetTheirOwnAnswers() {
        List<EmbeddedModel.Example> examples = EmbeddedModel.examples();
        List<String> bodies = IntStream.range(0, CLIENTS).mapToObj(i -> examples.get(i * 5 % examples.size()))
                .map(example -> question(example.image(), example.prompt(), Map.of())).toList();
        List<String> alone = bodies.stream().map(body -> content(post(server, CHAT, body))).toList();
        assertTrue(alone.stream().distinct().count() > 5, alone.toString());
        for (int round = 0; round < 3; round++) {
            List<CompletableFuture<HttpResponse<String>>> together = bodies.stream()
                    .map(body -> send(server, CHAT, body))
                    .toList();
            assertEquals(alone, together.stream().map(answer -> content(answer.join())).toList());
        }
    }

    @Test
    void aPortThatIsTakenIsSaidInOneLine() {
        ServerOptions free = Served.options(1, Duration.ofSeconds(60), Optional.empty(), false);
        ServerOptions taken = new ServerOptions(free.host(), server.port(), free.apiKey(), free.root(), false,
                free.maxBody(), free.maxPixels(), 1, free.timeout(), free.maxTokens());
        UncheckedIOException e = assertThrows(UncheckedIOException.class,
                () -> new Server(taken, "shapes", Optional.empty(), Optional.empty()));
        assertTrue(e.getMessage().startsWith("127.0.0.1:" + server.port() + " cannot be listened on: Address"),
                e.getMessage());
    }

    @Test
    void headIsAnsweredLikeGet() throws IOException, InterruptedException {
        for (String path : List.of("/", "/health")) {
            assertEquals(200, CLIENT.send(to(server, path).HEAD().build(), HttpResponse.BodyHandlers.ofString())
                    .statusCode());
        }
    }

    private static String head(Socket socket, String request) throws IOException {
        socket.getOutputStream()
                .write((request + " HTTP/1.1\r\nHost: localhost\r\n\r\n").getBytes(StandardCharsets.US_ASCII));
        StringBuilder answer = new StringBuilder();
        while (!answer.toString().endsWith("\r\n\r\n")) {
            answer.append((char) socket.getInputStream().read());
        }
        return answer.toString();
    }

    /** Bytes behind the head would be taken for the next answer of the connection. */
    @Test
    void aRefusedHeadHasNoBody() throws IOException {
        for (String path : List.of("/v1/models", "/nothing", "/metrics")) {
            try (Socket socket = new Socket("127.0.0.1", server.port())) {
                socket.setSoTimeout(20_000);
                assertTrue(head(socket, "HEAD " + path).startsWith("HTTP/1.1 40"), path);
                assertTrue(head(socket, "GET /health").startsWith("HTTP/1.1 200"), path);
            }
        }
    }

    @Test
    void whatCannotBeAskedIsRefusedByName() throws IOException, InterruptedException {
        byte[] kitchen = Files.readAllBytes(Path.of("examples", "kitchen.png"));
        refused(401, "invalid_api_key", served.get("/v1/models", "wrong"));
        refused(401, "invalid_api_key", served.get("/metrics", "wrong"));
        refused(404, "not_found", served.get("/v1/nothing", KEY));
        HttpResponse<String> wrong = served.get(CHAT, KEY);
        refused(405, "wrong_method", wrong);
        assertEquals("POST", wrong.headers().firstValue("Allow").orElse(""));
        HttpResponse<String> broken = post(server, CHAT, "{\"messages\": [");
        refused(400, "invalid_request", broken);
        assertFalse(broken.body().contains("Source"), broken.body());
        refused(400, "invalid_request", post(server, CHAT, "{\"messages\": []}"));
        refused(400, "invalid_request", post(server, CHAT,
                "{\"messages\": [{\"role\": \"user\", \"content\": \"caption en\"}]}"));
        Map<String, Object> image = Map.of("type", "image_url", "image_url", Map.of("url", "kitchen.png"));
        HttpResponse<String> two = post(server, CHAT, JSON.writeValueAsString(Map.of("messages", List.of(Map.of(
                "role", "user", "content",
                List.of(image, image, Map.of("type", "text", "text", "caption en")))))));
        refused(400, "invalid_request", two);
        assertTrue(two.body().contains("has 2 images; this server takes one image a request"), two.body());
        refused(404, "model_not_found", post(server, CHAT, question("kitchen.png", "a", Map.of("model", "gpt-4o"))));
        for (Map<String, Object> more : List.<Map<String, Object>>of(Map.of("n", 2), Map.of("stop", ""),
                Map.of("stop", List.of(1)), Map.of("stream", "yes"), Map.of("min_p", 0.9), Map.of("ignore_eos", true),
                Map.of("temperature", -1), Map.of("max_tokens", 0), Map.of("max_tokens", 5000),
                Map.of("response_format", Map.of("type", "json_object")))) {
            refused(400, "invalid_request", post(server, CHAT, question("kitchen.png", "caption en", more)));
        }
        refused(400, "context_length_exceeded",
                post(server, CHAT, question("kitchen.png", "caption en ".repeat(200), Map.of())));
        refused(400, "remote_image", post(server, CHAT, question("http://localhost/a.png", "caption en", Map.of())));
        Path secret = Files.write(elsewhere.resolve("secret.png"), kitchen);
        Path link = Path.of("examples").toAbsolutePath().relativize(secret.toAbsolutePath());
        for (String path :
                List.of(secret.toString(), secret.toUri().toString(), link.toString(), "../pom.xml", "../none")) {
            refused(403, "file_not_allowed", post(server, CHAT, question(path, "caption en", Map.of())));
        }
        for (String path : List.of("none", "none/below.png", "kitchen.png/below.png", ".")) {
            refused(404, "file_not_found", post(server, CHAT, question(path, "caption en", Map.of())));
        }
        refused(400, "invalid_image", post(server, CHAT, question("answers.json", "caption en", Map.of())));
        refused(400, "invalid_image", post(server, CHAT,
                question(data(java.util.Arrays.copyOf(kitchen, kitchen.length / 2)), "caption en", Map.of())));
        refused(413, "too_large", post(server, CHAT, question("x".repeat(MAX_BODY), "caption en", Map.of())));
        refused(400, "invalid_request", post(server, "/v1/embeddings", "{\"input\": \"a\"}"));
        HttpResponse<String> text = CLIENT.send(to(server, CHAT).setHeader("Content-Type", "text/plain")
                .POST(HttpRequest.BodyPublishers.ofString("{}")).build(), HttpResponse.BodyHandlers.ofString());
        refused(415, "not_json", text);
        java.awt.image.BufferedImage large =
                new java.awt.image.BufferedImage(1025, 1024, java.awt.image.BufferedImage.TYPE_BYTE_GRAY);
        java.io.ByteArrayOutputStream png = new java.io.ByteArrayOutputStream();
        javax.imageio.ImageIO.write(large, "png", png);
        refused(400, "invalid_image", post(server, CHAT, question(data(png.toByteArray()), "caption en", Map.of())));
    }

    /** A name that another site's page points at this machine. */
    @Test
    void otherNamesOfThisMachineAreRefused() throws IOException {
        try (Socket socket = new Socket("127.0.0.1", server.port())) {
            socket.getOutputStream().write(("GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
                    .getBytes(StandardCharsets.US_ASCII));
            socket.setSoTimeout(20_000);
            StringBuilder answer = new StringBuilder();
            while (!answer.toString().contains("}}")) {
                answer.append((char) socket.getInputStream().read());
            }
            assertTrue(answer.toString().startsWith("HTTP/1.1 403") && answer.toString().contains("wrong_host"),
                    answer.toString());
        }
    }

    /** What does not fit the line is told so, what does not end in time, too; all others are answered. */
    @Test
    void aFullLineAndALateAnswerAreTold() {
        try (Served small = new Served(1, 2, Duration.ofSeconds(60));
                Served hasty = new Served(1, 2, Duration.ofMillis(10))) {
            refused(504, "timeout", hasty.ask(caption(Map.of())));
            refused(504, "timeout", hasty.ask(caption(Map.of("stream", true))));
            List<CompletableFuture<HttpResponse<String>>> together = IntStream.range(0, CLIENTS)
                    .mapToObj(_ -> send(small.server, CHAT, caption(Map.of()))).toList();
            int full = 0;
            for (CompletableFuture<HttpResponse<String>> each : together) {
                HttpResponse<String> response = each.join();
                if (response.statusCode() == 429) {
                    refused(429, "queue_full", response);
                    assertEquals("1", response.headers().firstValue("Retry-After").orElse(""));
                    full++;
                } else {
                    assertEquals(CAPTION, content(response));
                }
            }
            assertTrue(full > 0 && full < CLIENTS, full + " refused");
        }
    }

    @Test
    void healthModelsMetricsAndThePageAreThere() throws IOException, InterruptedException {
        content(post(server, CHAT, question("kitchen.png", "caption en", Map.of())));
        assertEquals("ok", JSON.readTree(served.get("/health", "none").body()).path("status").asString());
        assertEquals("shapes", JSON.readTree(served.get("/v1/models", KEY).body()).at("/data/0/id").asString());
        String metrics = served.get("/metrics", KEY).body();
        assertTrue(metrics.matches("(?s).*stormsight_requests_total\\{path=\"" + CHAT + "\",status=\"200\"} [1-9].*"),
                metrics);
        assertTrue(metrics.contains("stormsight_first_token_seconds_count "), metrics);
        HttpResponse<String> page = served.get("/", "none");
        assertEquals(200, page.statusCode());
        assertTrue(page.body().contains("Drop an image here"));
    }

    @Test
    void embeddingsAreTheModels() {
        try (ModelDirectory dual = Families.open(Path.of("models", "shapes-dual"), Optional.empty());
                Embedder embedder = Embedder.open(dual, served.backend, Options.DEFAULT, RunListener.NONE);
                Server encoder = new Server(Served.options(4, Duration.ofSeconds(60), Optional.empty(), false), "dual",
                        Optional.empty(), Optional.of(embedder))) {
            float[] star = Embedder.normalized(embedder.text("a star"));
            JsonNode several = JSON.readTree(post(encoder, "/v1/embeddings", "{\"input\": [\"a ring\", \"a star\"]}")
                    .body()).path("data");
            assertEquals(2, several.size());
            assertEquals(1, several.at("/1/index").asInt());
            for (int i = 0; i < star.length; i++) {
                assertEquals(star[i], several.at("/1/embedding/" + i).floatValue());
            }
            JsonNode data = JSON.readTree(post(encoder, "/v1/embeddings", "{\"input\": [\"a star\", {\"type\": "
                    + "\"image_url\", \"image_url\": {\"url\": \"kitchen.png\"}}]}").body()).path("data");
            assertEquals(2, data.size());
            for (int i = 0; i < star.length; i++) {
                assertEquals(star[i], data.at("/0/embedding/" + i).floatValue());
            }
            JsonNode packed = JSON.readTree(post(encoder, "/v1/embeddings",
                    "{\"input\": \"a star\", \"encoding_format\": \"base64\"}").body()).path("data");
            float first = java.nio.ByteBuffer.wrap(Base64.getDecoder().decode(packed.at("/0/embedding").asString()))
                    .order(java.nio.ByteOrder.LITTLE_ENDIAN).getFloat();
            assertEquals(star[0], first);
            refused(400, "invalid_request", post(encoder, CHAT, question("kitchen.png", "caption en", Map.of())));
        }
    }
}

package stormsight.serve;

import io.helidon.http.HeaderNames;
import io.helidon.http.RequestException;
import io.helidon.webserver.WebServer;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import stormsight.generate.Answer;
import stormsight.generate.LimitException;
import stormsight.generate.Scheduler;
import stormsight.match.Embedder;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Answers over HTTP, as clients of OpenAI's interface ask: {@code /v1/chat/completions}, {@code /v1/embeddings},
 * {@code /v1/models}; beside them {@code /health}, {@code /metrics} and a page to try it. Each request has a virtual
 * thread; the model has its own.
 */
public final class Server implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Server.class);
    private static final JsonMapper JSON = JsonMapper.shared();
    private static final Set<String> LOOPBACK = Set.of("localhost", "127.0.0.1", "[::1]", "::1");
    private static final String CHAT = "/v1/chat/completions";
    private static final String EMBEDDINGS = "/v1/embeddings";
    /** How often a client that waits hears something, so that one that left is noticed. */
    private static final Duration HEARTBEAT = Duration.ofSeconds(1);
    private static final int CLOSED_BY_CLIENT = 499;

    private final ServerOptions options;
    private final String model;
    private final Optional<Scheduler> scheduler;
    private final Optional<Embedder> embedder;
    private final ReentrantLock embedding = new ReentrantLock(true);
    private final ImageSource images;
    private final Metrics metrics;
    private final long started = System.currentTimeMillis() / 1000;
    private final WebServer web;
    private volatile boolean draining;

    /**
     * Starts to listen. Closing the server does not close what answers.
     *
     * @param model what clients call it
     * @param scheduler of a model that answers
     * @param embedder of a model that embeds
     * @throws UncheckedIOException if it cannot listen there
     */
    public Server(ServerOptions options, String model, Optional<Scheduler> scheduler, Optional<Embedder> embedder) {
        this.options = options;
        this.model = model;
        this.scheduler = scheduler;
        this.embedder = embedder;
        images = new ImageSource(options.root(), options.maxPixels());
        metrics = new Metrics(
                () -> scheduler.map(Scheduler::running).orElse(embedding.isLocked() ? 1 : 0),
                () -> scheduler.map(Scheduler::waiting).orElse(embedding.getQueueLength()));
        try {
            web = WebServer.builder()
                    .host(options.host())
                    .port(options.port())
                    .shutdownHook(false)
                    .shutdownGracePeriod(Duration.ofSeconds(2))
                    .routing(this::routes)
                    .build()
                    .start();
        } catch (RuntimeException e) {
            throw new UncheckedIOException(options.host() + ":" + options.port() + " cannot be listened on: "
                    + root(e).getMessage(), new IOException(e));
        }
    }

    private static Throwable root(Throwable e) {
        return e.getCause() == null || e.getCause() == e ? e : root(e.getCause());
    }

    /** Where it listens. */
    public int port() {
        return web.port();
    }

    private void routes(HttpRouting.Builder routing) {
        routing.addFilter((chain, request, response) -> {
                    try {
                        check(request);
                    } catch (ApiException e) {
                        refuse(request, response, e);
                        return;
                    }
                    chain.proceed();
                })
                .error(ApiException.class, this::refuse)
                .error(RequestException.class, (request, response, e) -> refuse(
                        request,
                        response,
                        e.status().code() == 413
                                ? tooLarge()
                                : new ApiException(e.status().code(), "invalid_request", e.getMessage())));
        routing.get("/", (_, response) -> response.header("Content-Type", "text/html; charset=utf-8").send(page()))
                .get("/health", (_, response) -> {
                    response.status(draining ? 503 : 200);
                    send(response, Map.of("status", draining ? "shutting down" : "ok", "model", model));
                })
                .get("/metrics",
                        (_, response) -> response.header("Content-Type", Metrics.CONTENT_TYPE).send(metrics.text()))
                .get("/v1/models",
                        (_, response) -> send(response, Map.of("object", "list", "data", List.of(described()))))
                .post(CHAT, this::chat)
                .post(EMBEDDINGS, this::embeddings)
                .any((request, _) -> {
                    throw new ApiException(404, "not_found", "there is no " + request.prologue().method().text() + " "
                            + request.path().path());
                });
    }

    /** Who may ask, and how. */
    private void check(ServerRequest request) {
        String path = request.path().path();
        // A page of another site may lead its name to this machine, but cannot change what the browser calls the host.
        String host = request.headers().first(HeaderNames.HOST).orElse("").replaceFirst(":\\d+$", "");
        if (LOOPBACK.contains(options.host()) && !LOOPBACK.contains(host)) {
            throw new ApiException(403, "wrong_host",
                    "this server is for this machine only; call it localhost, not " + host);
        }
        boolean open = path.equals("/") || path.equals("/health");
        if (!open && options.apiKey().isPresent()) {
            String sent = request.headers().first(HeaderNames.AUTHORIZATION).orElse("");
            byte[] wanted = ("Bearer " + options.apiKey().get()).getBytes(StandardCharsets.UTF_8);
            if (!MessageDigest.isEqual(wanted, sent.getBytes(StandardCharsets.UTF_8))) {
                throw new ApiException(401, "invalid_api_key",
                        sent.isEmpty() ? "an API key is needed: send the header Authorization: Bearer KEY"
                                : "the API key is wrong");
            }
        }
        if (draining && path.startsWith("/v1/")) {
            throw new ApiException(503, "shutting_down", "the server is shutting down");
        }
    }

    private Map<String, Object> described() {
        return Map.of("id", model, "object", "model", "created", started, "owned_by", "stormsight");
    }

    private static byte[] page() {
        try (InputStream in = Server.class.getResourceAsStream("page.html")) {
            return in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private ApiException tooLarge() {
        return new ApiException(413, "too_large", "the request has more than " + options.maxBody() + " bytes");
    }

    private void refuse(ServerRequest request, ServerResponse response, ApiException e) {
        metrics.request(known(request.path().path()), String.valueOf(e.status()));
        if (response.isSent()) {
            return;
        }
        if (e.status() == 429) {
            response.header("Retry-After", "1");
        }
        response.status(e.status());
        if (e.status() == 413 || e.status() == 401) {
            // What is left of the body is not read.
            response.header("Connection", "close");
        }
        send(response, error(e));
    }

    /** So that nobody can make the metrics grow. */
    private static String known(String path) {
        return path.equals(CHAT) || path.equals(EMBEDDINGS) ? path : "other";
    }

    private static Map<String, Object> error(ApiException e) {
        Map<String, Object> inner = new LinkedHashMap<>();
        inner.put("message", e.getMessage());
        inner.put("type", e.type());
        inner.put("param", null);
        inner.put("code", e.code());
        return Map.of("error", inner);
    }

    private static void send(ServerResponse response, Object body) {
        response.header("Content-Type", "application/json").send(JSON.writeValueAsBytes(body));
    }

    private JsonNode body(ServerRequest request) {
        String type = request.headers().first(HeaderNames.CONTENT_TYPE).orElse("");
        if (!type.startsWith("application/json")) {
            // Pages of other sites can send other types without asking the browser.
            throw new ApiException(415, "not_json", "the Content-Type must be application/json");
        }
        if (request.headers().contentLength().orElse(0) > options.maxBody()) {
            throw tooLarge();
        }
        byte[] bytes;
        try (InputStream in = request.content().inputStream()) {
            bytes = in.readNBytes(options.maxBody() + 1);
        } catch (IOException | UncheckedIOException e) {
            throw ApiException.invalid("the body cannot be read: " + e.getMessage());
        }
        if (bytes.length > options.maxBody()) {
            throw tooLarge();
        }
        JsonNode body;
        try {
            body = JSON.readTree(bytes);
        } catch (JacksonException e) {
            throw ApiException.invalid("the body is not JSON: " + e.getOriginalMessage());
        }
        if (!body.isObject()) {
            throw ApiException.invalid("the body is not a JSON object");
        }
        String asked = body.path("model").asString("");
        if (!asked.isEmpty() && !asked.equals(model)) {
            throw new ApiException(404, "model_not_found", "there is no model '" + asked + "' here, only '" + model
                    + "'");
        }
        return body;
    }

    private ApiException full() {
        return new ApiException(429, "queue_full", "as many requests wait as may (" + options.waiting()
                + "); try again later");
    }

    private ApiException late() {
        return new ApiException(504, "timeout", "no answer within " + options.timeout().toSeconds() + " s");
    }

    private void chat(ServerRequest request, ServerResponse response) {
        long start = System.nanoTime();
        Scheduler asked = scheduler.orElseThrow(
                () -> ApiException.invalid("the model '" + model + "' embeds images and texts: ask " + EMBEDDINGS));
        ChatRequest chat = ChatRequest.of(body(request), options.maxTokens(), images);
        Scheduler.Pending pending;
        try {
            pending = asked.submit(chat.request()).orElseThrow(this::full);
        } catch (IllegalArgumentException e) {
            throw ApiException.invalid(e.getMessage());
        } catch (CancellationException e) {
            throw new ApiException(503, "shutting_down", "the server is shutting down");
        }
        Reply reply = new Reply(response, chat);
        try {
            answer(pending, reply, start);
        } catch (IOException | UncheckedIOException e) {
            metrics.request(CHAT, String.valueOf(CLOSED_BY_CLIENT));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            pending.cancel();
        }
    }

    private void answer(Scheduler.Pending pending, Reply reply, long start)
            throws IOException, InterruptedException {
        boolean begun = false;
        while (true) {
            long left = options.timeout().toNanos() - (System.nanoTime() - start);
            if (left <= 0) {
                fail(reply, late());
                return;
            }
            Optional<Scheduler.Event> event =
                    pending.next(Duration.ofNanos(Math.min(left, HEARTBEAT.toNanos())));
            if (event.isEmpty()) {
                if (begun || reply.chat.stream()) {
                    reply.heartbeat();
                }
                continue;
            }
            switch (event.get()) {
                case Scheduler.Event.Text text -> {
                    if (!begun) {
                        metrics.firstToken(System.nanoTime() - start);
                        begun = true;
                    }
                    reply.text(text.piece());
                }
                case Scheduler.Event.Done done -> {
                    reply.done(done.answer());
                    metrics.request(CHAT, "200");
                    metrics.answered(System.nanoTime() - start, done.answer().promptTokens(),
                            done.answer().tokens().size());
                    return;
                }
                case Scheduler.Event.Failed failed -> {
                    fail(reply, problem(failed.reason()));
                    return;
                }
            }
        }
    }

    private static ApiException problem(Throwable reason) {
        return switch (reason) {
            case LimitException e -> new ApiException(400, "context_length_exceeded", e.getMessage());
            case CancellationException _ -> new ApiException(503, "shutting_down", "the server is shutting down");
            case IllegalArgumentException e -> ApiException.invalid(e.getMessage());
            default -> {
                LOG.warn("a request failed", reason);
                yield new ApiException(500, "internal_error", String.valueOf(reason.getMessage()));
            }
        };
    }

    private void fail(Reply reply, ApiException e) throws IOException {
        if (!reply.begun()) {
            throw e;
        }
        metrics.request(CHAT, String.valueOf(e.status()));
        reply.failed(e);
    }

    /** An answer on its way to a client, as one object or as events. */
    private final class Reply {
        private final ServerResponse response;
        private final ChatRequest chat;
        private final String id = "chatcmpl-" + UUID.randomUUID().toString().replace("-", "");
        private final long created = System.currentTimeMillis() / 1000;
        private OutputStream out;

        Reply(ServerResponse response, ChatRequest chat) {
            this.response = response;
            this.chat = chat;
        }

        /** Whether the status was sent. */
        boolean begun() {
            return out != null;
        }

        private void write(String text) throws IOException {
            if (out == null) {
                response.header("Content-Type", chat.stream() ? "text/event-stream" : "application/json");
                response.header("Cache-Control", "no-cache");
                out = response.outputStream();
                if (chat.stream()) {
                    event(chunk(Map.of("role", "assistant", "content", ""), null));
                }
            }
            out.write(text.getBytes(StandardCharsets.UTF_8));
            out.flush();
        }

        private void event(Object object) throws IOException {
            write("data: " + JSON.writeValueAsString(object) + "\n\n");
        }

        /** Something that means nothing: a comment between events, a space before an object. */
        void heartbeat() throws IOException {
            write(chat.stream() ? ": waiting\n\n" : " ");
        }

        void text(String piece) throws IOException {
            if (chat.stream()) {
                event(chunk(Map.of("content", piece), null));
            }
        }

        void done(Answer answer) throws IOException {
            String finish = answer.stop() == Answer.Stop.END ? "stop" : "length";
            Map<String, Object> usage = usage(answer.promptTokens(), answer.tokens().size());
            if (chat.stream()) {
                event(chunk(Map.of(), finish));
                if (chat.usage()) {
                    Map<String, Object> last = object("chat.completion.chunk", List.of());
                    last.put("usage", usage);
                    event(last);
                }
                write("data: [DONE]\n\n");
                out.close();
                return;
            }
            Map<String, Object> choice = new LinkedHashMap<>();
            choice.put("index", 0);
            choice.put("message", Map.of("role", "assistant", "content", answer.text()));
            choice.put("logprobs", null);
            choice.put("finish_reason", finish);
            Map<String, Object> whole = object("chat.completion", List.of(choice));
            whole.put("usage", usage);
            if (begun()) {
                write(JSON.writeValueAsString(whole));
                out.close();
            } else {
                send(response, whole);
            }
        }

        void failed(ApiException e) throws IOException {
            if (chat.stream()) {
                event(error(e));
            } else {
                write(JSON.writeValueAsString(error(e)));
            }
            out.close();
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

    private static Map<String, Object> usage(int prompt, int answer) {
        return Map.of("prompt_tokens", prompt, "completion_tokens", answer, "total_tokens", prompt + answer);
    }

    /** Texts as OpenAI has them, and parts of the type image_url as chat has them. */
    private void embeddings(ServerRequest request, ServerResponse response) {
        long start = System.nanoTime();
        Embedder asked = embedder.orElseThrow(
                () -> ApiException.invalid("the model '" + model + "' answers questions: ask " + CHAT));
        JsonNode body = body(request);
        JsonNode input = body.path("input");
        List<JsonNode> items = input.isArray() ? input.valueStream().toList() : List.of(input);
        String format = body.path("encoding_format").asString("float");
        if (items.isEmpty() || !format.equals("float") && !format.equals("base64")) {
            throw ApiException.invalid(
                    items.isEmpty() ? "'input' is empty" : "'encoding_format' is neither float nor base64");
        }
        if (body.has("dimensions") && body.path("dimensions").asInt(0) != asked.model().columns()) {
            throw ApiException.invalid("'dimensions' must be " + asked.model().columns() + "; leave it out");
        }
        List<Map<String, Object>> data = new ArrayList<>();
        for (JsonNode item : items) {
            float[] row = embedded(asked, item, start);
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("object", "embedding");
            object.put("index", data.size());
            object.put("embedding", format.equals("float") ? row : base64(row));
            data.add(object);
        }
        metrics.request(EMBEDDINGS, "200");
        Map<String, Object> whole = new LinkedHashMap<>();
        whole.put("object", "list");
        whole.put("model", model);
        whole.put("data", data);
        whole.put("usage", Map.of("prompt_tokens", 0, "total_tokens", 0));
        send(response, whole);
    }

    private float[] embedded(Embedder asked, JsonNode item, long start) {
        boolean image = item.path("type").asString("").equals("image_url");
        if (!image && !item.isString()) {
            throw ApiException.invalid("'input' must be a text, a list of texts, or of parts {\"type\": \"image_url\", "
                    + "\"image_url\": {\"url\": \"data:...\"}}");
        }
        var pixels = image ? images.read(ChatRequest.url(item)) : null;
        if (embedding.getQueueLength() >= options.waiting()) {
            throw full();
        }
        try {
            if (!embedding.tryLock(options.timeout().toNanos() - (System.nanoTime() - start), TimeUnit.NANOSECONDS)) {
                throw late();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ApiException(503, "shutting_down", "the server is shutting down");
        }
        try {
            return Embedder.normalized(image ? asked.image(pixels) : asked.text(item.asString()));
        } finally {
            embedding.unlock();
        }
    }

    private static String base64(float[] row) {
        ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * row.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(row);
        return Base64.getEncoder().encodeToString(bytes.array());
    }

    /**
     * Refuses new requests, gives those that were taken some time, and stops listening.
     *
     * @param grace most time that requests get
     */
    public void stop(Duration grace) {
        draining = true;
        long end = System.nanoTime() + grace.toNanos();
        try {
            while (System.nanoTime() < end && scheduler.map(s -> s.running() + s.waiting()).orElse(0) > 0) {
                Thread.sleep(20);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        web.stop();
    }

    @Override
    public void close() {
        stop(Duration.ZERO);
    }
}

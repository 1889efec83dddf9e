package stormsight.serve;

import io.helidon.common.buffers.DataReader;
import io.helidon.common.socket.SocketWriterException;
import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.HttpPrologue;
import io.helidon.http.Method;
import io.helidon.http.RequestException;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.ConnectionContext;
import io.helidon.webserver.WebServer;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import io.helidon.webserver.http1.Http1Config;
import io.helidon.webserver.http1.Http1ConnectionListener;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import stormsight.checkpoint.CheckpointException;
import stormsight.generate.LimitException;
import stormsight.generate.Scheduler;
import stormsight.image.ImageException;
import stormsight.match.Embedder;
import stormsight.model.Views;
import tools.jackson.databind.JsonNode;

/**
 * Answers over HTTP, as clients of OpenAI's interface ask: {@code /v1/chat/completions}, {@code /v1/embeddings},
 * {@code /v1/models}; beside them {@code /health}, {@code /metrics} and a page to try it. Each request has a virtual
 * thread; a model that answers has its own, one that embeds is used by one request at a time.
 */
public final class Server implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Server.class);
    private static final String CHAT = "/v1/chat/completions";
    private static final String EMBEDDINGS = "/v1/embeddings";
    private static final Map<String, String> METHODS = Map.of("/", "GET, HEAD", "/health", "GET, HEAD", "/metrics",
            "GET", "/v1/models", "GET", CHAT, "POST", EMBEDDINGS, "POST");
    /** Of a stream that waits, so that a client that left is noticed. */
    private static final Duration HEARTBEAT = Duration.ofSeconds(1);
    /** How often is looked whether a client that waits for a whole answer is still there. */
    private static final Duration LOOK = Duration.ofMillis(100);
    /** Most time that a body takes to come. */
    private static final Duration BODY = Duration.ofSeconds(60);
    /** Beyond the time of a request: for a client to read why it ended. */
    private static final Duration LAST_WORDS = Duration.ofSeconds(5);
    /** Most time in which a refused body is read all the same. */
    private static final Duration DRAIN = Duration.ofSeconds(2);
    /** Most time between the requests of a connection. */
    private static final Duration IDLE = Duration.ofSeconds(60);
    private static final int CLOSED_BY_CLIENT = 499;

    private final ServerOptions options;
    private final String model;
    private final Optional<Scheduler> scheduler;
    private final Optional<Embedder> embedder;
    private final ReentrantLock embedding = new ReentrantLock(true);
    private final ImageSource images;
    private final Metrics metrics;
    private final long started = System.currentTimeMillis() / 1000;
    private final Semaphore places;
    private final Set<Scheduler.Pending> pending = ConcurrentHashMap.newKeySet();
    /** The connection of the request that a thread is at. */
    private final ThreadLocal<DataReader> connection = new ThreadLocal<>();
    private final ScheduledExecutorService clock =
            Executors.newSingleThreadScheduledExecutor(Thread.ofPlatform().daemon().name("clock").factory());
    private final WebServer web;
    private volatile boolean draining;
    /** A file of the model is broken or was changed: no request is answered any more. */
    private volatile boolean broken;

    /**
     * Starts to listen. Closing the server does not close what answers.
     *
     * @param model what clients call it
     * @param scheduler of a model that answers, whose line has room for all places
     * @param embedder of a model that embeds
     * @throws UncheckedIOException if it cannot listen there
     */
    public Server(ServerOptions options, String model, Optional<Scheduler> scheduler, Optional<Embedder> embedder) {
        this.options = options;
        this.model = model;
        this.scheduler = scheduler;
        this.embedder = embedder;
        places = new Semaphore(options.places());
        Optional<RemoteImages> remote = options.remoteImages()
                ? Optional.of(new RemoteImages(options.maxBody(), options.timeout()))
                : Optional.empty();
        images = new ImageSource(options.root(), remote, options.maxPixels());
        metrics = new Metrics(
                () -> scheduler.map(Scheduler::running).orElse(embedding.isLocked() ? 1 : 0),
                () -> scheduler.map(Scheduler::waiting).orElse(embedding.getQueueLength()));
        try {
            requireFree(options);
            web = WebServer.builder()
                    .host(options.host())
                    .port(options.port())
                    .shutdownHook(false)
                    .shutdownGracePeriod(Duration.ofSeconds(2))
                    .addProtocol(Http1Config.builder().addReceiveListener(new Http1ConnectionListener() {
                        @Override
                        public void prologue(ConnectionContext context, HttpPrologue prologue) {
                            connection.set(context.dataReader());
                        }
                    }).build())
                    .routing(this::routes)
                    .build()
                    .start();
            if (!web.isRunning()) {
                throw new IOException("the web server did not start");
            }
        } catch (IOException | RuntimeException e) {
            clock.close();
            throw new UncheckedIOException(options.host() + ":" + options.port() + " cannot be listened on: "
                    + root(e).getMessage(), new IOException(e));
        }
    }

    /** Helidon does not throw what keeps it from listening, but logs it with its trace. */
    private static void requireFree(ServerOptions options) throws IOException {
        try (ServerSocket socket = new ServerSocket()) {
            socket.bind(new InetSocketAddress(options.host(), options.port()));
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
                .error(Exception.class, (request, response, e) -> tell(request, response, problem(e), false));
        routing.head("/", (_, response) -> response.send())
                .head("/health", (_, response) -> response.status(health()).send());
        routing.get("/", (_, response) -> response.header("Content-Type", "text/html; charset=utf-8").send(page()))
                .get("/health", (_, response) -> {
                    response.status(health());
                    String status = draining ? "shutting down" : broken ? "model broken" : "ok";
                    Json.send(response, Map.of("status", status, "model", model));
                })
                .get("/metrics",
                        (_, response) -> response.header("Content-Type", Metrics.CONTENT_TYPE).send(metrics.text()))
                .get("/v1/models",
                        (_, response) -> Json.send(response, Map.of("object", "list", "data", List.of(described()))))
                .post(CHAT, (request, response) -> within(CHAT, request, response, this::chat))
                .post(EMBEDDINGS, (request, response) -> within(EMBEDDINGS, request, response, this::embeddings))
                .any((request, response) -> {
                    String method = request.prologue().method().text();
                    String path = request.path().path();
                    String allowed = METHODS.get(path);
                    if (allowed != null) {
                        response.header("Allow", allowed);
                    }
                    refuse(request, response, allowed == null
                            ? new ApiException(404, "not_found", "there is no " + method + " " + path)
                            : new ApiException(405, "wrong_method", path + " takes " + allowed + ", not " + method));
                });
    }

    private int health() {
        return draining || broken ? 503 : 200;
    }

    /** Who may ask, and how. */
    private void check(ServerRequest request) {
        String path = request.path().path();
        // A page of another site may lead its name to this machine, but cannot change what the browser calls the host.
        String host = request.headers().first(HeaderNames.HOST).orElse("").replaceFirst(":\\d+$", "");
        if (options.isLocal() && !ServerOptions.LOOPBACK.contains(host.toLowerCase(Locale.ROOT))) {
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
            throw ApiException.shuttingDown();
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

    /**
     * Tells why there is no answer.
     *
     * @throws CloseConnectionException after a body: the rest of it may be on its way, or somebody waits for what comes
     */
    private void refuse(ServerRequest request, ServerResponse response, ApiException e) {
        boolean close = request.content().hasEntity();
        tell(request, response, e, close);
        if (!close) {
            return;
        }
        // A connection that is closed before all was read loses the answer; who waits for 100-continue sends nothing.
        if (!request.content().consumed() && e.status() != 408 && request.continueSent()) {
            try (InputStream in = request.content().inputStream()) {
                drain(in);
            } catch (IOException | RuntimeException problem) {
                LOG.debug("the rest of a refused request", problem);
            }
        }
        throw new CloseConnectionException("refused: " + e.getMessage());
    }

    private void tell(ServerRequest request, ServerResponse response, ApiException e, boolean close) {
        metrics.request(known(request.path().path()), String.valueOf(e.status()));
        if (response.isSent()) {
            return;
        }
        if (close) {
            response.header("Connection", "close");
        }
        if (e.status() == 429) {
            response.header("Retry-After", "1");
        }
        response.status(e.status());
        if (request.prologue().method() == Method.HEAD) {
            // A body would be read as the beginning of the next answer.
            response.send();
        } else {
            Json.send(response, Json.error(e));
        }
    }

    private static void drain(InputStream in) throws IOException {
        long end = System.nanoTime() + DRAIN.toNanos();
        byte[] rest = new byte[1 << 16];
        while (System.nanoTime() < end && in.read(rest) >= 0) {
            // Nobody wants it.
        }
    }

    /** So that nobody can make the metrics grow. */
    private static String known(String path) {
        return path.equals(CHAT) || path.equals(EMBEDDINGS) ? path : "other";
    }

    /** Answers a request. */
    private interface Handler {
        void handle(Asked asked) throws IOException, InterruptedException;
    }

    /** A request that has a place. */
    private final class Asked {
        private final ServerResponse response;
        private final long start = System.nanoTime();
        private final DataReader reader = connection.get();
        /**
         * Waits for the first byte of the next request, or for the end of the connection: a client that waits for a
         * whole answer is noticed to leave by nothing else. A stream notices when it writes.
         */
        private final FutureTask<Void> next = new FutureTask<>(() -> {
            if (reader.available() == 0) {
                reader.pullData();
            }
            return null;
        });
        private JsonNode body;
        private boolean streams;

        Asked(ServerResponse response) {
            this.response = response;
        }

        void received(JsonNode object) {
            body = object;
            streams = object.path("stream").asBoolean(false);
            if (!streams) {
                Thread.ofVirtual().start(next);
            }
        }

        /** What was asked, once: it may hold images of many megabytes. */
        JsonNode body() {
            JsonNode object = body;
            body = null;
            return object;
        }

        /** Nanoseconds that are left of its time. */
        long left() {
            return options.timeout().toNanos() - age();
        }

        long age() {
            return System.nanoTime() - start;
        }

        /** @throws CloseConnectionException if the client left */
        void requireClient() {
            if (next.state() == Future.State.FAILED) {
                throw new CloseConnectionException("the client left", next.exceptionNow());
            }
        }

        /**
         * Waits for the next request of the connection, which nobody may read meanwhile.
         *
         * @throws CloseConnectionException if there is none
         */
        void awaitNext() {
            long end = System.nanoTime() + IDLE.toNanos();
            while (!draining && System.nanoTime() < end) {
                try {
                    next.get(LOOK.toNanos(), TimeUnit.NANOSECONDS);
                    return;
                } catch (TimeoutException e) {
                    // Not yet.
                } catch (ExecutionException | InterruptedException e) {
                    throw new CloseConnectionException("the client left", e);
                }
            }
            throw new CloseConnectionException("nothing more was asked");
        }
    }

    /** Gives a request a place, and sees that it does not keep it for too long. */
    private void within(String path, ServerRequest request, ServerResponse response, Handler handler) {
        if (!places.tryAcquire()) {
            refuse(request, response, new ApiException(429, "queue_full", "the server already has its maximum of "
                    + options.places() + " requests; try again later"));
            return;
        }
        // What a client does not read blocks the thread that writes; to interrupt it closes the connection.
        Future<?> cut = clock.schedule(
                Thread.currentThread()::interrupt, options.timeout().plus(LAST_WORDS).toNanos(), TimeUnit.NANOSECONDS);
        Asked asked = new Asked(response);
        try {
            asked.received(body(request, asked.left()));
            handler.handle(asked);
        } catch (IOException | UncheckedIOException | SocketWriterException | CloseConnectionException e) {
            metrics.request(path, String.valueOf(CLOSED_BY_CLIENT));
            throw new CloseConnectionException("the client left", e);
        } catch (InterruptedException e) {
            throw new CloseConnectionException("the client does not read", e);
        } catch (RuntimeException e) {
            refuse(request, response, problem(e));
        } finally {
            cut.cancel(false);
            Thread.interrupted();
            places.release();
        }
        if (!asked.streams && !request.headers().containsToken(HeaderValues.CONNECTION_CLOSE)) {
            asked.awaitNext();
        }
    }

    private JsonNode body(ServerRequest request, long nanos) {
        String type = request.headers().first(HeaderNames.CONTENT_TYPE).orElse("");
        if (!type.startsWith("application/json")) {
            // Pages of other sites can send other types without asking the browser.
            throw new ApiException(415, "not_json", "the Content-Type must be application/json");
        }
        if (request.headers().contentLength().orElse(0) > options.maxBody()) {
            throw tooLarge();
        }
        // On a thread of its own, since a client that stops in the middle would block this one.
        FutureTask<byte[]> reading = new FutureTask<>(() -> {
            try (InputStream in = request.content().inputStream()) {
                byte[] read = in.readNBytes(options.maxBody() + 1);
                if (read.length > options.maxBody()) {
                    drain(in);
                }
                return read;
            }
        });
        Thread.ofVirtual().start(reading);
        byte[] bytes;
        try {
            bytes = reading.get(Math.min(nanos, BODY.toNanos()), TimeUnit.NANOSECONDS);
        } catch (TimeoutException e) {
            throw new ApiException(408, "body_timeout", "the body did not come within "
                    + Math.min(BODY.toSeconds(), options.timeout().toSeconds()) + " s");
        } catch (ExecutionException e) {
            throw ApiException.invalid("the body cannot be read: " + e.getCause().getMessage());
        } catch (InterruptedException e) {
            throw new CloseConnectionException("the body did not come", e);
        }
        if (bytes.length > options.maxBody()) {
            throw tooLarge();
        }
        JsonNode body = Json.read(bytes);
        String asked = body.path("model").asString("");
        if (!asked.isEmpty() && !asked.equals(model)) {
            throw new ApiException(404, "model_not_found", "there is no model '" + asked + "' here, only '" + model
                    + "'");
        }
        return body;
    }

    private ApiException late() {
        return new ApiException(504, "timeout", "no answer within " + options.timeout().toSeconds() + " s");
    }

    private void chat(Asked asked) throws IOException, InterruptedException {
        Scheduler model = scheduler.orElseThrow(
                () -> ApiException.invalid("the model '" + this.model + "' embeds images and texts: ask "
                        + EMBEDDINGS));
        ChatRequest chat = ChatRequest.of(asked.body(), options.maxTokens(), images);
        asked.requireClient();
        Scheduler.Pending taken;
        try {
            taken = model.submit(chat.request()).orElseThrow();
        } catch (CancellationException e) {
            throw ApiException.shuttingDown();
        }
        pending.add(taken);
        try {
            answer(taken, asked, new ChatReply(asked.response, chat, this.model));
        } finally {
            pending.remove(taken);
            taken.cancel();
        }
    }

    private void answer(Scheduler.Pending taken, Asked asked, ChatReply reply)
            throws IOException, InterruptedException {
        boolean first = true;
        long said = System.nanoTime();
        while (true) {
            Optional<Scheduler.Event> event =
                    taken.next(Duration.ofNanos(Math.max(1, Math.min(asked.left(), LOOK.toNanos()))));
            asked.requireClient();
            if (asked.left() <= 0) {
                fail(reply, late());
                return;
            }
            if (event.isEmpty()) {
                if (System.nanoTime() - said > HEARTBEAT.toNanos()) {
                    reply.heartbeat();
                    said = System.nanoTime();
                }
                continue;
            }
            switch (event.get()) {
                case Scheduler.Event.Text text -> {
                    if (first) {
                        metrics.firstToken(asked.age());
                        first = false;
                    }
                    reply.text(text.piece());
                    said = System.nanoTime();
                }
                case Scheduler.Event.Done done -> {
                    reply.done(done.answer());
                    metrics.request(CHAT, "200");
                    metrics.answered(asked.age(), done.answer().promptTokens(), done.answer().tokens().size());
                    return;
                }
                case Scheduler.Event.Failed failed -> {
                    fail(reply, problem(failed.reason()));
                    return;
                }
            }
        }
    }

    private ApiException problem(Throwable reason) {
        return switch (reason) {
            case ApiException e -> e;
            case RequestException e when e.status().code() < 500 ->
                    new ApiException(e.status().code(), "invalid_request", e.getMessage());
            case LimitException e -> new ApiException(400, "context_length_exceeded", e.getMessage());
            case CancellationException _ -> ApiException.shuttingDown();
            case ImageException e -> ApiException.image(e.getMessage());
            case IllegalArgumentException e -> ApiException.invalid(e.getMessage());
            case CheckpointException e -> {
                // Where files lie here is not for clients.
                LOG.warn("a request failed", e);
                broken = true;
                yield new ApiException(500, "model_broken", "a file of the model on the server is broken or was "
                        + "changed; it has to be mended there, and the server started again");
            }
            default -> {
                LOG.warn("a request failed", reason);
                yield new ApiException(500, "internal_error", String.valueOf(reason.getMessage()));
            }
        };
    }

    private void fail(ChatReply reply, ApiException e) throws IOException {
        if (!reply.begun()) {
            throw e;
        }
        metrics.request(CHAT, String.valueOf(e.status()));
        reply.failed(e);
    }

    /** Texts as OpenAI has them, and parts of the type image_url as chat has them. */
    private void embeddings(Asked asked) {
        Embedder encoder = embedder.orElseThrow(
                () -> ApiException.invalid("the model '" + model + "' answers questions: ask " + CHAT));
        JsonNode body = asked.body();
        JsonNode input = body.path("input");
        List<JsonNode> items = input.isArray() ? input.valueStream().toList() : List.of(input);
        String format = body.path("encoding_format").asString("float");
        if (items.isEmpty() || !format.equals("float") && !format.equals("base64")) {
            throw ApiException.invalid(
                    items.isEmpty() ? "'input' is empty" : "'encoding_format' is neither float nor base64");
        }
        int columns = encoder.model().columns();
        if (body.hasNonNull("dimensions") && body.path("dimensions").asInt(0) != columns) {
            throw ApiException.invalid("'dimensions' must be " + columns + "; leave it out");
        }
        List<Map<String, Object>> data = new ArrayList<>();
        int tokens = 0;
        while (data.size() < items.size()) {
            asked.requireClient();
            List<JsonNode> alike = alike(items.subList(data.size(), items.size()), encoder.together());
            List<int[]> texts = alike.stream()
                    .filter(JsonNode::isString)
                    .map(item -> encoder.model().ids(item.asString()))
                    .toList();
            tokens += texts.stream().mapToInt(ids -> encoder.model().needed(ids).length).sum();
            for (float[] row : embedded(encoder, alike, texts, data.size(), asked)) {
                Map<String, Object> object = new LinkedHashMap<>();
                object.put("object", "embedding");
                object.put("index", data.size());
                object.put("embedding", format.equals("float") ? row : base64(row));
                data.add(object);
            }
        }
        metrics.request(EMBEDDINGS, "200");
        Map<String, Object> whole = new LinkedHashMap<>();
        whole.put("object", "list");
        whole.put("model", model);
        whole.put("data", data);
        whole.put("usage", Map.of("prompt_tokens", tokens, "total_tokens", tokens));
        Json.send(asked.response, whole);
    }

    /** The first items, most at the most, that are all texts or all images. */
    private static List<JsonNode> alike(List<JsonNode> items, int most) {
        boolean text = items.getFirst().isString();
        return items.stream().limit(most).takeWhile(item -> item.isString() == text).toList();
    }

    /**
     * @param items all texts or all images
     * @param texts ids of the texts; empty for images
     * @param first the place of the first one in the input
     */
    private List<float[]> embedded(
            Embedder encoder, List<JsonNode> items, List<int[]> texts, int first, Asked asked) {
        if (texts.isEmpty() && !items.stream().allMatch(item -> item.path("type").asString("").equals("image_url"))) {
            throw ApiException.invalid("'input' must be a text, a list of texts, or of parts {\"type\": \"image_url\", "
                    + "\"image_url\": {\"url\": \"data:...\"}}");
        }
        List<Views> views = IntStream.range(0, texts.isEmpty() ? items.size() : 0)
                .mapToObj(i -> Views.of(
                        encoder.model()::views,
                        images.read(ChatRequest.url(items.get(i))),
                        "image " + (first + i) + " of 'input'"))
                .toList();
        try {
            if (!embedding.tryLock(asked.left(), TimeUnit.NANOSECONDS)) {
                throw late();
            }
        } catch (InterruptedException e) {
            throw late();
        }
        try {
            float[][] rows = texts.isEmpty() ? encoder.images(views) : encoder.ofIds(texts);
            return Stream.of(rows).map(Embedder::normalized).toList();
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
     * Refuses new requests, gives those that have a place some time, tells the others that it ends, and stops
     * listening.
     *
     * @param grace most time that requests get
     */
    public void stop(Duration grace) {
        draining = true;
        try {
            if (!emptied(grace)) {
                pending.forEach(Scheduler.Pending::cancel);
                emptied(LAST_WORDS);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        web.stop();
        clock.shutdownNow();
    }

    /** Waits until no request is left. */
    private boolean emptied(Duration atMost) throws InterruptedException {
        boolean empty = places.tryAcquire(options.places(), atMost.toNanos(), TimeUnit.NANOSECONDS);
        if (empty) {
            places.release(options.places());
        }
        return empty;
    }

    @Override
    public void close() {
        stop(Duration.ZERO);
    }
}

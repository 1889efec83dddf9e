package stormsight.serve;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static stormsight.serve.Served.CHAT;
import static stormsight.serve.Served.KEY;
import static stormsight.serve.Served.content;
import static stormsight.serve.Served.data;
import static stormsight.serve.Served.post;
import static stormsight.serve.Served.question;
import static stormsight.serve.Served.refused;

import com.sun.management.UnixOperatingSystemMXBean;
import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.net.Socket;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.LongAdder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import stormsight.model.family.EmbeddedModel;
import tools.jackson.databind.JsonNode;

/**
 * Many clients at once, among them such as leave, read slowly, and send what cannot be an image. Some seconds, or as
 * many as {@code -Dstormsight.load.seconds} says.
 */
class LoadTest {
    private static final int CLIENTS = 64;
    private static final int SECONDS = Integer.getInteger("stormsight.load.seconds", 5);
    /** What a run may leave in the heap: classes that were loaded late, buffers that are kept. */
    private static final long MOST_KEPT = 64 << 20;
    /** Connections that the client of these tests keeps open to use them again. */
    private static final long MOST_OPEN = 2 * CLIENTS + 32;

    private final Map<String, LongAdder> counts = new ConcurrentHashMap<>();

    private void count(String what) {
        counts.computeIfAbsent(what, _ -> new LongAdder()).increment();
    }

    /** The text of a stream, read with pauses. */
    private static String slowly(InputStream in, int millis) throws IOException, InterruptedException {
        StringBuilder body = new StringBuilder();
        byte[] part = new byte[256];
        for (int read; (read = in.read(part)) >= 0;) {
            body.append(new String(part, 0, read, StandardCharsets.UTF_8));
            Thread.sleep(millis);
        }
        StringBuilder text = new StringBuilder();
        for (String line : body.toString().lines().filter(line -> line.startsWith("data: {")).toList()) {
            JsonNode event = Served.JSON.readTree(line.substring(6));
            assertTrue(event.path("error").isMissingNode(), line);
            text.append(event.at("/choices/0/delta/content").asString(""));
        }
        assertTrue(body.toString().contains("data: [DONE]"), body.toString());
        return text.toString();
    }

    private static HttpResponse<InputStream> open(Served served, String body) throws IOException, InterruptedException {
        return Served.CLIENT.send(
                Served.to(served.server, CHAT).POST(HttpRequest.BodyPublishers.ofString(body)).build(),
                HttpResponse.BodyHandlers.ofInputStream());
    }

    private static long kept() {
        long least = Long.MAX_VALUE;
        for (int i = 0; i < 3; i++) {
            System.gc();
            least = Math.min(least, ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed());
        }
        return least;
    }

    private static long openFiles() {
        return ManagementFactory.getOperatingSystemMXBean() instanceof UnixOperatingSystemMXBean unix
                ? unix.getOpenFileDescriptorCount() : 0;
    }

    @Test
    @Timeout(900)
    void everyClientGetsItsOwnAnswerOrIsToldWhyNot() throws Exception {
        byte[] kitchen = Files.readAllBytes(Path.of("examples", "kitchen.png"));
        String broken = question(data(java.util.Arrays.copyOf(kitchen, kitchen.length / 2)), "caption en", Map.of());
        String large = question("x".repeat(Served.MAX_BODY), "caption en", Map.of());
        List<EmbeddedModel.Example> examples = EmbeddedModel.examples();
        // Fewer places than clients, so that some are refused.
        try (Served served = new Served(4, CLIENTS - 8, Duration.ofSeconds(120));
                ExecutorService clients = Executors.newFixedThreadPool(CLIENTS)) {
            List<String> alone = new ArrayList<>();
            for (EmbeddedModel.Example example : examples) {
                alone.add(content(served.ask(question(example.image(), example.prompt(), Map.of()))));
            }
            assertTrue(alone.stream().distinct().count() > 5, alone.toString());
            long keptBefore = kept();
            long filesBefore = openFiles();
            long end = System.nanoTime() + Duration.ofSeconds(SECONDS).toNanos();
            List<Future<?>> running = new ArrayList<>();
            for (int client = 0; client < CLIENTS; client++) {
                Random random = new Random(client);
                running.add(clients.submit(() -> {
                    while (System.nanoTime() < end) {
                        int place = random.nextInt(examples.size());
                        EmbeddedModel.Example example = examples.get(place);
                        String plain = question(example.image(), example.prompt(), Map.of());
                        String stream = question(example.image(), example.prompt(), Map.of("stream", true));
                        switch (random.nextInt(12)) {
                            case 0 -> told(400, "invalid_image", post(served.server, CHAT, broken));
                            case 1 -> told(413, "too_large", post(served.server, CHAT, large));
                            case 2 -> leave(served, stream);
                            case 3 -> leave(served, plain);
                            case 4, 5 -> {
                                HttpResponse<InputStream> answer = open(served, stream);
                                if (answer.statusCode() == 200) {
                                    assertEquals(alone.get(place), slowly(answer.body(), 20));
                                    count("answered slow reader");
                                } else {
                                    full(new String(answer.body().readAllBytes(), StandardCharsets.UTF_8));
                                }
                            }
                            case 6, 7, 8 -> {
                                HttpResponse<InputStream> answer = open(served, stream);
                                if (answer.statusCode() == 200) {
                                    assertEquals(alone.get(place), slowly(answer.body(), 0));
                                    count("answered stream");
                                } else {
                                    full(new String(answer.body().readAllBytes(), StandardCharsets.UTF_8));
                                }
                            }
                            default -> {
                                HttpResponse<String> answer = post(served.server, CHAT, plain);
                                if (answer.statusCode() == 200) {
                                    assertEquals(alone.get(place), content(answer));
                                    count("answered");
                                } else {
                                    full(answer.body());
                                }
                            }
                        }
                    }
                    return null;
                }));
            }
            for (Future<?> each : running) {
                each.get();
            }
            served.awaitEmpty();
            // All places are free again: as many as there are get an answer at once.
            List<java.util.concurrent.CompletableFuture<HttpResponse<String>>> all =
                    java.util.stream.IntStream.range(0, CLIENTS - 8)
                            .mapToObj(_ -> Served.send(served.server, CHAT, Served.caption(Map.of()))).toList();
            all.forEach(answer -> assertEquals(Served.CAPTION, content(answer.join())));
            long kept = kept() - keptBefore;
            long files = openFiles() - filesBefore;
            System.out.println("load: " + SECONDS + " s, " + CLIENTS + " clients: " + counts + "; kept " + (kept >> 20)
                    + " MB of heap, " + files + " open files more than before");
            assertTrue(counts.get("answered").sum() > 0 && counts.get("answered stream").sum() > 0, counts.toString());
            assertTrue(kept < MOST_KEPT, kept + " bytes are kept");
            assertTrue(files < MOST_OPEN, files + " files are open");
        }
    }

    private void told(int status, String code, HttpResponse<String> response) {
        if (response.statusCode() == 429) {
            full(response.body());
            return;
        }
        refused(status, code, response);
        count("told " + code);
    }

    private void full(String body) {
        refused("queue_full", body);
        count("told queue_full");
    }

    private void leave(Served served, String body) throws IOException {
        try (Socket socket = new Socket("127.0.0.1", served.server.port())) {
            socket.getOutputStream().write(("POST " + CHAT + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                    + KEY + "\r\nContent-Type: application/json\r\nContent-Length: " + body.length() + "\r\n\r\n"
                    + body).getBytes(StandardCharsets.UTF_8));
        }
        count("left");
    }
}

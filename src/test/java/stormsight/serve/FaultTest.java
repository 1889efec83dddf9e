package stormsight.serve;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static stormsight.serve.Served.CAPTION;
import static stormsight.serve.Served.CHAT;
import static stormsight.serve.Served.KEY;
import static stormsight.serve.Served.caption;
import static stormsight.serve.Served.content;
import static stormsight.serve.Served.refused;
import static stormsight.serve.Served.send;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;
import stormsight.checkpoint.CheckpointException;
import stormsight.model.family.Families;

/** Clients that leave, stop in the middle or never read, and a server that ends. */
@Timeout(120)
class FaultTest {
    private static final Duration LONG = Duration.ofSeconds(60);
    private static final int STREAMS = 6;
    private static final Pattern WHERE = Pattern.compile("at http://127\\.0\\.0\\.1:(\\d+)/");

    /** A client of bytes, whose mistakes no library corrects. */
    private static Socket raw(Served served, String body, int length) throws IOException {
        Socket socket = new Socket("127.0.0.1", served.server.port());
        socket.setSoTimeout(30_000);
        write(socket, body, length);
        return socket;
    }

    private static void write(Socket socket, String body, int length) throws IOException {
        socket.getOutputStream().write(("POST " + CHAT + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + KEY
                + "\r\nContent-Type: application/json\r\nContent-Length: " + length + "\r\n\r\n" + body)
                .getBytes(StandardCharsets.UTF_8));
    }

    /** Who leaves frees the place, whether the answer comes in pieces or as a whole, began or waits. */
    @Test
    void clientsMayLeave() throws IOException, InterruptedException {
        try (Served served = new Served(1, 64, LONG)) {
            for (boolean stream : new boolean[] {true, false}) {
                List<Socket> clients = new ArrayList<>();
                for (int i = 0; i < 32; i++) {
                    String body = caption(Map.of("temperature", 50, "seed", i, "stream", stream));
                    clients.add(raw(served, body, body.length()));
                }
                while (served.scheduler.running() + served.scheduler.waiting() < 20) {
                    Thread.sleep(1);
                }
                for (Socket client : clients) {
                    client.close();
                }
                served.awaitEmpty();
            }
            assertEquals(CAPTION, content(served.ask(caption(Map.of()))));
            String metrics = served.get("/metrics", KEY).body();
            Matcher left = Pattern.compile("status=\"499\"} (\\d+)").matcher(metrics);
            assertTrue(left.find() && Integer.parseInt(left.group(1)) >= 40, metrics);
        }
    }

    /** A connection is used again after an answer: looking whether the client is there takes no byte of the next. */
    @Test
    void oneConnectionAsksManyTimes() throws IOException {
        try (Served served = new Served(1, 2, LONG);
                Socket socket = new Socket("127.0.0.1", served.server.port())) {
            socket.setSoTimeout(30_000);
            String body = caption(Map.of());
            for (int i = 0; i < 5; i++) {
                write(socket, body, body.length());
                StringBuilder answer = new StringBuilder();
                while (!answer.toString().contains("total_tokens") || !answer.toString().endsWith("}")) {
                    int next = socket.getInputStream().read();
                    assertTrue(next >= 0, answer.toString());
                    answer.append((char) next);
                }
                while (socket.getInputStream().available() > 0) {
                    socket.getInputStream().read();
                }
                assertTrue(answer.toString().startsWith("HTTP/1.1 200") && answer.toString().contains(CAPTION),
                        answer.toString());
            }
        }
    }

    @Test
    void aBodyThatStopsIsTold() throws IOException {
        try (Served served = new Served(1, 1, Duration.ofSeconds(1));
                Socket socket = raw(served, "{\"messages\": ", 1000)) {
            String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertTrue(answer.startsWith("HTTP/1.1 408") && answer.contains("body_timeout"), answer);
        }
    }

    /** More than a connection holds on its way, and nobody reads it: the place is free again, soon after the time. */
    @Test
    void whoNeverReadsIsCutOff() throws IOException, InterruptedException {
        // Each event names the model.
        try (Served served = new Served(2, 2, Duration.ofSeconds(5), "x".repeat(100_000))) {
            List<Socket> clients = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                String body = caption(Map.of("temperature", 50, "seed", i, "stream", true));
                clients.add(raw(served, body, body.length()));
            }
            served.awaitEmpty();
            long end = System.nanoTime() + Duration.ofSeconds(50).toNanos();
            HttpResponse<String> answer;
            do {
                answer = served.ask(caption(Map.of()));
                assertTrue(System.nanoTime() < end, "no place came free");
            } while (answer.statusCode() != 200);
            assertEquals(CAPTION, content(answer));
            for (Socket client : clients) {
                client.close();
            }
        }
    }

    /** What was taken is answered; what comes later is told why not. */
    @Test
    void stoppingWaitsForWhatWasTaken() throws InterruptedException {
        try (Served served = new Served(2, 16, LONG)) {
            CompletableFuture<HttpResponse<String>> taken = send(served.server, CHAT, caption(Map.of()));
            while (served.scheduler.running() == 0 && !taken.isDone()) {
                Thread.sleep(1);
            }
            served.server.stop(LONG);
            assertEquals(CAPTION, content(taken.join()));
        }
    }

    /** What is not answered in the time of grace is told so, whole answers by their status and streams by an event. */
    @Test
    void stoppingTellsWhomItCuts() throws InterruptedException {
        try (Served served = new Served(1, 16, LONG)) {
            List<CompletableFuture<HttpResponse<String>>> taken = IntStream.range(0, 8)
                    .mapToObj(i -> send(served.server, CHAT,
                            caption(Map.of("temperature", 50, "seed", i, "stream", i % 2 == 0))))
                    .toList();
            while (served.scheduler.running() + served.scheduler.waiting() < 8) {
                Thread.sleep(1);
            }
            served.server.stop(Duration.ZERO);
            int cut = 0;
            for (CompletableFuture<HttpResponse<String>> each : taken) {
                HttpResponse<String> response = each.join();
                if (response.statusCode() != 200) {
                    refused(503, "shutting_down", response);
                    cut++;
                } else if (!response.body().contains("[DONE]") && response.body().startsWith("data:")) {
                    List<String> events = response.body().lines().filter(line -> line.startsWith("data: ")).toList();
                    refused("shutting_down", events.getLast().substring(6));
                    cut++;
                }
            }
            assertTrue(cut >= 6, cut + " were told");
        }
    }

    /** A download that begins again cuts the file that is mapped: each request is told so, and the server lives on. */
    @Test
    void aModelThatIsCutShortIsTold(@TempDir Path folder) throws IOException, InterruptedException {
        Goldens.copy("paligemma-mqa", folder);
        Path weights = folder.resolve("model.safetensors");
        Served served = new Served(1, 4, LONG, "golden", false, Families.open(folder, Optional.empty()));
        assertEquals(200, served.ask(caption(Map.of("max_tokens", 4))).statusCode());
        assertEquals(200, served.get("/health", KEY).statusCode());
        try (FileChannel file = FileChannel.open(weights, StandardOpenOption.WRITE)) {
            file.truncate(10_000);
        }
        for (int i = 0; i < 2; i++) {
            HttpResponse<String> response = served.ask(caption(Map.of("max_tokens", 4)));
            refused(500, "model_broken", response);
            assertFalse(response.body().contains(folder.toString()), response.body());
        }
        HttpResponse<String> health = served.get("/health", KEY);
        assertEquals(503, health.statusCode());
        assertTrue(health.body().contains("\"model broken\""), health.body());
        String said = assertThrows(CheckpointException.class, served::close).getMessage();
        assertTrue(said.contains(weights + ": was changed while it was used"), said);
    }

    /** A server in a process of its own, as a user starts it. */
    private static Process start() throws IOException {
        return new ProcessBuilder(
                        ProcessHandle.current().info().command().orElseThrow(),
                        "--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-cp",
                        System.getProperty("java.class.path"), "stormsight.cli.Main", "serve", "--port", "0", "--root",
                        "examples", "--grace", "100")
                .redirectOutput(new File("/dev/null").exists() ? new File("/dev/null") : new File("NUL"))
                .start();
    }

    private static int port(Process process) throws IOException {
        BufferedReader said = new BufferedReader(new InputStreamReader(process.getErrorStream()));
        for (String line; (line = said.readLine()) != null;) {
            Matcher where = WHERE.matcher(line);
            if (where.find()) {
                return Integer.parseInt(where.group(1));
            }
        }
        throw new IOException("the server ended");
    }

    private static CompletableFuture<HttpResponse<InputStream>> stream(int port, int seed) {
        return Served.CLIENT.sendAsync(
                HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + CHAT))
                        .header("Content-Type", "application/json")
                        .POST(HttpRequest.BodyPublishers.ofString(
                                caption(Map.of("temperature", 50, "seed", seed, "max_tokens", 16, "stream", true))))
                        .build(),
                HttpResponse.BodyHandlers.ofInputStream());
    }

    private static String rest(CompletableFuture<HttpResponse<InputStream>> answer) {
        StringBuilder text = new StringBuilder();
        try (InputStream in = answer.join().body()) {
            for (int read; (read = in.read()) >= 0;) {
                text.append((char) read);
            }
        } catch (IOException | RuntimeException e) {
            // Cut.
        }
        return text.toString();
    }

    /** Killed in the middle, no client takes half an answer for a whole one; asked to end, all get theirs. */
    @Test
    @Timeout(180)
    void aKillInTheMiddleIsNoAnswer() throws IOException, InterruptedException {
        for (boolean kill : new boolean[] {true, false}) {
            Process process = start();
            try {
                int port = port(process);
                List<CompletableFuture<HttpResponse<InputStream>>> answers =
                        IntStream.range(0, STREAMS).mapToObj(seed -> stream(port, seed)).toList();
                // The first has begun.
                assertEquals(200, CompletableFuture.anyOf(answers.toArray(CompletableFuture[]::new))
                        .thenApply(first -> ((HttpResponse<?>) first).statusCode()).join());
                if (kill) {
                    process.destroyForcibly();
                } else {
                    process.destroy();
                }
                List<String> texts = answers.stream().map(FaultTest::rest).toList();
                assertTrue(process.waitFor(60, TimeUnit.SECONDS));
                if (kill) {
                    assertFalse(texts.getLast().contains("[DONE]"), texts.getLast());
                    assertTrue(texts.stream().filter(text -> text.contains("[DONE]")).count() < STREAMS);
                } else {
                    assertTrue(texts.stream().allMatch(text -> text.contains("[DONE]")), texts.toString());
                }
            } finally {
                process.destroyForcibly();
            }
        }
    }
}

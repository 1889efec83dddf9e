package stormsight.serve;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.CleanupMode;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/** The page at / in a browser without a window, where Chromium or Chrome is installed; it is led by its protocol. */
class PageTest {
    private static final String[] NAMES = {"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"};
    private static final Pattern PORT = Pattern.compile("ws://127\\.0\\.0\\.1:(\\d+)/");

    /** Drops the image, asks, and tells what was seen meanwhile. */
    private static final String VISIT = """
            (async () => {
              const at = id => document.getElementById(id);
              const until = async done => {
                for (let i = 0; !done(); i++) {
                  if (i > 1200) throw new Error("still waits for " + done);
                  await new Promise(next => setTimeout(next, 50));
                }
              };
              const file = new File([await (await fetch("%s")).blob()], "kitchen.png", {type: "image/png"});
              const data = new DataTransfer();
              data.items.add(file);
              document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
              await until(() => at("canvas").width > 0);
              const {width, height} = at("canvas");
              const pixels = () => at("canvas").getContext("2d").getImageData(0, 0, width, height).data;
              const before = pixels();
              const seen = [];
              new MutationObserver(() => seen.push(at("answer").textContent)).observe(
                  at("answer"), {childList: true, characterData: true, subtree: true});
              const ask = async (prompt, key) => {
                at("prompt").value = prompt;
                at("key").value = key;
                at("ask").click();
                await until(() => at("stop").disabled);
              };
              await ask("detect star", "wrong");
              const refused = {text: at("answer").textContent, style: at("answer").className};
              seen.length = 0;
              await ask("detect star", "sesame");
              const after = pixels();
              let left = width, top = height, right = 0, bottom = 0, changed = 0;
              for (let y = 0; y < height; y++) {
                for (let x = 0; x < width; x++) {
                  const p = 4 * (y * width + x);
                  // The first box is red, but for what shines through.
                  if (after[p] - after[p + 1] > 80 && before[p + 1] !== after[p + 1]) {
                    left = Math.min(left, x);
                    right = Math.max(right, x);
                    top = Math.min(top, y);
                    bottom = Math.max(bottom, y);
                  }
                  changed += before[p] !== after[p] ? 1 : 0;
                }
              }
              return JSON.stringify({refused, seen, answer: at("answer").textContent, left, top, right, bottom,
                  changed, width, height});
            })()""";

    @TempDir(cleanup = CleanupMode.NEVER)
    private static Path profile;

    /** A connection to a tab. */
    private static final class Tab implements WebSocket.Listener {
        private final BlockingQueue<String> messages = new LinkedBlockingQueue<>();
        private final StringBuilder part = new StringBuilder();
        private final WebSocket socket;
        private int last;

        Tab(String url) {
            socket = Served.CLIENT.newWebSocketBuilder().buildAsync(URI.create(url), this).join();
        }

        @Override
        public CompletionStage<?> onText(WebSocket from, CharSequence text, boolean complete) {
            part.append(text);
            if (complete) {
                messages.add(part.toString());
                part.setLength(0);
            }
            from.request(1);
            return null;
        }

        JsonNode call(String method, Map<String, ?> parameters) throws InterruptedException {
            int id = ++last;
            socket.sendText(Served.JSON.writeValueAsString(
                    Map.of("id", id, "method", method, "params", parameters)), true).join();
            while (true) {
                String text = messages.poll(100, TimeUnit.SECONDS);
                assertTrue(text != null, method + " is not answered");
                JsonNode message = Served.JSON.readTree(text);
                if (message.path("id").asInt(0) == id) {
                    assertTrue(message.path("error").isMissingNode(), text);
                    return message.path("result");
                }
            }
        }

        String evaluate(String script) throws InterruptedException {
            JsonNode result = call("Runtime.evaluate",
                    Map.of("expression", script, "awaitPromise", true, "returnByValue", true));
            assertTrue(result.path("exceptionDetails").isMissingNode(), result.toString());
            return result.at("/result/value").asString();
        }
    }

    private static Optional<Path> browser() {
        return Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
                .flatMap(folder -> Arrays.stream(NAMES).map(name -> Path.of(folder, name)))
                .filter(Files::isExecutable)
                .findFirst();
    }

    private static int port(Process browser) throws IOException {
        BufferedReader said = new BufferedReader(new InputStreamReader(browser.getErrorStream()));
        for (String line; (line = said.readLine()) != null;) {
            Matcher port = PORT.matcher(line);
            if (port.find()) {
                return Integer.parseInt(port.group(1));
            }
        }
        throw new IOException("the browser ended");
    }

    @Test
    @Timeout(240)
    void anImageIsDroppedAndItsObjectFramed() throws Exception {
        Optional<Path> program = browser();
        Assumptions.assumeTrue(program.isPresent(), "neither Chromium nor Chrome is installed");
        Process browser = new ProcessBuilder(program.get().toString(), "--headless=new", "--no-sandbox",
                "--disable-gpu", "--remote-debugging-port=0", "--user-data-dir=" + profile, "--window-size=900,900",
                "about:blank").start();
        try (Served served = new Served(2, 8, Duration.ofSeconds(60))) {
            int port = port(browser);
            JsonNode tabs = Served.JSON.readTree(Served.CLIENT.send(
                    HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/json/list")).build(),
                    HttpResponse.BodyHandlers.ofString()).body());
            Tab tab = new Tab(tabs.valueStream().filter(each -> each.path("type").asString("").equals("page"))
                    .findFirst().orElseThrow().path("webSocketDebuggerUrl").asString());
            tab.call("Page.enable", Map.of());
            tab.call("Page.navigate", Map.of("url", "http://localhost:" + served.server.port() + "/"));
            while (!tab.evaluate("document.readyState + document.title").equals("completeStormsight")) {
                Thread.sleep(50);
            }
            String image = Served.data(Files.readAllBytes(Path.of("examples", "kitchen.png")));
            JsonNode seen = Served.JSON.readTree(tab.evaluate(VISIT.formatted(image)));
            Files.write(
                    Files.createDirectories(Path.of("target")).resolve("page.png"),
                    Base64.getDecoder().decode(tab.call("Page.captureScreenshot", Map.of()).path("data").asString()));
            assertEquals("the API key is wrong", seen.at("/refused/text").asString());
            assertEquals("wrong", seen.at("/refused/style").asString());
            String answer = seen.path("answer").asString();
            assertEquals("<loc0573><loc0353><loc0836><loc0617> star", answer);
            // The text only grew, up to the answer; how many pieces the page sees depends on the machine.
            String grown = "";
            for (JsonNode text : seen.path("seen")) {
                assertTrue(text.asString().startsWith(grown), seen.toString());
                grown = text.asString();
            }
            assertEquals(answer, grown);
            assertTrue(seen.path("changed").asInt() > 100, seen.toString());
            double width = seen.path("width").asDouble();
            double height = seen.path("height").asDouble();
            double line = Math.max(2, width / 200) + 1;
            assertEquals(353 / 1024.0 * width, seen.path("left").asDouble(), line);
            assertEquals(573 / 1024.0 * height, seen.path("top").asDouble(), line);
            assertEquals(617 / 1024.0 * width, seen.path("right").asDouble(), line);
            assertEquals(836 / 1024.0 * height, seen.path("bottom").asDouble(), line);
        } finally {
            browser.destroy();
            browser.waitFor(10, TimeUnit.SECONDS);
            browser.destroyForcibly();
        }
    }
}

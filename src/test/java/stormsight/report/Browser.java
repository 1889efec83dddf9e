package stormsight.report;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A headless Chromium, spoken to in the WebDriver protocol. The few calls that the tests need stand for a client
 * library of forty others.
 *
 * @see <a href="https://www.w3.org/TR/webdriver2/">WebDriver</a>
 */
final class Browser implements AutoCloseable {
    static final String LEFT = "\uE012";
    static final String UP = "\uE013";
    static final String RIGHT = "\uE014";
    static final String DOWN = "\uE015";
    static final String TAB = "\uE004";
    static final String SPACE = " ";

    private static final String ELEMENT = "element-6066-11e4-a52e-4f735466cecf";
    private static final Pattern PORT = Pattern.compile("started successfully on port (\\d+)");
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    private final JsonMapper json = JsonMapper.shared();
    private final HttpClient client = HttpClient.newHttpClient();
    private final Process driver;
    private final String session;

    private Browser(Process driver, String session) {
        this.driver = driver;
        this.session = session;
    }

    /**
     * Starts a browser; the calling test is skipped where there is none.
     *
     * @param profile a new directory
     */
    static Browser start(Path profile) throws IOException {
        Optional<Path> driver = find("chromedriver");
        Optional<Path> chromium = Stream.of("chromium", "chromium-browser", "google-chrome")
                .flatMap(name -> find(name).stream())
                .findFirst();
        assumeTrue(
                driver.isPresent() && chromium.isPresent(),
                "no Chromium with its driver on the PATH: install them, on Debian with apt-get install chromium "
                        + "chromium-driver");
        Process process = new ProcessBuilder(driver.get().toString(), "--port=0").redirectErrorStream(true).start();
        try {
            String port = CompletableFuture.supplyAsync(() -> port(process))
                    .orTimeout(PATIENCE.toSeconds(), TimeUnit.SECONDS)
                    .join();
            String root = "http://localhost:" + port + "/session";
            List<String> arguments = List.of(
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    "--window-size=1280,1000",
                    "--user-data-dir=" + profile);
            Map<String, Object> wanted = Map.of("browserName", "chrome",
                    "goog:loggingPrefs", Map.of("browser", "ALL", "performance", "ALL"),
                    "goog:chromeOptions", Map.of("binary", chromium.get().toString(), "args", arguments));
            JsonNode opened =
                    new Browser(process, root).post("", Map.of("capabilities", Map.of("alwaysMatch", wanted)));
            Browser browser = new Browser(process, root + "/" + opened.get("sessionId").asString());
            browser.post("/url", Map.of("url", "about:blank"));
            // The page of a new tab asks for parts of the browser.
            browser.requests();
            return browser;
        } catch (RuntimeException e) {
            destroy(process);
            throw e;
        }
    }

    /** Where the driver listens; what it says before is no concern of ours. */
    private static String port(Process driver) {
        return driver.inputReader()
                .lines()
                .map(PORT::matcher)
                .filter(Matcher::find)
                .findFirst()
                .orElseThrow(() -> new IllegalStateException("the driver of Chromium ended before it listened"))
                .group(1);
    }

    /** With the browser that it started, which outlives it otherwise. */
    private static void destroy(Process driver) {
        driver.descendants().forEach(ProcessHandle::destroyForcibly);
        driver.destroyForcibly();
    }

    private static Optional<Path> find(String program) {
        return Stream.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
                .map(directory -> Path.of(directory, program)).filter(Files::isExecutable).findFirst();
    }

    private JsonNode post(String path, Object body) {
        return send(HttpRequest.newBuilder(URI.create(session + path))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(json.writeValueAsString(body))));
    }

    private JsonNode send(HttpRequest.Builder request) {
        try {
            HttpResponse<String> response =
                    client.send(request.timeout(PATIENCE).build(), HttpResponse.BodyHandlers.ofString());
            JsonNode value = json.readTree(response.body()).get("value");
            if (response.statusCode() != 200) {
                throw new IllegalStateException(value.toString());
            }
            return value;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    void open(Path page) {
        post("/url", Map.of("url", page.toUri().toString()));
    }

    /** What a piece of JavaScript returns; a promise is waited for. */
    JsonNode run(String script, Object... arguments) {
        return post("/execute/sync", Map.of("script", script, "args", List.of(arguments)));
    }

    /** The text of the first element of a CSS selector. */
    String text(String selector) {
        return run("return document.querySelector(arguments[0]).textContent", selector).asString();
    }

    private String element(String selector) {
        return post("/element", Map.of("using", "css selector", "value", selector)).get(ELEMENT).asString();
    }

    void click(String selector) {
        post("/element/" + element(selector) + "/click", Map.of());
        settle();
    }

    /** Types on an element, which takes the focus first. */
    void type(String selector, String keys) {
        post("/element/" + element(selector) + "/value", Map.of("text", keys));
        settle();
    }

    /** Types where the focus is. */
    void type(String keys) {
        String active = send(HttpRequest.newBuilder(URI.create(session + "/element/active"))
                        .GET())
                .get(ELEMENT)
                .asString();
        post("/element/" + active + "/value", Map.of("text", keys));
        settle();
    }

    /** Moves the pointer to a place in an element, in parts of its width and height. */
    void point(String selector, double x, double y) {
        move(selector, x, y, List.of());
    }

    /** Presses the mouse's first button at such a place. */
    void press(String selector, double x, double y) {
        move(
                selector,
                x,
                y,
                List.of(Map.of("type", "pointerDown", "button", 0), Map.of("type", "pointerUp", "button", 0)));
    }

    private void move(String selector, double x, double y, List<Map<String, Object>> then) {
        JsonNode box = run("const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'});"
                + "const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]", selector);
        List<Map<String, Object>> actions = new ArrayList<>();
        actions.add(Map.of(
                "type",
                "pointerMove",
                "duration",
                0,
                "origin",
                "viewport",
                "x",
                (int) (box.get(0).asDouble() + x * box.get(2).asDouble()),
                "y",
                (int) (box.get(1).asDouble() + y * box.get(3).asDouble())));
        actions.addAll(then);
        post("/actions", Map.of("actions", List.of(Map.of("type", "pointer", "id", "mouse", "actions", actions))));
        settle();
    }

    /**
     * Waits until the page has drawn anew: what an input sets off may come in a later task, such as a details element's
     * toggle.
     */
    private void settle() {
        run("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))");
    }

    /** A command of Chromium's DevTools protocol. */
    void devTools(String command, Map<String, Object> parameters) {
        post("/goog/cdp/execute", Map.of("cmd", command, "params", parameters));
    }

    /** What was written to the console and what went wrong since the last call. */
    List<String> console() {
        List<String> messages = new ArrayList<>();
        for (JsonNode entry : post("/se/log", Map.of("type", "browser"))) {
            messages.add(entry.get("level").asString() + " " + entry.get("message").asString());
        }
        return messages;
    }

    /** What was asked for since the last call. */
    List<String> requests() {
        List<String> addresses = new ArrayList<>();
        for (JsonNode entry : post("/se/log", Map.of("type", "performance"))) {
            JsonNode message = json.readTree(entry.get("message").asString()).get("message");
            if (message.get("method").asString().equals("Network.requestWillBeSent")) {
                addresses.add(message.get("params").get("request").get("url").asString());
            }
        }
        return addresses;
    }

    @Override
    public void close() {
        try {
            send(HttpRequest.newBuilder(URI.create(session)).DELETE());
        } finally {
            client.close();
            destroy(driver);
        }
    }
}

package stormsight.serve;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static stormsight.serve.Served.CAPTION;
import static stormsight.serve.Served.content;
import static stormsight.serve.Served.question;
import static stormsight.serve.Served.refused;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What is fetched, and from where nothing is. To these tests 127.0.0.1 is public and the rest of loopback private. */
@Timeout(60)
class RemoteImagesTest {
    private static final int MAX_BYTES = 100_000;

    private HttpServer other;
    private final AtomicInteger hits = new AtomicInteger();
    private final byte[] image = readExample();
    private final AtomicInteger lookups = new AtomicInteger();
    /** The name {@code rebinding} leads elsewhere each time that somebody looks it up. */
    private final RemoteImages images = new RemoteImages(
            address -> address.getHostAddress().equals("127.0.0.1"),
            name -> switch (name) {
                case "rebinding" -> new InetAddress[] {address("127.0.0." + lookups.incrementAndGet())};
                case "public" -> new InetAddress[] {address("127.0.0.1")};
                case "both" -> new InetAddress[] {address("127.0.0.1"), address("127.0.0.2")};
                case "private" -> new InetAddress[] {address("127.0.0.2")};
                case "nowhere" -> throw new UnknownHostException(name);
                default -> InetAddress.getAllByName(name);
            },
            MAX_BYTES,
            Duration.ofSeconds(2));

    private static byte[] readExample() {
        try {
            return Files.readAllBytes(Path.of("examples", "kitchen.png"));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private static InetAddress address(String text) throws UnknownHostException {
        return InetAddress.getByName(text);
    }

    @BeforeEach
    void start() throws IOException {
        other = HttpServer.create(new InetSocketAddress("0.0.0.0", 0), 0);
        other.createContext("/", exchange -> {
            hits.incrementAndGet();
            String path = exchange.getRequestURI().getPath();
            if (path.equals("/image")) {
                exchange.sendResponseHeaders(200, image.length);
                exchange.getResponseBody().write(image);
            } else if (path.equals("/large")) {
                exchange.sendResponseHeaders(200, 0);
                exchange.getResponseBody().write(new byte[MAX_BYTES + 1]);
            } else if (path.equals("/slow")) {
                exchange.sendResponseHeaders(200, 1000);
                exchange.getResponseBody().write(1);
                exchange.getResponseBody().flush();
                return;
            } else if (path.equals("/redirect")) {
                String to = exchange.getRequestURI().getQuery().substring("to=".length());
                exchange.getResponseHeaders().set("Location", to);
                exchange.sendResponseHeaders(302, -1);
            } else if (path.equals("/loop")) {
                exchange.getResponseHeaders().set("Location", "/loop");
                exchange.sendResponseHeaders(301, -1);
            } else {
                exchange.sendResponseHeaders(404, -1);
            }
            exchange.close();
        });
        other.start();
    }

    @AfterEach
    void stop() {
        other.stop(0);
    }

    private String at(String host, String path) {
        return "http://" + host + ":" + other.getAddress().getPort() + path;
    }

    private void fails(String why, String url) {
        ApiException e = assertThrows(ApiException.class, () -> images.fetch(url));
        assertEquals("remote_image", e.code());
        assertTrue(e.getMessage().contains(why), e.getMessage());
    }

    @Test
    void publicImagesAreFetchedAlsoThroughRedirects() {
        assertArrayEquals(image, images.fetch(at("public", "/image")));
        assertArrayEquals(image, images.fetch(at("public", "/redirect?to=/image")));
        assertArrayEquals(image, images.fetch(at("public", "/redirect?to=" + at("127.0.0.1", "/image"))));
    }

    @Test
    void privateAddressesAreNeverReached() {
        // The last one is 127.0.0.2, too.
        for (String host : new String[] {"private", "both", "127.0.0.2", "[::1]", "2130706434"}) {
            fails("private network", at(host, "/image"));
        }
        assertEquals(0, hits.get());
        fails("private network", at("public", "/redirect?to=" + at("private", "/image")));
        assertEquals(1, hits.get());
    }

    /** The address that was looked at is the one that is asked; at the next look the name leads to a private one. */
    @Test
    void aNameThatChangesItsAddressGainsNothing() {
        assertArrayEquals(image, images.fetch(at("rebinding", "/image")));
        assertEquals(1, lookups.get());
        fails("private network", at("rebinding", "/image"));
        assertEquals(1, hits.get());
    }

    @Test
    void whatIsNoImageOfAServerIsToldWhy() {
        fails("no host of that name", at("nowhere", "/image"));
        fails("404", at("public", "/none"));
        fails("more than " + MAX_BYTES + " bytes", at("public", "/large"));
        fails("timed out", at("public", "/slow"));
        fails("redirects", at("public", "/loop"));
        fails("only http and https", "ftp://public/image");
        fails("only http and https", at("public", "/redirect?to=file:///etc/passwd"));
        fails("is not a URL", "http://public/a b");
    }

    @Test
    void addressesOfPrivateNetworksAreKnown() throws UnknownHostException {
        for (String address : new String[] {"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
            "100.64.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.0.8",
            "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
            "::7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "2001:db8::1"}) {
            assertFalse(PublicAddresses.contain(address(address)), address);
        }
        for (String address : new String[] {"1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1",
            "2606:4700:4700::1111", "2001:4860:4860::8888"}) {
            assertTrue(PublicAddresses.contain(address(address)), address);
        }
    }

    /** Through a server: without the option nothing is asked, with it this machine is refused all the same. */
    @Test
    void aServerFetchesOnlyIfAllowed() {
        String body = question(at("127.0.0.1", "/image"), "caption en", Map.of());
        for (boolean allowed : new boolean[] {false, true}) {
            try (Served served = new Served(1, 1, Duration.ofSeconds(60), "shapes", allowed)) {
                refused(400, "remote_image", served.ask(body));
                assertEquals(CAPTION, content(served.ask(Served.caption(Map.of()))));
            }
        }
        assertEquals(0, hits.get());
    }
}

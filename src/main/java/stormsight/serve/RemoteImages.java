package stormsight.serve;

import io.helidon.http.HeaderNames;
import io.helidon.webclient.api.DnsAddressLookup;
import io.helidon.webclient.api.Proxy;
import io.helidon.webclient.http1.Http1Client;
import io.helidon.webclient.http1.Http1ClientResponse;
import io.helidon.webclient.spi.DnsResolver;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.Arrays;
import java.util.function.Predicate;
import stormsight.image.DataUrl;

/**
 * Fetches images by http and https, from the addresses that a server may reach. A name is looked up once: the address
 * that was found to be allowed is the one that is connected to, so that a name that changes its address between the two
 * gains nothing. Each redirect is looked at in the same way.
 */
final class RemoteImages {
    private static final int MOST_REDIRECTS = 5;
    private static final Duration CONNECT = Duration.ofSeconds(10);

    private final Predicate<InetAddress> reachable;
    private final int maxBytes;
    private final Duration timeout;
    private final Names names;
    private final Http1Client client;

    /** Looks up the addresses of a name. */
    interface Names {
        InetAddress[] addresses(String name) throws UnknownHostException;
    }

    /** A name that leads to where it must not. */
    private static final class Unreachable extends RuntimeException {
        private static final long serialVersionUID = 1;

        Unreachable(String message) {
            super(message);
        }
    }

    /** @param timeout of one image, redirects included */
    RemoteImages(int maxBytes, Duration timeout) {
        this(PublicAddresses::contain, InetAddress::getAllByName, maxBytes, timeout);
    }

    RemoteImages(Predicate<InetAddress> reachable, Names names, int maxBytes, Duration timeout) {
        this.reachable = reachable;
        this.names = names;
        this.maxBytes = maxBytes;
        this.timeout = timeout;
        client = Http1Client.create(builder -> builder
                .followRedirects(false)
                .proxy(Proxy.noProxy())
                .shareConnectionCache(false)
                .keepAlive(false)
                .connectTimeout(CONNECT)
                .readTimeout(timeout)
                .dnsResolver(new DnsResolver() {
                    @Override
                    public boolean useDefaultJavaResolver() {
                        return false;
                    }

                    @Override
                    public InetAddress resolveAddress(String name, DnsAddressLookup lookup) {
                        return address(name);
                    }
                }));
    }

    private InetAddress address(String name) {
        try {
            InetAddress[] all = names.addresses(name);
            if (!Arrays.stream(all).allMatch(reachable)) {
                throw new Unreachable("it leads to an address of this machine or of a private network");
            }
            return all[0];
        } catch (UnknownHostException e) {
            throw new Unreachable("there is no host of that name");
        }
    }

    /** @throws ApiException if there is nothing, or nothing that may be fetched */
    byte[] fetch(String url) {
        long end = System.nanoTime() + timeout.toNanos();
        URI at = web(url, parsed(url, url));
        for (int redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
            try (Http1ClientResponse response = client.get().uri(at).request()) {
                int status = response.status().code();
                String location = response.headers().first(HeaderNames.LOCATION).orElse("");
                if (status >= 300 && status < 400 && !location.isEmpty()) {
                    at = web(url, at.resolve(parsed(url, location)));
                    continue;
                }
                if (status != 200) {
                    throw refused(url, "the other server answers " + status);
                }
                return read(url, response.inputStream(), end);
            } catch (ApiException e) {
                throw e;
            } catch (Unreachable e) {
                throw refused(url, e.getMessage());
            } catch (IOException | RuntimeException e) {
                Throwable cause = e;
                while (cause.getCause() != null && !(cause instanceof Unreachable)) {
                    cause = cause.getCause();
                }
                throw refused(url, String.valueOf(cause.getMessage()));
            }
        }
        throw refused(url, "more than " + MOST_REDIRECTS + " redirects");
    }

    private byte[] read(String url, InputStream in, long end) throws IOException {
        ByteArrayOutputStream file = new ByteArrayOutputStream();
        byte[] part = new byte[1 << 16];
        for (int read; (read = in.read(part)) >= 0;) {
            file.write(part, 0, read);
            if (file.size() > maxBytes) {
                throw refused(url, "more than " + maxBytes + " bytes");
            }
            if (System.nanoTime() > end) {
                throw refused(url, "not complete within " + timeout.toSeconds() + " s");
            }
        }
        return file.toByteArray();
    }

    private static URI parsed(String url, String text) {
        try {
            return new URI(text);
        } catch (URISyntaxException e) {
            throw refused(url, "is not a URL: " + e.getReason());
        }
    }

    private static URI web(String url, URI at) {
        if (at.getHost() == null
                || !"http".equalsIgnoreCase(at.getScheme()) && !"https".equalsIgnoreCase(at.getScheme())) {
            throw refused(url, "only http and https URLs of a host are fetched");
        }
        return at;
    }

    private static ApiException refused(String url, String why) {
        return ApiException.remote("the image " + DataUrl.shown(url) + " cannot be fetched: " + why);
    }
}

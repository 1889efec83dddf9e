package stormsight.serve;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;

/**
 * What a server allows.
 *
 * @param port 0 takes a free one
 * @param apiKey what clients must send, if anything
 * @param root the folder below which requests may name image files; none where it is empty
 * @param remoteImages whether images are fetched by http and https, from public addresses
 * @param maxBody bytes of a request, and of an image that is fetched
 * @param maxPixels pixels of an image
 * @param places requests that are here at a time, whether they are answered, wait, or are still on their way; more are
 *     refused
 * @param timeout of a request, from its arrival to its last token
 * @param maxTokens most tokens of an answer, and how many it has where a request does not say
 */
public record ServerOptions(
        String host,
        int port,
        Optional<String> apiKey,
        Optional<Path> root,
        boolean remoteImages,
        int maxBody,
        long maxPixels,
        int places,
        Duration timeout,
        int maxTokens) {
    /** What this machine calls itself. */
    static final Set<String> LOOPBACK = Set.of("localhost", "127.0.0.1", "[::1]", "::1");

    /** Whether only this machine can ask. */
    public boolean isLocal() {
        return LOOPBACK.contains(host);
    }
}

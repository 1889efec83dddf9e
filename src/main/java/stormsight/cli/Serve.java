package stormsight.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.checkpoint.TemporaryFolder;
import stormsight.generate.Generator;
import stormsight.generate.Scheduler;
import stormsight.image.ImageDecoder;
import stormsight.match.Embedder;
import stormsight.model.DualEncoder;
import stormsight.model.Limits;
import stormsight.serve.Server;
import stormsight.serve.ServerOptions;

/** Answers over HTTP until it is stopped. */
@Command(
        name = "serve",
        description = {
            "Answers over HTTP as OpenAI's clients ask.",
            "Paths: /v1/chat/completions, /v1/embeddings (SigLIP, CLIP), /v1/models, /health, /metrics, and a page to "
                    + "try it at /. Ctrl-C or SIGTERM ends it after the requests that it took."
        })
final class Serve extends ModelCommand implements Runnable {
    private static final String LOOPBACK = "127.0.0.1";

    @Option(names = "--host", paramLabel = "ADDRESS", defaultValue = LOOPBACK,
            description = "Where to listen; 0.0.0.0 lets other machines ask. Default: ${DEFAULT-VALUE}.")
    private String host;

    @Option(names = "--port", paramLabel = "N", defaultValue = "8080",
            description = "0 takes a free port. Default: ${DEFAULT-VALUE}.")
    private int port;

    @Option(names = "--api-key", paramLabel = "KEY",
            description = "What clients must send; others see it in the list of processes, so that the variable "
                    + "STORMSIGHT_API_KEY is the better place.")
    private Optional<String> apiKey = Optional.empty();

    @Option(names = "--root", paramLabel = "DIR",
            description = "Requests may name image files below this folder. Without it they send images themselves.")
    private Path root;

    @Option(names = "--remote-images",
            description = "Fetch images that requests name by http and https, from public addresses only.")
    private boolean remoteImages;

    @Option(names = {"-b", Parallel.OPTION}, paramLabel = "N", defaultValue = "4",
            description = "Answers " + Parallel.RANGE + " Default: ${DEFAULT-VALUE}.")
    private int parallel;

    @Option(names = "--queue", paramLabel = "N", defaultValue = "64",
            description = "Requests that may wait; more are refused. Default: ${DEFAULT-VALUE}.")
    private int queue;

    @Option(names = "--timeout", paramLabel = "SECONDS", defaultValue = "300",
            description = "Longest time of a request, waiting included. Default: ${DEFAULT-VALUE}.")
    private int timeout;

    @Option(names = "--grace", paramLabel = "SECONDS", defaultValue = "30",
            description = "Time that requests get when the server is stopped. Default: ${DEFAULT-VALUE}.")
    private int grace;

    @Option(names = "--max-body", paramLabel = "MB", defaultValue = "32",
            description = "Largest request. Default: ${DEFAULT-VALUE}.")
    private int maxBody;

    @Option(names = "--max-pixels", paramLabel = "N", defaultValue = "33554432",
            description = "Largest image. Default: ${DEFAULT-VALUE}.")
    private int maxPixels;

    @Option(names = "--prompt-tokens", paramLabel = "N", defaultValue = "256",
            description = "Longest text of a prompt, in tokens. Default: ${DEFAULT-VALUE}, or what the model has "
                    + "room for.")
    private int promptTokens;

    @Option(names = {"-n", "--max-new-tokens", "--max-tokens"}, paramLabel = "N", defaultValue = "256",
            description = "The longest answer, in tokens. Default: ${DEFAULT-VALUE}, or what the model has room for.")
    private int maxTokens;

    @Override
    public void run() {
        Environment.configureLibraries();
        check();
        withModel((directory, backend, progress) -> {
            if (directory.anyModel() instanceof DualEncoder) {
                try (Embedder embedder =
                        Embedder.open(directory, backend, model.options(), progress)) {
                    serve(Optional.empty(), Optional.of(embedder), 1, maxTokens, backend);
                }
                return;
            }
            Limits limits = directory.limitsWithin(promptTokens, maxTokens).withSequences(parallel);
            try (Scheduler scheduler = Scheduler.open(
                    () -> Generator.open(directory, backend, limits, model.options(), progress, List.of()),
                    parallel + queue)) {
                serve(Optional.of(scheduler), Optional.empty(), parallel, limits.newTokens(), backend);
            }
        });
    }

    private void check() {
        if (port < 0 || port > 65535) {
            throw new UsageException("--port " + port + " is not in 0 .. 65535");
        }
        Parallel.check(parallel);
        if (queue < 0 || timeout < 1 || maxBody < 1 || maxBody > 1024 || promptTokens < 1 || maxTokens < 1
                || grace < 0) {
            throw new UsageException("--timeout, --max-body (at most 1024), --prompt-tokens and --max-tokens must be "
                    + "positive, --queue and --grace not negative");
        }
        if (maxPixels < 1 || maxPixels > ImageDecoder.MOST_PIXELS) {
            throw new UsageException("--max-pixels " + maxPixels + " is not in 1 .. " + ImageDecoder.MOST_PIXELS);
        }
        if (apiKey.isPresent() && apiKey.get().isBlank()) {
            throw new UsageException("--api-key is empty; leave it out where everybody may ask");
        }
        if (root != null && !Files.isDirectory(root)) {
            throw new UsageException("--root " + root + " is no folder");
        }
    }

    /**
     * Listens until the process is asked to end.
     *
     * @param atATime requests that are answered at a time
     */
    private void serve(
            Optional<Scheduler> scheduler, Optional<Embedder> embedder, int atATime, int longest, Backend backend) {
        Optional<String> key = apiKey.isPresent() ? apiKey : Environment.apiKey();
        ServerOptions options = new ServerOptions(host, port, key, Optional.ofNullable(root), remoteImages,
                maxBody << 20, maxPixels, atATime + queue, Duration.ofSeconds(timeout), longest);
        try (Server server = new Server(options, served(), scheduler, embedder)) {
            err().println("Serving " + served() + " (" + backend.device().title() + ") at http://"
                    + (host.contains(":") ? "[" + host + "]" : host) + ":" + server.port() + "/");
            if (key.isEmpty() && !options.isLocal()) {
                err().println("Whoever reaches " + host + " can ask: no --api-key was given.");
            }
            err().flush();
            TemporaryFolder.finishFirst(() -> server.stop(Duration.ofSeconds(grace)));
            new CountDownLatch(1).await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** What clients call the model. */
    private String served() {
        return model.chosen() ? model.shortName() : "shapes";
    }
}

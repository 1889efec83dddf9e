package stormsight.serve;

import io.prometheus.metrics.core.metrics.Counter;
import io.prometheus.metrics.core.metrics.GaugeWithCallback;
import io.prometheus.metrics.core.metrics.Histogram;
import io.prometheus.metrics.expositionformats.PrometheusTextFormatWriter;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.function.IntSupplier;

/** What a server counts, in the text format of Prometheus. */
final class Metrics {
    static final String CONTENT_TYPE = PrometheusTextFormatWriter.CONTENT_TYPE;

    private static final double[] SECONDS = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120};

    private final PrometheusRegistry registry = new PrometheusRegistry();
    private final Counter requests = Counter.builder()
            .name("stormsight_requests_total")
            .help("Requests by the status they got; 499 where the client left.")
            .labelNames("path", "status")
            .register(registry);
    private final Counter tokens = Counter.builder()
            .name("stormsight_tokens_total")
            .help("Tokens of prompts and of answers.")
            .labelNames("kind")
            .register(registry);
    private final Histogram firstToken = histogram("stormsight_first_token_seconds", "Until the first piece of text.");
    private final Histogram whole = histogram("stormsight_request_seconds", "Until an answer was complete.");

    Metrics(IntSupplier running, IntSupplier waiting) {
        gauge("stormsight_requests_running", "Requests that are being answered.", running);
        gauge("stormsight_requests_waiting", "Requests that wait for their turn.", waiting);
    }

    private Histogram histogram(String name, String help) {
        return Histogram.builder().name(name).help(help).classicOnly().classicUpperBounds(SECONDS).register(registry);
    }

    private void gauge(String name, String help, IntSupplier value) {
        GaugeWithCallback.builder()
                .name(name)
                .help(help)
                .callback(callback -> callback.call(value.getAsInt()))
                .register(registry);
    }

    void request(String path, String status) {
        requests.labelValues(path, status).inc();
    }

    void firstToken(long nanos) {
        firstToken.observe(nanos / 1e9);
    }

    void answered(long nanos, int promptTokens, int answerTokens) {
        whole.observe(nanos / 1e9);
        tokens.labelValues("prompt").inc(promptTokens);
        tokens.labelValues("answer").inc(answerTokens);
    }

    byte[] text() {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            PrometheusTextFormatWriter.create().write(out, registry.scrape());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return out.toByteArray();
    }
}

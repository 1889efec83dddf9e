package stormsight.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.model.Limits;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The measuring side of the line protocol between {@link MeasuringProcess} and the process that it starts. A line
 * {@code {"do": NAME, "with": {...}}} is answered by a line {@code {"done": ...}}; before the first one the process
 * says {@code {"done": "ready"}}. It ends with its input.
 */
public final class MeasuringService {
    /**
     * @param promptTokens 0 for a model that answers nothing, which has no limits
     * @param views most views of an image
     * @param sequences most sequences of a run
     * @param image path of an image; empty for the drawn picture
     */
    record Open(
            Configuration configuration,
            int promptTokens,
            int newTokens,
            int views,
            int sequences,
            Optional<String> image) {
        /** Of a model that compares or names images. */
        static Open ofEncoder(Configuration configuration, Optional<String> image) {
            return new Open(configuration, 0, 0, 1, 1, image);
        }

        boolean encodes() {
            return promptTokens == 0;
        }

        Limits limits() {
            return new Limits(promptTokens, newTokens, views, sequences);
        }

        Picture picture() {
            return Picture.of(image);
        }
    }

    record Checks(List<Trial> trials, Check.Against against) {}

    /**
     * @param against what each trial was compared with
     * @param first see {@link Measured#first}
     */
    record Checked(List<String> against, int first) {}

    record Timed(long nanos) {}

    static final String OPEN = "open";
    static final String CHECK = "check";
    static final String TIME = "time";
    static final String COLD = "cold";
    static final String AGREE = "agree";

    private static final JsonMapper JSON = JsonMapper.shared();

    private final PrintWriter out;
    private Measured model;

    private MeasuringService(PrintWriter out) {
        this.out = out;
    }

    /**
     * Serves until the input ends.
     *
     * @throws RuntimeException whatever a request throws: the process is over then, and its exit code and last line say
     *     why
     */
    public static void serve(BufferedReader in, PrintWriter out) {
        MeasuringService service = new MeasuringService(out);
        try {
            service.reply("ready");
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                JsonNode request = JSON.readTree(line);
                service.reply(service.handle(request.get("do").asString(), request.get("with")));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } finally {
            if (service.model != null) {
                service.model.close();
            }
        }
    }

    private void reply(Object done) {
        out.println(JSON.writeValueAsString(Map.of("done", done)));
        out.flush();
    }

    private Object handle(String what, JsonNode with) {
        return switch (what) {
            case OPEN -> {
                open(JSON.treeToValue(with, Open.class));
                yield Setting.of(model);
            }
            case CHECK -> check(JSON.treeToValue(with, Checks.class));
            case TIME -> new Timed(model.time(JSON.treeToValue(with, Trial.class)));
            case COLD -> {
                open(JSON.treeToValue(with, Open.class));
                yield model.cold();
            }
            case AGREE -> Agreement.run((MeasuredModel) model, JSON.treeToValue(with, Agreement.Request.class));
            default -> throw new IllegalArgumentException("no request '" + what + "'");
        };
    }

    private void open(Open open) {
        // Before the clock of opening runs.
        Picture picture = open.picture();
        model = open.encodes()
                ? MeasuredEncoder.open(open.configuration(), picture)
                : MeasuredModel.open(open.configuration(), open.limits(), picture);
    }

    private Checked check(Checks checks) {
        List<String> against = new ArrayList<>();
        try (Check check = Check.of(model, checks.against(), checks.trials())) {
            checks.trials().forEach(trial -> against.add(check.check(trial)));
        }
        return new Checked(against, model.first());
    }
}

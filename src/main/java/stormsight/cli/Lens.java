package stormsight.cli;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import stormsight.study.Example;
import stormsight.study.LensFindings;
import stormsight.study.LensResult;
import stormsight.study.LensSession;

/** Reads the answer's probability after every layer. */
@Command(
        name = "lens",
        description = {
            "How an answer forms: the state of the prompt's last token, or of another, after each layer, read through "
                    + "the model's own head as if that layer were the last. Shows the probability of chosen tokens, by "
                    + "default the first token of the answer in lower case and capitalised, and the most probable "
                    + "tokens.",
            "Layer 0 is the embeddings. Without the final norm the last point is behind it, as in the published curves."
        })
final class Lens extends StudyCommand implements Runnable {
    private static final int MOST_TOP = 100;

    @Option(
            names = "--token",
            paramLabel = "TEXT",
            description = "A text whose first token to follow as well; may be repeated.")
    private List<String> tokens = new ArrayList<>();

    @Option(
            names = "--position",
            paramLabel = "N",
            description =
                    "The place of the prompt whose state is read, counted from 0, the image's rows included, or from "
                            + "the end: -1 is the last. It predicts the token at the next place. A number that is too "
                            + "high lists what stands where. Default: -1, which predicts the answer.")
    private Integer position;

    @Option(names = "--top", paramLabel = "K", defaultValue = "3",
            description = "Also show the K most probable tokens of each layer; 0 for none. Default: ${DEFAULT-VALUE}.")
    private int top;

    @Override
    public void run() {
        if (top < 0 || top > MOST_TOP) {
            throw new UsageException("--top " + top + " is not in 0 .. " + MOST_TOP);
        }
        List<String> texts = List.copyOf(new LinkedHashSet<>(tokens));
        if (texts.contains("") || texts.contains(LensResult.LOWER_CASE) || texts.contains(LensResult.CAPITALISED)) {
            throw new UsageException("--token: not a text to follow");
        }
        List<Example> asked = examples.read(List.of(), Optional.empty());
        findings.check(examples);
        Map<String, String> settings = new LinkedHashMap<>();
        settings.put("tokens", texts.toString());
        settings.put("top", String.valueOf(top));
        if (position != null) {
            settings.put(LensFindings.POSITION, String.valueOf(position));
        }
        study(
                asked,
                new Experiment<>(
                        "lens",
                        _ -> settings,
                        LensResult.class,
                        LensSession::open,
                        (session, directory, asking) -> LensResult.of(
                                session,
                                directory,
                                asking.example(),
                                asking.prompt(),
                                examples.maxTokens(),
                                Optional.ofNullable(position),
                                top,
                                texts),
                        (_, outcome) -> new LensFindings(outcome)));
    }
}

package stormsight.study;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.RunListener;
import stormsight.generate.Generator;
import stormsight.generate.GreedyAnswer;
import stormsight.generate.Probability;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Pass;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Stage;
import stormsight.model.Views;
import stormsight.probe.Flow;
import stormsight.probe.LayerWindow;
import stormsight.probe.Probe;
import stormsight.probe.Probes;
import stormsight.probe.TokenLayout;
import stormsight.program.Op;
import stormsight.program.Program;

/**
 * A model prepared for attention knockout: what happens to the probability of its own answer when chosen tokens cannot
 * read others in a window of layers. Prepared once for any number of questions; the image is encoded once a question,
 * every window is one prefill.
 *
 * @see <a href="https://arxiv.org/abs/2411.18620">Cross-modal Information Flow in Multimodal Large Language Models</a>
 */
public final class KnockoutSession implements Session {
    /** As published. */
    public static final int DEFAULT_WINDOW = 9;

    /**
     * How edges are taken away and what is measured.
     *
     * @param window how many layers around each layer
     * @param heads query heads in which edges are taken away; empty for all
     * @param wholeAnswer measure the probability of the whole answer, its end included, instead of its first token
     */
    public record Settings(int window, Set<Integer> heads, boolean wholeAnswer) {
        public static final Settings DEFAULT = new Settings(DEFAULT_WINDOW, Set.of(), false);

        public Settings {
            heads = Set.copyOf(heads);
            if (window < 1) {
                throw new IllegalArgumentException("a window of " + window + " layers");
            }
        }
    }

    /** Lets edges be taken away while a prompt is read and while it is answered. */
    private static final class Blocks implements Probe {
        private Probes.Knockout prefill;

        @Override
        public PromptRows promptRows() {
            return PromptRows.LAST;
        }

        @Override
        public Program add(Pass pass, Program program, Passes passes) {
            if (pass == Pass.ENCODE) {
                return program;
            }
            Probes.Knockout knockout = Probes.knockout(program, passes.stage(Stage.DECODER_LAYERS).segment(),
                    passes.limits().capacity());
            if (pass == Pass.PREFILL) {
                prefill = knockout;
            }
            return knockout.program();
        }

        @Override
        public void read(Pass pass, Outputs outputs) {}
    }

    private final Generator generator;
    private final ModelDirectory directory;
    private final Passes passes;
    /** Its inputs are decode's as well. */
    private final Probes.Knockout prefill;
    private Asked current;

    private KnockoutSession(Generator generator, Probes.Knockout prefill) {
        this.generator = generator;
        this.prefill = prefill;
        directory = generator.directory();
        passes = generator.passes();
    }

    /**
     * Prepares the model.
     *
     * @param limits longest prompt and answer of the questions to come
     * @throws stormsight.generate.LimitException if they pass the positions that the model knows
     * @throws stormsight.checkpoint.CheckpointException if the weights are not what the model needs
     * @throws BackendException if the device cannot hold or compile the model
     */
    public static KnockoutSession open(ModelDirectory directory, Backend backend, Limits limits, Options options,
            RunListener listener) {
        Blocks blocks = new Blocks();
        // Probabilities are read from the only row of the prompt's logits.
        Generator generator =
                Generator.open(directory, backend, limits, options.withPromptRows(PromptRows.LAST), listener,
                        List.of(blocks));
        return new KnockoutSession(generator, blocks.prefill);
    }

    /** Layers of the decoder, in any of which edges can be taken away. */
    public int layers() {
        return directory.describe().decoder().layers();
    }

    /**
     * Asks a question and waits for the model's own answer.
     *
     * @return valid until the next question
     * @throws stormsight.generate.LimitException if prompt and answer do not fit what the session was opened for
     * @throws IllegalArgumentException if the prompt does not hold the question, or holds the image token
     * @throws BackendException if the device fails or computes something that is not a number
     */
    public Asked ask(Inquiry inquiry) {
        List<Views> images = List.of(directory.views(inquiry.image(), "the image"));
        Prompt prompt = directory.prompt(inquiry.prompt(), images);
        List<Integer> question = prompt.placesOf(inquiry.question());
        generator.requireFits(prompt, inquiry.maxTokens());
        current = null;
        generator.encodeViews(images);
        generator.write(prefill.flags(), new int[Math.toIntExact(prefill.flags().shape().elements())]);
        GreedyAnswer answer = GreedyAnswer.of(generator, prompt, inquiry.maxTokens());
        current = new Asked(prompt, question, inquiry.object().map(prompt::placesOfRows), answer);
        return current;
    }

    @Override
    public boolean roundsActivations() {
        return generator.roundsActivations();
    }

    @Override
    public void close() {
        generator.close();
    }

    /** A question that the model has answered, undisturbed. */
    public final class Asked {
        private final Prompt prompt;
        private final List<Integer> question;
        private final Optional<List<Integer>> object;
        private final GreedyAnswer answer;

        private Asked(Prompt prompt, List<Integer> question, Optional<List<Integer>> object, GreedyAnswer answer) {
            this.prompt = prompt;
            this.question = question;
            this.object = object;
            this.answer = answer;
        }

        /** The answer's text, without special tokens. */
        public String answer() {
            return answer.text();
        }

        /** Ids of the answer's tokens, the one that ended it included. */
        public List<Integer> answerIds() {
            return answer.ids();
        }

        /** The first token of the answer as the tokenizer spells it: the base token. */
        public String baseToken() {
            return directory.tokenizer().token(answer.ids().getFirst());
        }

        /** Probability of the answer, or of its first token, when nothing is taken away. */
        public double baseProbability(boolean wholeAnswer) {
            return wholeAnswer ? answer.wholeProbability() : answer.probability().getFirst();
        }

        /** The spans of the prompt, and of what is generated before the last token that counts. */
        public TokenLayout layout(boolean wholeAnswer) {
            return new TokenLayout(prompt, question, object, wholeAnswer ? answer.ids().size() - 1 : 0);
        }

        /**
         * Why a flow cannot be had of this example: a span has no tokens here, or a token would see nothing; empty if
         * it can.
         */
        public Optional<String> lacks(Flow flow, Settings settings) {
            TokenLayout layout = layout(settings.wholeAnswer());
            return flow.spans()
                    .flatMap(span -> layout.lacks(span).map(reason -> "span '" + span + "': " + reason).stream())
                    .findFirst()
                    .or(() -> blind(layout, flow, settings));
        }

        private Optional<String> blind(TokenLayout layout, Flow flow, Settings settings) {
            int capacity = passes.limits().capacity();
            OptionalInt blind = layout.blind(layout.mask(flow, capacity), capacity, window());
            return blind.isEmpty()
                    ? Optional.empty()
                    : Optional.of("leaves token " + blind.getAsInt() + " (" + spelled(blind.getAsInt())
                            + ") nothing to see in " + LayerWindow.around(0, settings.window(), layers())
                            + (settings.heads().isEmpty()
                                    ? ""
                                    : ", " + (settings.heads().size() == 1 ? "head " : "heads ")
                                            + listed(settings.heads())));
        }

        /**
         * Probability of the same answer with a flow's edges taken away, for the window around each layer.
         *
         * @return [layers]
         * @throws IllegalArgumentException naming the head that there is not, or saying what the flow {@link #lacks}
         * @throws IllegalStateException if the session was asked something else since
         * @throws BackendException if the device fails or computes something that is not a number
         */
        public double[] knockOut(Flow flow, Settings settings) {
            if (current != this) {
                throw new IllegalStateException("the session was asked another question");
            }
            int heads = directory.describe().decoder().heads().queryHeads();
            for (int head : settings.heads()) {
                if (head < 0 || head >= heads) {
                    throw new IllegalArgumentException("head " + head + ": the heads are 0 to " + (heads - 1));
                }
            }
            lacks(flow, settings).ifPresent(reason -> {
                throw new IllegalArgumentException(flow.name() + ": " + reason);
            });
            generator.write(prefill.blocked(), layout(settings.wholeAnswer()).mask(flow, passes.limits().capacity()));
            double[] probabilities = new double[layers()];
            // Near the ends and in small models several layers have one window.
            Map<LayerWindow, Double> known = new HashMap<>();
            for (int layer = 0; layer < probabilities.length; layer++) {
                LayerWindow window = LayerWindow.around(layer, settings.window(), layers());
                Double probability = known.get(window);
                if (probability == null) {
                    int[] flags = new int[layers() * heads];
                    for (int l = window.from(); l < window.to(); l++) {
                        for (int h = 0; h < heads; h++) {
                            flags[l * heads + h] = settings.heads().isEmpty() || settings.heads().contains(h) ? 1 : 0;
                        }
                    }
                    generator.write(prefill.flags(), flags);
                    probability = probability(settings.wholeAnswer());
                    known.put(window, probability);
                }
                probabilities[layer] = probability;
            }
            return probabilities;
        }

        private double probability(boolean wholeAnswer) {
            double[] probability = {1};
            generator.force(prompt, wholeAnswer ? answer.ids() : answer.ids().subList(0, 1), (logits, token) ->
                    probability[0] *= Probability.of(generator.read(logits), 0, logits.columns(), token));
            return probability[0];
        }

        /** The shortest of any layer. */
        private OptionalInt window() {
            return passes.decode().program().segments().stream()
                    .flatMap(segment -> segment.ops().stream())
                    .filter(Op.BlockedAttention.class::isInstance)
                    .flatMapToInt(op -> ((Op.BlockedAttention) op).attention().windows().shortest().stream())
                    .min();
        }

        private String spelled(int token) {
            if (token >= prompt.length()) {
                return Place.shown(directory.tokenizer().token(answer.ids().get(token - prompt.length())))
                        + ", generated";
            }
            return Place.of(prompt, directory.tokenizer(), token).shown()
                    + (token == prompt.length() - 1 ? ", last" : question.contains(token) ? ", question" : "");
        }

        private static String listed(Set<Integer> heads) {
            return heads.stream().sorted().map(String::valueOf).collect(Collectors.joining(", "));
        }
    }
}

package stormsight.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.HostTensor;
import stormsight.checkpoint.RequiredTensors;
import stormsight.checkpoint.Strictness;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Tensor;

/**
 * PaliGemma 1 and 2 as three programs: encode turns patches into image features, prefill answers the first token of a prompt that the features
 * are merged into, decode answers one more token. The prompt is seen by all of its tokens, an answer's token sees what came before it.
 *
 * @see <a href="https://arxiv.org/abs/2407.07726">PaliGemma</a>
 * @see <a href="https://arxiv.org/abs/2412.03555">PaliGemma 2</a>
 */
public final class PaliGemma {
    /** Stages that analysis refers to: names of segments, and the tensor that shows the stage's result. */
    public record Stage(String segment, Tensor result) {}

    /**
     * What the buffers are made for.
     *
     * @param promptTokens most tokens of a prompt, image tokens included
     * @param newTokens most tokens of an answer
     */
    public record Limits(int promptTokens, int newTokens) {
        public Limits {
            if (promptTokens < 2 || newTokens < 1) {
                throw new IllegalArgumentException(promptTokens + " prompt tokens, " + newTokens + " new tokens");
            }
        }

        /** Tokens in the cache at the end of the longest answer. */
        public int capacity() {
            return Math.addExact(promptTokens, newTokens);
        }
    }

    /**
     * Choices that change what is computed.
     *
     * @param slidingWindow Gemma 2: limit generated tokens in every other layer, as transformers 5 does; big_vision does not
     * @param finalSoftCap Gemma 2: cap the logits as the decoder's own recipe does; neither big_vision nor transformers do so for PaliGemma
     * @param everyRow prefill computes the logits of all prompt tokens, not of the last one alone
     * @param firstPosition position of the first token: transformers counts from 1, big_vision from 0; answers do not depend on it but for
     *     rounding
     * @param quantized matrices are turned into Q8 when they are bound, instead of used in place
     */
    public record Options(boolean slidingWindow, boolean finalSoftCap, boolean everyRow, int firstPosition, boolean quantized) {
        public static final Options DEFAULT = new Options(false, false, false, 1, false);

        public Options withSlidingWindow(boolean chosen) {
            return new Options(chosen, finalSoftCap, everyRow, firstPosition, quantized);
        }

        public Options withFinalSoftCap(boolean chosen) {
            return new Options(slidingWindow, chosen, everyRow, firstPosition, quantized);
        }

        public Options withEveryRow(boolean chosen) {
            return new Options(slidingWindow, finalSoftCap, chosen, firstPosition, quantized);
        }

        public Options withFirstPosition(int chosen) {
            return new Options(slidingWindow, finalSoftCap, everyRow, chosen, quantized);
        }

        public Options withQuantized(boolean chosen) {
            return new Options(slidingWindow, finalSoftCap, everyRow, firstPosition, chosen);
        }
    }

    private static final String PROJECTOR = "multi_modal_projector.linear";

    private final PaliGemmaConfig config;
    private final Limits limits;
    private final Map<Tensor, HostTensor> weights;
    private final Tensor patches;
    private final Tensor features;
    private final Tensor promptIds;
    private final Tensor nextId;
    private final Tensor answerParts;
    private final Tensor token = new Tensor("token", DType.I32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
    private final Tensor logProbability = new Tensor("log_probability", DType.F32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
    private final Tensor promptLogits;
    private final Tensor nextLogits;
    private final SigLip vision;
    private final Gemma prompt;
    private final Program encode;
    private final Program prefill;
    private final Program decode;

    private PaliGemma(PaliGemmaConfig config, Weights bound, Optional<HostTensor> ropeTable, Limits limits, Options options) {
        this.config = config;
        this.limits = limits;
        SiglipConfig visionConfig = config.vision();
        GemmaConfig textConfig = config.text();
        patches = new Tensor("patches", DType.F32, Shape.of(visionConfig.tokens(), visionConfig.patchColumns()),
                Tensor.Kind.INPUT, 1);
        features = new Tensor("features", DType.F32, Shape.of(visionConfig.tokens(), textConfig.hiddenSize()), Tensor.Kind.CACHE,
                1);
        promptIds = new Tensor("prompt_ids", DType.I32, Shape.of(limits.promptTokens()), Tensor.Kind.INPUT, 1);
        nextId = new Tensor("next_id", DType.I32, Shape.of(1), Tensor.Kind.INPUT, 1);
        answerParts = new Tensor("answer_parts", DType.U8, Shape.of(textConfig.vocabularySize()), Tensor.Kind.INPUT, 1);
        promptLogits = logits("prompt_logits", options.everyRow() ? limits.promptTokens() : 1);
        nextLogits = logits("next_logits", 1);
        Tensor rope = Tensor.weight("rope", DType.F32, ropeShape(config, limits));
        Map<Tensor, HostTensor> values = new LinkedHashMap<>(bound.values());
        ropeTable.ifPresent(table -> values.put(rope, table));
        weights = Map.copyOf(values);

        vision = new SigLip(visionConfig, bound);
        List<Segment> encodeSegments = new ArrayList<>(vision.segments(patches));
        encodeSegments.add(Segment.once("vision.projector", List.of(new Op.MatMul(vision.output(),
                bound.get(PROJECTOR + ".weight"), Optional.of(bound.get(PROJECTOR + ".bias")), Op.Activation.NONE,
                Optional.empty(), features))));
        encode = new Program("encode", encodeSegments);

        prompt = new Gemma(textConfig, bound, rope, options.slidingWindow(), "prefill", limits.promptTokens(), limits.capacity());
        prefill = new Program("prefill", List.of(
                prompt.embeddings(promptIds, Optional.of(features)),
                prompt.layers(),
                prompt.head(options.finalSoftCap(), promptLogits, answerParts, token, logProbability)));
        Gemma next = new Gemma(textConfig, bound, rope, options.slidingWindow(), "decode", 1, limits.capacity());
        decode = new Program("decode", List.of(
                next.embeddings(nextId, Optional.empty()),
                next.layers(),
                next.head(options.finalSoftCap(), nextLogits, answerParts, token, logProbability)));
    }

    private Tensor logits(String name, int rows) {
        return new Tensor(name, DType.F32, Shape.of(rows, config.text().vocabularySize()), Tensor.Kind.OUTPUT, 1);
    }

    private static Shape ropeShape(PaliGemmaConfig config, Limits limits) {
        return Shape.of(limits.capacity(), config.text().heads().headDim());
    }

    /** All weights that a checkpoint of this configuration holds. */
    public static List<WeightSpec> weights(PaliGemmaConfig config) {
        int width = config.text().hiddenSize();
        return Stream.of(
                SigLip.weights(config.vision()),
                List.of(WeightSpec.matrix(PROJECTOR + ".weight", 1, width, config.vision().hiddenSize()),
                        WeightSpec.vector(PROJECTOR + ".bias", 1, width)),
                Gemma.weights(config.text())).flatMap(List::stream).toList();
    }

    /**
     * The programs without weights, to count what they would cost.
     *
     * @param matrixType type of a matrix, or of a stack of them, by the names of its layers
     */
    public static PaliGemma unbound(PaliGemmaConfig config, Function<List<String>, DType> matrixType, Limits limits,
            Options options) {
        Function<List<String>, DType> type = options.quantized() ? _ -> DType.Q8 : matrixType;
        return new PaliGemma(config, Weights.unbound(weights(config), type), Optional.empty(), limits, options);
    }

    /**
     * The programs with the weights of a checkpoint, whose memory they use in place unless they are quantised.
     *
     * @param config as {@link #check} returned it for this checkpoint
     * @param arena shared; owns what is computed: the table of rotary angles, quantised weights
     */
    public static PaliGemma bind(PaliGemmaConfig config, Checkpoint checkpoint, Arena arena, Limits limits, Options options) {
        List<WeightSpec> specs = weights(config);
        HostTensor rope = RopeTable.of(arena, limits.capacity(), config.text().heads().headDim(), config.text().ropeTheta(),
                options.firstPosition());
        Weights weights = Weights.bind(specs, checkpoint, Optional.of(arena).filter(_ -> options.quantized()));
        return new PaliGemma(config, weights, Optional.of(rope), limits, options);
    }

    /**
     * Holds a configuration against the weights.
     *
     * @param strictness what becomes of what is odd and changes no answer
     * @return the configuration as the weights bear it out: a stored head that differs from the embedding table is used, whatever config.json says
     * @throws stormsight.checkpoint.CheckpointException naming the tensors that are missing, of another shape or type, or odd
     */
    public static PaliGemmaConfig check(PaliGemmaConfig config, Checkpoint checkpoint, Strictness strictness) {
        PaliGemmaConfig checked = config.withTied(Gemma.tied(config.text(), checkpoint, strictness));
        RequiredTensors required = new RequiredTensors().ignore("*.position_ids");
        if (checked.text().tied()) {
            required.ignore(Gemma.LM_HEAD);
        }
        weights(checked).forEach(spec -> spec.addTo(required));
        required.check(checkpoint, strictness);
        return checked;
    }

    public PaliGemmaConfig config() {
        return config;
    }

    public Limits limits() {
        return limits;
    }

    /** Values of all weights; empty if this is {@link #unbound}. */
    public Map<Tensor, HostTensor> weights() {
        return weights;
    }

    public Program encode() {
        return encode;
    }

    public Program prefill() {
        return prefill;
    }

    public Program decode() {
        return decode;
    }

    public List<Program> programs() {
        return List.of(encode, prefill, decode);
    }

    /** Input of encode: [image tokens, channels x patchSize x patchSize]. */
    public Tensor patches() {
        return patches;
    }

    /** Input of prefill: [promptTokens] I32, image row n as {@code -1 - n}. */
    public Tensor promptIds() {
        return promptIds;
    }

    /** Input of decode: [1] I32. */
    public Tensor nextId() {
        return nextId;
    }

    /** Input of prefill and decode: [vocabularySize] U8, the part of each id in an answer as {@link Op.Sample} takes it. */
    public Tensor answerParts() {
        return answerParts;
    }

    /** Output of prefill and decode: [1] I32. */
    public Tensor token() {
        return token;
    }

    /** Output of prefill and decode: [1] F32. */
    public Tensor logProbability() {
        return logProbability;
    }

    /** Output of prefill: [1 or promptTokens, vocabularySize] F32. */
    public Tensor promptLogits() {
        return promptLogits;
    }

    /** Output of decode: [1, vocabularySize] F32. */
    public Tensor nextLogits() {
        return nextLogits;
    }

    /** Patches plus positions, [image tokens, vision hiddenSize]. */
    public Stage visionEmbeddings() {
        return new Stage(SigLip.EMBEDDINGS, vision.stream());
    }

    /** Each vision layer's result. */
    public Stage visionLayers() {
        return new Stage(SigLip.LAYERS, vision.stream());
    }

    public Stage visionPostLayernorm() {
        return new Stage(SigLip.POST_LAYERNORM, vision.output());
    }

    /** Image features, [image tokens, decoder hiddenSize]. */
    public Stage projector() {
        return new Stage("vision.projector", features);
    }

    /** What the decoder's first layer reads in prefill, [promptTokens, hiddenSize]. */
    public Stage decoderEmbeddings() {
        return new Stage(Gemma.EMBEDDINGS, prompt.stream());
    }

    /** Each decoder layer's result in prefill. */
    public Stage decoderLayers() {
        return new Stage(Gemma.LAYERS, prompt.stream());
    }

    /** After the final norm: the last row alone, or with {@link Options#everyRow} all of them. */
    public Stage finalNorm() {
        return new Stage(Gemma.HEAD, prompt.headInput(promptLogits));
    }

    /**
     * Operations that read a state of the residual stream as logits.
     *
     * @param state [1, hiddenSize], overwritten if normed
     * @param logits [1, vocabularySize]
     * @param normed whether the final norm is applied first
     */
    public List<Op> readOut(Tensor state, Tensor logits, boolean normed) {
        return normed ? List.of(prompt.finalNorm(state, state), prompt.logits(state, logits))
                : List.of(prompt.logits(state, logits));
    }
}

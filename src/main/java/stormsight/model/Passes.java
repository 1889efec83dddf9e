package stormsight.model;

import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Step;
import stormsight.program.Tensor;

/**
 * The programs of a model that answers: encode turns a view of an image into rows of features, prefill answers the
 * first token of a prompt that rows of features are merged into, decode answers one more token of each sequence.
 *
 * @param limits what they were built for
 * @param answerParts input of prefill and decode: [vocabularySize] U8, the part of each id in an answer as {@link
 *     Op.Sample} takes it
 * @param token output of prefill and decode: [sequences] I32, in the order of the step
 * @param logProbability output of prefill and decode: [sequences] F32
 * @param encodeStages where probes can be put in encode, in order
 * @param prefillStages where probes can be put in prefill, in order; decode's segments have the same names
 * @param readOut reads a state of the decoder as logits
 */
public record Passes(
        Limits limits,
        Pass encode,
        Pass prefill,
        Pass decode,
        Tensor answerParts,
        Tensor token,
        Tensor logProbability,
        List<Stage> encodeStages,
        List<Stage> prefillStages,
        ReadOut readOut) {
    /** Operations that read a state of the residual stream as logits. */
    @FunctionalInterface
    public interface ReadOut {
        /**
         * @param state [1, hiddenSize], overwritten if normed
         * @param logits [1, vocabularySize]
         * @param normed whether the final norm is applied first
         */
        List<Op> ops(Tensor state, Tensor logits, boolean normed);
    }

    public Passes {
        encodeStages = List.copyOf(encodeStages);
        prefillStages = List.copyOf(prefillStages);
    }

    /** The same with rewritten programs. */
    public Passes with(Program newEncode, Program newPrefill, Program newDecode) {
        return new Passes(
                limits,
                encode.with(newEncode),
                prefill.with(newPrefill),
                decode.with(newDecode),
                answerParts,
                token,
                logProbability,
                encodeStages,
                prefillStages,
                readOut);
    }

    public List<Program> programs() {
        return List.of(encode.program(), prefill.program(), decode.program());
    }

    /** @throws IllegalArgumentException if the model has no stage of that name */
    public Stage stage(String name) {
        return Stage.of(Stream.concat(encodeStages.stream(), prefillStages.stream()).toList(), name);
    }

    /** Rows of features that encode makes of a view. */
    public int rowsPerView() {
        return encode.output().rows() / limits.views();
    }

    /** The step of encode for a view, counted over all images of a prompt. */
    public Step encodeStep(int view) {
        int rows = encode.input().rows();
        return new Step(view * rowsPerView(), rows, rows);
    }

    /** A greedy step that reads a prompt into the first slot. */
    public Step prefillStep(int length, int prefixLength) {
        return new Step(0, length, prefixLength);
    }

    /**
     * A greedy step of one sequence, in the first slot.
     *
     * @param position places before the token
     */
    public Step decodeStep(int position, int prefixLength) {
        return decodeStep(position, prefixLength, 1);
    }

    /**
     * A greedy step of so many sequences that are equally long, in the first slots.
     *
     * @param position places before each one's token
     */
    public Step decodeStep(int position, int prefixLength, int sequences) {
        return new Step(IntStream.range(0, sequences)
                .mapToObj(slot -> new Step.Sequence(slot, position, 1, prefixLength, 0, Sampling.GREEDY))
                .toList());
    }
}

package stormsight.model;

import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * A program, what the host writes before it runs and what it makes.
 *
 * @param input encode: patches of a view, [rows, channels x patchSize x patchSize] F32; prefill: ids of a prompt,
 *     [promptTokens] I32; decode: [sequences] I32
 * @param output encode: features of all views, [views x rowsPerView, hiddenSize], which stay on the device; prefill:
 *     logits of the last row or of all rows, [1 or promptTokens, vocabularySize]; decode:
 *     [sequences, vocabularySize]. Those of prefill may be decode's: they are there until the next run of either
 */
public record Pass(Program program, Tensor input, Tensor output) {
    /** The same with a rewritten program. */
    public Pass with(Program rewritten) {
        return new Pass(rewritten, input, output);
    }
}

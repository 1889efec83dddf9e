package stormsight.probe;

import stormsight.model.Options.PromptRows;
import stormsight.model.Passes;
import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * Something that looks into a model while it answers. A probe rewrites the model's programs before they are prepared,
 * mostly with {@link Probes}, and reads what it added after each run. Several work together: each gets the programs as
 * the one before it left them.
 */
public interface Probe {
    /** The programs of a model. */
    enum Pass {
        /** Patches to image features; position 0, all image tokens. */
        ENCODE,
        /** A prompt to the first token of its answer; position 0, all tokens of the prompt. */
        PREFILL,
        /** One token of the answer to the next. */
        DECODE
    }

    /**
     * The program with what the probe needs in it. Names of new tensors must not be taken.
     *
     * @param program as other probes left it
     * @param passes names the stages that a probe can look at
     */
    Program add(Pass pass, Program program, Passes passes);

    /** What prefill has to compute for the probe. */
    default PromptRows promptRows() {
        return PromptRows.STATES;
    }

    /** What the last run of a pass left. */
    interface Outputs {
        /** All values of an F32 output, layers of a stack one after the other. */
        float[] read(Tensor output);
    }

    /** Called after each run of a pass, when {@link Outputs#read} gives what it made. */
    void read(Pass pass, Outputs outputs);
}

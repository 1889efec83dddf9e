package stormsight.model;

import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.Strictness;

/** What a checkpoint is, behind the door that fits it. */
public interface Model {
    /**
     * The model as its weights bear it out, where config.json leaves something open: {@code Decoder.tied}. Itself where
     * nothing is.
     *
     * @param strictness what becomes of what is odd and changes no answer
     */
    Model settled(Checkpoint checkpoint, Strictness strictness);

    /** Asks for all of its weights, to see what they are or whether a checkpoint has them. */
    void declare(Weights weights);

    /** @throws stormsight.checkpoint.CheckpointException if a file that is read later is not there */
    void requireFiles();
}

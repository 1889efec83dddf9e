package stormsight.cli;

import stormsight.model.ModelDirectory;

/** What commands share that compare or name images and do not generate text. */
abstract class EncoderCommand extends ModelCommand {
    /** The embedded model answers questions, so one has to be named. */
    @Override
    final ModelDirectory open() {
        if (!model.chosen()) {
            throw new UsageException(
                    "--model is missing: the embedded model answers questions; name the directory of a model such as "
                            + "SigLIP or CLIP");
        }
        return super.open();
    }
}

package stormsight.cli;

import stormsight.model.ModelDirectory;

/** What commands share that compare or name images and do not generate text. */
abstract class EncoderCommand extends ModelCommand {
    @Override
    final ModelDirectory open() {
        return model.openEncoder();
    }
}

package stormsight.cli;

import stormsight.image.Resampling;
import stormsight.model.ImageEncoder;
import stormsight.model.ModelDirectory;
import stormsight.model.Stamp;
import stormsight.model.family.Families;

/** What commands share that compare or name images and do not generate text. */
abstract class EncoderCommand extends ModelCommand {
    @Override
    final ModelDirectory open() {
        return model.openEncoder();
    }

    /**
     * What embeddings follow from beside image or text.
     *
     * @param raw whether they are as long as the model makes them
     */
    final Stamp stamp(ModelDirectory directory, boolean raw) {
        StringBuilder settings = new StringBuilder(directory.fingerprint());
        if (raw) {
            settings.append(" raw");
        }
        settings.append(' ').append(model.weights());
        Resampling resize = directory.dualEncoder().resampling();
        if (resize != ((ImageEncoder) Families.configured(directory.path())).resampling()) {
            settings.append(" resize=").append(resize);
        }
        if (backendOptions.strictMath()) {
            settings.append(" strict-math");
        }
        return new Stamp(settings.toString(), directory.besides());
    }
}

package stormsight.cli;

import java.util.Optional;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.image.Resampling;
import stormsight.model.ImageEncoder;
import stormsight.model.ModelDirectory;
import stormsight.model.Stamp;
import stormsight.model.family.Families;
import stormsight.program.Step;

/** What commands share that compare or name images and do not generate text. */
abstract class EncoderCommand extends ModelCommand {
    private static final int TOGETHER = 8;

    @Option(
            names = "--batch",
            paramLabel = "N",
            description = "Images, or texts of SigLIP, in one run, 1 to " + Step.MOST_SEQUENCES + "; more take more "
                    + "memory and change nothing else. Default: " + TOGETHER + " on a processor, 1 on another device, "
                    + "which takes one alone.")
    private Optional<Integer> batch = Optional.empty();

    /** Images or texts of a run, before anything is computed. */
    final int together(Backend backend) {
        batch.ifPresent(count -> {
            if (count < 1 || count > Step.MOST_SEQUENCES) {
                throw new UsageException("--batch " + count + " is not in 1 .. " + Step.MOST_SEQUENCES);
            }
            if (count > 1 && !backend.takesBlocks()) {
                throw new UsageException("--batch " + count + ": " + backend.device().title()
                        + " takes one image or text in a run; leave --batch out, or choose --backend cpu");
            }
        });
        return batch.orElse(backend.takesBlocks() ? TOGETHER : 1);
    }

    /** @throws UsageException if several images are to be in one run, where there is one alone */
    final void requireNoBatch(String title) {
        if (batch.orElse(1) > 1) {
            throw new UsageException("--batch " + batch.get() + ": " + title + " reads one image at a time");
        }
    }

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

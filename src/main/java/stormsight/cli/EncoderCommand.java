package stormsight.cli;

import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.image.ImageDecoder;
import stormsight.image.Resampling;
import stormsight.match.Embedder;
import stormsight.match.FileEmbedder;
import stormsight.model.ImageEncoder;
import stormsight.model.ModelDirectory;
import stormsight.model.Stamp;
import stormsight.model.Views;
import stormsight.model.family.Families;
import stormsight.program.Step;

/** What commands share that compare or name images and do not generate text. */
abstract class EncoderCommand extends ModelCommand {
    private static final String BATCH = "--batch";

    @Option(
            names = BATCH,
            paramLabel = "N",
            description = "Images, or texts of SigLIP, in one run, 1 to " + Step.MOST_SEQUENCES + "; more take more "
                    + "memory, and change results by rounding at most. "
                    + "Default: " + Embedder.TOGETHER + " on a processor, 1 on another device, "
                    + "which takes one alone.")
    private Optional<Integer> batch = Optional.empty();

    /** @throws UsageException if a run cannot have so many images, wherever it is */
    final void checkBatch() {
        batch.ifPresent(count -> Parallel.check(BATCH, count));
    }

    /** Images or texts of a run, before anything is computed. */
    final int together(Backend backend) {
        batch.ifPresent(count -> {
            if (count > 1 && !backend.takesBlocks()) {
                throw new UsageException("--batch " + count + ": " + backend.device().title()
                        + " takes one image or text in a run; leave --batch out, or choose --backend cpu");
            }
        });
        return batch.orElse(backend.takesBlocks() ? Embedder.TOGETHER : 1);
    }

    /** @throws UsageException if several images are to be in one run, where there is one alone */
    final void requireNoBatch(String title) {
        if (batch.orElse(1) > 1) {
            throw new UsageException("--batch " + batch.get() + ": " + title + " reads one image at a time");
        }
    }

    /** An image's file as the model takes it. */
    static Views views(ImageEncoder model, Path file) {
        return Views.of(model::views, new ImageDecoder().decode(file), file.toString());
    }

    /** Embeds files, read by as many threads as the options say. */
    final FileEmbedder files(Embedder embedder, boolean normalized) {
        return new FileEmbedder(embedder, normalized, backendOptions.threads());
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
    final Stamp stamp(ModelDirectory directory, Embedder embedder, boolean raw) {
        StringBuilder settings = new StringBuilder(directory.fingerprint());
        if (raw) {
            settings.append(" raw");
        }
        settings.append(' ').append(model.weights());
        Resampling resize = directory.dualEncoder().resampling();
        if (resize != ((ImageEncoder) Families.configured(directory.path())).resampling()) {
            settings.append(" resize=").append(resize);
        }
        return new Stamp(
                settings.toString(), settings + " strict-math", embedder.roundsActivations(), directory.besides());
    }
}

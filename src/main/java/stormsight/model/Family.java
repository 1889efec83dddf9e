package stormsight.model;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.Strictness;
import stormsight.image.Resampling;

/**
 * A kind of checkpoint: what {@code model_type} in config.json names. One folder of this package each.
 *
 * @param modelType as config.json has it
 * @param title as people name it, such as {@code PaliGemma 1 and 2}
 * @param presets published sizes, and tiny ones, the smallest first
 */
public record Family(String modelType, String title, Opening opening, List<Preset> presets) {
    /** Reads a model's files, but not its weights. */
    @FunctionalInterface
    public interface Opening {
        /**
         * @param directory of the files
         * @param config config.json
         * @param resize how images are resized, if not as the directory says
         * @param strictness what becomes of what is odd about the files and changes no answer
         * @throws stormsight.checkpoint.CheckpointException naming the file that is broken or describes something that
         *     is not supported
         */
        Model open(Path directory, ConfigFile config, Optional<Resampling> resize, Strictness strictness);
    }

    public Family {
        presets = List.copyOf(presets);
    }
}

package stormsight.model.family;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.ModelPath;
import stormsight.checkpoint.Quantization;
import stormsight.checkpoint.Strictness;
import stormsight.image.Resampling;
import stormsight.model.Family;
import stormsight.model.Model;
import stormsight.model.ModelDirectory;
import stormsight.model.Preset;
import stormsight.model.Weights;
import stormsight.program.DType;
import stormsight.model.blip2.Blip2;
import stormsight.model.clip.Clip;
import stormsight.model.llava.Llava;
import stormsight.model.paligemma.PaliGemma;
import stormsight.model.siglip.Siglip;
import stormsight.model.vit.Vit;

/** All families. A new one is a folder beside this one and a line here. */
public final class Families {
    private static final List<Family> ALL = List.of(
            PaliGemma.FAMILY,
            Llava.FAMILY,
            Llava.NEXT,
            Blip2.FAMILY,
            Siglip.FAMILY,
            Clip.FAMILY,
            Vit.FAMILY);

    private Families() {}

    /**
     * Opens a directory in the layout of Hugging Face and checks that it holds what its model needs. Weights are
     * mapped, not read.
     *
     * @param path a folder, or one of Hugging Face's cache that leads to it
     * @param resize how images are resized, if not as the directory says
     * @param strictness what becomes of what is odd about the files and changes no answer
     * @throws CheckpointException naming the file, and the tensor if there is one
     */
    public static ModelDirectory open(Path path, Optional<Resampling> resize, Strictness strictness) {
        ModelDirectory directory = opened(path, resize, strictness);
        try {
            directory.requireFiles();
            return directory;
        } catch (RuntimeException | Error e) {
            directory.close();
            throw e;
        }
    }

    /** The same, and what is odd is logged. */
    public static ModelDirectory open(Path path, Optional<Resampling> resize) {
        return open(path, resize, Strictness.LENIENT);
    }

    /** The same for prompts that are ids already: the tokenizer may be missing as long as nobody asks for it. */
    public static ModelDirectory openForIds(Path path) {
        return openForIds(path, Strictness.LENIENT);
    }

    /** The same with a choice of what becomes of what is odd. */
    public static ModelDirectory openForIds(Path path, Strictness strictness) {
        return opened(path, Optional.empty(), strictness);
    }

    private static ModelDirectory opened(Path named, Optional<Resampling> resize, Strictness strictness) {
        Path path = ModelPath.resolve(named);
        ConfigFile config = ConfigFile.read(path.resolve("config.json"));
        Model model = of(config).opening().open(path, config, resize, strictness);
        Checkpoint checkpoint = Checkpoint.open(path, strictness);
        try {
            Quantization.check(config, checkpoint, strictness);
            ModelDirectory directory = new ModelDirectory(path, model.settled(checkpoint, strictness), checkpoint);
            directory.check(strictness);
            return directory;
        } catch (RuntimeException | Error e) {
            checkpoint.close();
            throw e;
        }
    }

    private static Family of(ConfigFile config) {
        String type = config.text("model_type");
        return ALL.stream()
                .filter(family -> family.modelType().equals(type))
                .findFirst()
                .orElseThrow(() -> config.invalid(
                        "model_type",
                        "'" + type + "' is not supported; supported "
                                + (ALL.size() == 1 ? "is " : "are ")
                                + ALL.stream()
                                        .map(family -> family.modelType() + " (" + family.title() + ")")
                                        .collect(Collectors.joining(", "))));
    }

    /** What {@code synthesize} can imitate. */
    public static List<Preset> presets() {
        return ALL.stream().flatMap(family -> family.presets().stream()).toList();
    }

    /**
     * The model that a directory's configuration describes; whether there are weights and a tokenizer is not looked at.
     */
    public static Model configured(Path path) {
        ConfigFile config = ConfigFile.read(path.resolve("config.json"));
        return of(config).opening().open(path, config, Optional.empty(), Strictness.LENIENT);
    }

    /** What a checkpoint would have to hold whose configuration lies in a directory. */
    public static List<Weights.Stored> weights(Path path, DType matrixType) {
        Model model = configured(path);
        Weights weights = Weights.declared(matrixType);
        model.declare(weights);
        return weights.stored();
    }
}

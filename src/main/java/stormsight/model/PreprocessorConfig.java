package stormsight.model;

import java.nio.file.Path;
import java.util.List;
import stormsight.checkpoint.ConfigFile;
import stormsight.image.Preprocessing;
import stormsight.image.Resampling;

/** preprocessor_config.json, or what processor_config.json has in its place. */
public final class PreprocessorConfig {
    private static final int CHANNELS = 3;

    private PreprocessorConfig() {}

    /**
     * How a model's files say that images are prepared: processor_config.json as transformers 5 writes it, or
     * preprocessor_config.json. Where both do, transformers 5 takes the former, too.
     *
     * @param published what holds where they say nothing; its size is that of the vision tower
     */
    public static Preprocessing read(Path path, Preprocessing published) {
        return read(path, published, false);
    }

    /** The same where an image is cut into tiles, each of which has the size of the vision tower already. */
    public static Preprocessing readOfTiles(Path path, Preprocessing published) {
        return read(path, published, true);
    }

    private static Preprocessing read(Path path, Preprocessing published, boolean tiles) {
        return ConfigFile.readIfPresent(path.resolve("processor_config.json"))
                .flatMap(file -> file.objectIfPresent("image_processor"))
                .or(() -> ConfigFile.readIfPresent(path.resolve("preprocessor_config.json")))
                .map(file -> read(file, published, tiles))
                .orElseGet(() -> published);
    }

    private static Preprocessing read(ConfigFile file, Preprocessing published, boolean tiles) {
        int size = published.size();
        requireSize(file, "size", List.of("height", "width", "shortest_edge"), size);
        boolean cropped = published.fit() == Preprocessing.Fit.CENTRE_CROP;
        if (cropped) {
            requireSize(file, "crop_size", List.of("height", "width"), size);
        }
        for (String step : cropped ? List.of("do_resize", "do_rescale", "do_normalize", "do_center_crop")
                : List.of("do_resize", "do_rescale", "do_normalize")) {
            if (!file.bool(step, true)) {
                throw file.invalid(step, "false is not supported");
            }
        }
        if (!tiles) {
            requireFit(file, cropped);
        }
        // Numbers of Pillow's filters.
        Resampling resampling = !file.has("resample") ? published.resampling() : switch (file.integer("resample")) {
            case 2 -> Resampling.BILINEAR;
            case 3 -> Resampling.BICUBIC;
            default -> throw file.invalid("resample", "only 2 (bilinear) and 3 (bicubic) are supported");
        };
        return new Preprocessing(size, published.fit(), resampling, file.number("rescale_factor", 1 / 255.0),
                channels(file, "image_mean", published.mean()), deviations(file, published.std()));
    }

    /** What becomes of an image that is not square follows from how its size is given, and from more steps. */
    private static void requireFit(ConfigFile file, boolean cropped) {
        if (file.hasObject("size") && file.has("size.shortest_edge") != cropped) {
            throw file.invalid("size", cropped
                    ? "without shortest_edge each side is resized by itself, which is not supported for this model: "
                            + "its images keep their shape and are cropped"
                    : "shortest_edge keeps the shape of an image, which is not supported for this model: "
                            + "each side of its images is resized by itself");
        }
        for (String step : cropped ? List.of("do_pad") : List.of("do_pad", "do_center_crop", "crop_pct")) {
            if (file.says(step, 0)) {
                throw file.invalid(step, "is not supported for this model");
            }
        }
    }

    /** Old files have one number in place of the object. */
    private static void requireSize(ConfigFile file, String key, List<String> sides, int size) {
        for (String side : file.hasObject(key)
                ? sides.stream().map(each -> key + "." + each).toList()
                : List.of(key)) {
            int found = file.integer(side, size);
            if (found != size) {
                throw file.invalid(side, found + " pixels, but the vision tower takes " + size);
            }
        }
    }

    private static List<Double> deviations(ConfigFile file, List<Double> published) {
        List<Double> values = channels(file, "image_std", published);
        if (values.stream().anyMatch(value -> value <= 0)) {
            throw file.invalid("image_std", values + " are not all positive");
        }
        return values;
    }

    private static List<Double> channels(ConfigFile file, String key, List<Double> published) {
        if (!file.has(key)) {
            return published;
        }
        List<Double> values = file.numbers(key);
        if (values.size() != CHANNELS) {
            throw file.invalid(key, values.size() + " values, " + CHANNELS + " expected");
        }
        return values;
    }
}

package stormsight.image;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * What a model does to an image before its vision tower, as preprocessor_config.json states it.
 *
 * @param size side of the square that the tower takes
 * @param rescale multiplies a sample, 1/255 unless the file has it otherwise
 * @param mean of red, green and blue after rescaling
 * @param std of red, green and blue after rescaling
 */
public record Preprocessing(
        int size, Fit fit, Resampling resampling, double rescale, List<Double> mean, List<Double> std) {
    /** How an image that is not square becomes one. */
    public enum Fit {
        /** Each side is resized by itself: PaliGemma, SigLIP, ViT. */
        STRETCH,
        /** The shorter side is resized to size, the middle is cut out: CLIP, LLaVA. */
        CENTRE_CROP
    }

    public Preprocessing {
        mean = List.copyOf(mean);
        std = List.copyOf(std);
        if (size < 1) {
            throw new IllegalArgumentException("an image size of " + size);
        }
    }

    /** SigLIP's and PaliGemma's: stretched by bicubic, pixels from -1 to 1. */
    public static Preprocessing siglip(int size) {
        return new Preprocessing(
                size, Fit.STRETCH, Resampling.BICUBIC, 1.0 / 255, List.of(0.5, 0.5, 0.5), List.of(0.5, 0.5, 0.5));
    }

    /** CLIP's and LLaVA's: the middle, by bicubic, with the mean and deviation of CLIP's training data. */
    public static Preprocessing clip(int size) {
        return new Preprocessing(
                size,
                Fit.CENTRE_CROP,
                Resampling.BICUBIC,
                1.0 / 255,
                List.of(0.48145466, 0.4578275, 0.40821073),
                List.of(0.26862954, 0.26130258, 0.27577711));
    }

    /** The same with another resampling. */
    public Preprocessing with(Resampling other) {
        return new Preprocessing(size, fit, other, rescale, mean, std);
    }

    /** The image as the tower sees it, [size, size], still in 8 bits. */
    public RgbImage resize(RgbImage image) {
        return switch (fit) {
            case STRETCH -> Resize.resize(image, size, size, resampling);
            case CENTRE_CROP -> Resize.shorterSide(image, size, resampling).centreCrop(size);
        };
    }

    /** What of an image the tower sees, in pixels of the image. */
    public Box area(RgbImage image) {
        return switch (fit) {
            case STRETCH -> new Box(0, 0, image.width(), image.height());
            case CENTRE_CROP -> {
                int shorter = Math.min(image.width(), image.height());
                yield new Box((image.width() - shorter) / 2.0, (image.height() - shorter) / 2.0, shorter, shorter);
            }
        };
    }

    /**
     * Resizes the image and writes its patches.
     *
     * @param out [(size / patchSize)^2, 3 * patchSize * patchSize] F32, see {@link Patches#write}
     * @return the resized image
     */
    public RgbImage writePatches(RgbImage image, int patchSize, MemorySegment out) {
        RgbImage resized = resize(image);
        patches().write(resized, patchSize, out);
        return resized;
    }

    /** Pixel values of an image that is resized already. */
    public Patches patches() {
        return new Patches(rescale, mean, std);
    }
}

package stormsight.image;

/** How an image is resized. All three are antialiased: where the image shrinks, the filter is widened by as much. */
public enum Resampling {
    /**
     * Pillow's BICUBIC (a = -0.5), bit for bit: 8-bit samples, fixed-point weights, first along rows, then along
     * columns. PaliGemma's published preprocessing.
     */
    BICUBIC,
    /** Pillow's BILINEAR, bit for bit, as SigLIP 2 and ViT use it. */
    BILINEAR,
    /**
     * The bilinear resize that big_vision trained with: {@code tf.image.resize} with antialias in F32, first along
     * columns, then along rows, cut down (not rounded) to 8 bits at the end.
     */
    BILINEAR_BIG_VISION
}

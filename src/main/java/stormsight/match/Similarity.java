package stormsight.match;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import stormsight.model.DualEncoder;
import stormsight.model.Weights;
import stormsight.program.Tensor;

/**
 * What a dual encoder makes of two embeddings of length 1: {@code logit = scale * cosine + bias}, in double precision.
 *
 * @param scale not its logarithm
 * @param bias 0 if the model has none
 */
public record Similarity(DualEncoder.Objective objective, double scale, double bias) {
    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** A model's, whose weights are bound. */
    public static Similarity of(DualEncoder model, DualEncoder.Encoders encoders, Weights weights) {
        return new Similarity(model.objective(), Math.exp(number(weights, encoders.scale())),
                encoders.bias().map(bias -> number(weights, bias)).orElse(0.0));
    }

    private static double number(Weights weights, Tensor tensor) {
        return weights.values().get(tensor).layers().getFirst().get(FLOAT, 0);
    }

    /** @param image of length 1 */
    public double logit(float[] image, float[] text) {
        return scale * cosine(image, text) + bias;
    }

    /** Of vectors of length 1. */
    public static double cosine(float[] a, float[] b) {
        if (a.length != b.length) {
            throw new IllegalArgumentException(a.length + " numbers and " + b.length);
        }
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += (double) a[i] * b[i];
        }
        return sum;
    }

    /**
     * How probable each of some texts is for an image: each by itself, or one of them, as the model was trained.
     *
     * @param logits of the image and each text
     */
    public double[] probabilities(double[] logits) {
        return switch (objective) {
            case SIGMOID -> Arrays.stream(logits).map(Similarity::sigmoid).toArray();
            case SOFTMAX -> softmax(logits);
        };
    }

    private static double sigmoid(double logit) {
        return 1 / (1 + Math.exp(-logit));
    }

    /** Probabilities that sum to 1, for logits of any size. */
    public static double[] softmax(double[] logits) {
        double largest = Arrays.stream(logits).max().orElse(0);
        double[] powers = Arrays.stream(logits).map(logit -> Math.exp(logit - largest)).toArray();
        double sum = Arrays.stream(powers).sum();
        return Arrays.stream(powers).map(power -> power / sum).toArray();
    }

    /** What the model was trained to make small, see {@link ContrastiveLoss}. */
    public ContrastiveLoss.Losses loss(float[][] images, float[][] texts) {
        if (images.length != texts.length) {
            throw new IllegalArgumentException(images.length + " images, " + texts.length + " texts");
        }
        ContrastiveLoss.Logits logits = (image, text) -> logit(images[image], texts[text]);
        return switch (objective) {
            case SIGMOID -> ContrastiveLoss.sigmoid(images.length, logits);
            case SOFTMAX -> ContrastiveLoss.softmax(images.length, logits);
        };
    }
}

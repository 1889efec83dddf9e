package stormsight.probe;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Numbers that were read of a model, most of them about attention, with named axes.
 *
 * @param name unique among the maps of a run
 * @param meaning what a number says and how it was reduced
 * @param values row-major, not copied and not to be changed
 */
public record AttentionMap(String name, String meaning, List<Axis> axes, float[] values) {
    /** Names of the maps, which name their files too. */
    public static final String VISION_LAYERS = "vision_layers";
    public static final String VISION_HEADS = "vision_heads";
    public static final String VISION_SUM = "vision_sum";
    public static final String QUERY_TO_IMAGE = "query_to_image";
    public static final String QUERY_TO_IMAGE_HEADS = "query_to_image_heads";
    public static final String QUERY_TO_IMAGE_SUM = "query_to_image_sum";
    /** What words read of queries, where rows of the image are queries. */
    public static final String WORD_TO_QUERY = "word_to_query";
    public static final String WORD_TO_QUERY_SUM = "word_to_query_sum";
    public static final String WORD_TO_IMAGE = "word_to_image";
    public static final String WORD_TO_IMAGE_SUM = "word_to_image_sum";
    public static final String IMAGE_TO_WORD = "image_to_word";
    public static final String IMAGE_TO_WORD_SUM = "image_to_word_sum";
    /** Prefix of the four quadrants, followed by the part that attends and the part that is attended to. */
    public static final String QUADRANT = "quadrant_";
    public static final String ROLLOUT = "rollout";
    public static final String WHOLE = "whole";
    /** Of all weights, those between words, generated ones too. */
    public static final String WORD_TO_WORD = "word_to_word";

    /** @param labels of the places in order */
    public record Axis(String name, List<String> labels) {
        public Axis {
            labels = List.copyOf(labels);
        }

        /** Places that are only counted. */
        public static Axis counted(String name, int size) {
            return new Axis(name, IntStream.range(0, size).mapToObj(String::valueOf).toList());
        }

        public static Axis of(String name, List<?> values) {
            return new Axis(name, values.stream().map(String::valueOf).toList());
        }

        public int size() {
            return labels.size();
        }
    }

    public AttentionMap {
        axes = List.copyOf(axes);
        long elements = 1;
        for (Axis axis : axes) {
            elements *= axis.size();
        }
        if (elements != values.length) {
            throw new IllegalArgumentException(name + " has " + values.length + " values, its axes " + elements);
        }
    }

    public int[] shape() {
        return axes.stream().mapToInt(Axis::size).toArray();
    }

    /** The values at places on the first axes; of all places on the others. */
    public float[] at(int... places) {
        int size = values.length;
        int from = 0;
        for (int i = 0; i < places.length; i++) {
            size /= axes.get(i).size();
            from += places[i] * size;
        }
        return Arrays.copyOfRange(values, from, from + size);
    }
}

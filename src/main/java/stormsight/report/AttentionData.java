package stormsight.report;

import java.util.List;
import java.util.Optional;
import stormsight.image.RgbImage;

/**
 * Attention maps of one image and prompt, for a report.
 *
 * @param title tells it from others in the same report
 * @param image that the maps lie over
 * @param columns patches of a row of every map
 * @param rows patches of a column of every map
 * @param directions at least one kind of map
 */
public record AttentionData(String title, RgbImage image, int columns, int rows, List<Direction> directions) {
    /**
     * @throws IllegalArgumentException if there are no directions, no patches, or arrays of another size than layers,
     * heads and words say
     */
    public AttentionData {
        directions = List.copyOf(directions);
        if (directions.isEmpty() || columns < 1 || rows < 1) {
            throw new IllegalArgumentException(
                    directions.size() + " directions of " + columns + " x " + rows + " patches");
        }
        for (Direction direction : directions) {
            direction.check(Math.multiplyExact(columns, rows));
        }
    }

    /** What a direction has maps of. */
    public enum Kind {
        /** A map of patches for each word, or a single one where there are no words. */
        IMAGE,
        /** A map of patches for each patch. */
        PATCHES,
        /** A number for each word for each word. */
        WORDS
    }

    /**
     * A kind of map: one for every layer, head and source.
     *
     * @param kind what the sources of attention are, and what a map lies over
     * @param name such as "word to image"
     * @param meaning what a number is, in a sentence
     * @param layers names of the layers that there are maps of, such as their numbers
     * @param heads names of the heads in {@code values}; none without values
     * @param words texts of the tokens; none where maps belong to no word, as in a vision tower
     * @param prompted how many of the words are of the prompt; the others were generated
     * @param mean [layers, sources, map], over heads
     * @param values [layers, heads, sources, map]
     * @param sum [sources, map], over layers, of the mean over heads
     */
    public record Direction(
            Kind kind,
            String name,
            String meaning,
            List<String> layers,
            List<String> heads,
            List<String> words,
            int prompted,
            float[] mean,
            Optional<float[]> values,
            Optional<float[]> sum) {
        public Direction {
            layers = List.copyOf(layers);
            heads = List.copyOf(heads);
            words = List.copyOf(words);
            if (kind == Kind.WORDS && words.isEmpty()) {
                throw new IllegalArgumentException(name + " has no words");
            }
            if (layers.isEmpty()) {
                throw new IllegalArgumentException(name + " has no layers");
            }
            if (heads.isEmpty() == values.isPresent()) {
                throw new IllegalArgumentException(name + " has " + heads.size() + " heads and "
                        + (values.isPresent() ? "" : "no ") + "values of them");
            }
        }

        /** Maps of a layer and head. */
        private int sources(int patches) {
            return kind == Kind.PATCHES ? patches : Math.max(1, words.size());
        }

        /** Numbers of a map. */
        int size(int patches) {
            return kind == Kind.WORDS ? words.size() : patches;
        }

        private void check(int patches) {
            int places = Math.multiplyExact(sources(patches), size(patches));
            requireLength("the mean", mean, (long) layers.size() * places);
            values.ifPresent(array -> requireLength("the values", array, (long) layers.size() * heads.size() * places));
            sum.ifPresent(array -> requireLength("the sum", array, places));
        }

        private void requireLength(String what, float[] array, long length) {
            if (array.length != length) {
                throw new IllegalArgumentException(
                        name + ": " + array.length + " numbers of " + what + ", expected " + length);
            }
            for (float value : array) {
                if (!Float.isFinite(value)) {
                    throw new IllegalArgumentException(name + ": " + what + " holds " + value);
                }
            }
        }
    }
}

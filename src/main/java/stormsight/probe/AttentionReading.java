package stormsight.probe;

import java.util.List;
import java.util.Optional;
import stormsight.model.Span;

/**
 * What the decoder attended to while it answered a prompt.
 *
 * @param words of prompt and answer; maps of the image's attention end with the prompt
 * @param layers that were looked at
 * @param grid the cells of the maps, and what they cover of the image
 * @param maps in the order in which they are shown
 * @param firstSeeing index of the first word that may see some of the image
 * @param firstUnseen index of the first word that none of the image may see
 */
public record AttentionReading(
        List<Word> words,
        List<Integer> layers,
        Span.Grid grid,
        List<AttentionMap> maps,
        int firstSeeing,
        int firstUnseen) {
    /** Which way attention between words and image is read. */
    public enum Direction {
        /** What a word reads of the image. */
        WORD_TO_IMAGE(AttentionMap.WORD_TO_IMAGE_SUM),
        /** What the image reads of a word. */
        IMAGE_TO_WORD(AttentionMap.IMAGE_TO_WORD_SUM);

        private final String map;

        Direction(String map) {
            this.map = map;
        }
    }

    /** A patch, counted from the upper left. */
    public record Patch(int row, int column) {}

    public AttentionReading {
        words = List.copyOf(words);
        layers = List.copyOf(layers);
        maps = List.copyOf(maps);
    }

    public Optional<AttentionMap> map(String name) {
        return maps.stream().filter(map -> map.name().equals(name)).findFirst();
    }

    /** Words that have a map in that direction: none, those of the prompt, or all. */
    public List<Word> words(Direction direction) {
        return words.subList(0, map(direction.map).map(map -> map.axes().getFirst().size()).orElse(0));
    }

    /**
     * Those of them whose map is not zero everywhere. One of zeros shows nothing: the word is {@link #isHidden hidden},
     * or nothing was read in the layers.
     */
    public List<Word> shown(Direction direction) {
        return words(direction).stream().filter(word -> isShown(direction, word)).toList();
    }

    /** See {@link #shown}. */
    public boolean isShown(Direction direction, Word word) {
        return !isZero(map(direction, word));
    }

    /**
     * Whether the model cannot attend that way. Where no token sees those behind it, a word before the image reads
     * nothing of it, nor does the image read a word behind it.
     */
    public boolean isHidden(Direction direction, Word word) {
        return switch (direction) {
            case WORD_TO_IMAGE -> word.index() < firstSeeing;
            case IMAGE_TO_WORD -> word.index() >= firstUnseen;
        };
    }

    /** Whether a map shows nothing. */
    public static boolean isZero(float[] map) {
        for (float value : map) {
            if (value != 0) {
                return false;
            }
        }
        return true;
    }

    /**
     * A word as a map is titled: generated ones with a plus, and what a word reads with the word that the answer went
     * on with. That one was chosen by what its predecessor read.
     */
    public String label(Direction direction, Word word) {
        String label = word.generated() ? "+ " + word.text() : word.text();
        int next = word.index() + 1;
        boolean chose = direction == Direction.WORD_TO_IMAGE && next < words.size() && words.get(next).generated();
        return chose ? label + " \u2192 " + words.get(next).text() : label;
    }

    /** The map of a word, summed over the layers, [rows, columns] of the grid. */
    public float[] map(Direction direction, Word word) {
        return map(direction.map)
                .orElseThrow(() -> new IllegalArgumentException(direction + " was not asked for"))
                .at(word.index());
    }

    /**
     * How much attention goes between a word and the image, as a mean over the layers. {@code WORD_TO_IMAGE}: the share
     * of the word's attention that is on the image. {@code IMAGE_TO_WORD}: the share of a patch's attention that is on
     * the word, as a mean over the patches.
     */
    public double share(Direction direction, Word word) {
        double sum = 0;
        for (float value : map(direction, word)) {
            sum += value;
        }
        return sum / layers.size() / (direction == Direction.IMAGE_TO_WORD ? grid.cells() : 1);
    }

    /** Where the map of a word is largest, the first such place; nowhere if it is not {@link #shown}. */
    public Optional<Patch> peak(Direction direction, Word word) {
        float[] map = map(direction, word);
        if (isZero(map)) {
            return Optional.empty();
        }
        int peak = 0;
        for (int i = 1; i < map.length; i++) {
            if (map[i] > map[peak]) {
                peak = i;
            }
        }
        return Optional.of(new Patch(peak / grid.columns(), peak % grid.columns()));
    }
}

package stormsight.probe;

import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import stormsight.model.Description;

/**
 * Which attention to look at. Layers and heads hold for the vision tower, the decoder and the attention of
 * queries to the image alike.
 *
 * @param layers indices in rising order; empty for all of them
 * @param heads heads to show one by one, in rising order; empty for their mean alone
 */
public record AttentionRequest(Set<Kind> kinds, Optional<List<Integer>> layers, Optional<Heads> heads) {
    /** What can be looked at. */
    public enum Kind {
        /** How strongly each patch attends to another one, in the vision tower. */
        VISION,
        /** What each query reads of the image, where rows of the image are queries. */
        QUERIES,
        /** What each word reads of the image, in the decoder. */
        WORD_TO_IMAGE,
        /** What the image reads of each word of the prompt, in the decoder. Image rows never see generated tokens. */
        IMAGE_TO_WORD,
        /** Image and text to image and text, summed over the layers. */
        QUADRANTS,
        /** All weights of the prompt, of each layer: as many numbers as tokens squared, a layer. */
        WHOLE,
        /** What reaches each word of each patch through all layers, whichever layers and heads are chosen. */
        ROLLOUT
    }

    /** Heads to show one by one: {@code chosen}, or all of them if it is empty. */
    public record Heads(List<Integer> chosen) {
        public Heads {
            chosen = List.copyOf(chosen);
        }
    }

    public AttentionRequest {
        kinds = Set.copyOf(kinds);
        layers = layers.map(List::copyOf);
    }

    /** The same and what each query reads of the image. */
    public AttentionRequest withQueries() {
        Set<Kind> more = EnumSet.of(Kind.QUERIES);
        more.addAll(kinds);
        return new AttentionRequest(more, layers, heads);
    }

    public boolean wants(Kind kind) {
        return kinds.contains(kind);
    }

    private boolean wantsDecoder() {
        return !Set.of(Kind.VISION, Kind.QUERIES).containsAll(kinds);
    }

    /**
     * @throws IllegalArgumentException naming the layer or head that a part of the model which is looked at does not
     * have
     */
    public void check(Description model) {
        if (wants(Kind.VISION)) {
            check("the vision tower", model.vision().layers(), model.vision().heads());
        }
        if (wantsDecoder()) {
            check("the decoder", model.decoder().layers(), model.decoder().heads().queryHeads());
        }
    }

    /** The same of the attention of queries to the image. */
    void checkQueries(int layerCount, int headCount) {
        check("the queries' attention to the image", layerCount, headCount);
    }

    private void check(String part, int layerCount, int headCount) {
        layers.ifPresent(chosen -> check("layer", chosen, part, layerCount));
        heads.ifPresent(chosen -> check("head", chosen.chosen(), part, headCount));
    }

    private static void check(String what, List<Integer> chosen, String part, int count) {
        for (int index : chosen) {
            if (index < 0 || index >= count) {
                throw new IllegalArgumentException(
                        "there is no " + what + " " + index + " in " + part + ", only 0 to " + (count - 1));
            }
        }
    }

    List<Integer> layers(int count) {
        return layers.orElseGet(() -> IntStream.range(0, count).boxed().toList());
    }

    /** Heads that maps are made of, averaged or not. */
    List<Integer> heads(int count) {
        return heads.map(Heads::chosen)
                .filter(chosen -> !chosen.isEmpty())
                .orElseGet(() -> IntStream.range(0, count).boxed().toList());
    }

    /** Whether only the mean of the heads is kept. */
    boolean headMean() {
        return heads.isEmpty();
    }
}

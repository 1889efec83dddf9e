package stormsight.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * What a model is asked, as tokens and rows of image features.
 *
 * @param ids as {@link stormsight.program.Op.Embed} takes them: a token's id, or {@code -1 - n} for row n of the
 *     features. Rows stand wherever the family puts them, in any order. Not copied and not to be changed
 * @param spans parts that others need to find again, none overlapping, in order
 * @param prefixLength places that every place sees: all of them in a prefix model, 0 in a causal one
 */
public record Prompt(int[] ids, List<Span> spans, int prefixLength) {
    public Prompt {
        spans = List.copyOf(spans);
        if (ids.length == 0 || prefixLength < 0 || prefixLength > ids.length) {
            throw new IllegalArgumentException(
                    "a prompt of " + ids.length + " places with a prefix of " + prefixLength);
        }
    }

    /** Places, rows of images included. */
    public int length() {
        return ids.length;
    }

    public boolean isImage(int place) {
        return ids[place] < 0;
    }

    /** Places of all rows of images, rising. */
    public List<Integer> imagePlaces() {
        return IntStream.range(0, ids.length).filter(this::isImage).boxed().toList();
    }

    /** Places of everything else, rising. */
    public List<Integer> textPlaces() {
        return IntStream.range(0, ids.length).filter(place -> !isImage(place)).boxed().toList();
    }

    /** Parts of images. */
    public List<Span.Image> images() {
        return spans.stream().filter(Span.Image.class::isInstance).map(Span.Image.class::cast).toList();
    }

    /** Whether rows of images are queries, each of which was made of all of an image. */
    public boolean hasQueries() {
        return images().stream().anyMatch(image -> image.queried().isPresent());
    }

    /** The one part of the one image that a map of the prompt can be drawn on; empty if there are several, or none. */
    public Optional<Span.Image> onlyGrid() {
        List<Span.Image> grids = images().stream().filter(image -> image.grid().isPresent()).toList();
        return grids.size() == 1 ? Optional.of(grids.getFirst()) : Optional.empty();
    }

    /** Places of these rows of the features, rising. */
    public List<Integer> placesOfRows(List<Integer> rows) {
        return imagePlaces().stream().filter(place -> rows.contains(-1 - ids[place])).toList();
    }

    /**
     * Places of the tokens that spell a part of the text, where the part occurs last. A token that spells more than the
     * part, the space before it say, counts.
     *
     * @throws IllegalArgumentException if the part is empty or no text of the prompt holds it
     */
    public List<Integer> placesOf(String part) {
        List<Span.Text> texts = spans.stream().filter(Span.Text.class::isInstance).map(Span.Text.class::cast).toList();
        for (Span.Text text : texts.reversed()) {
            int at = part.isEmpty() ? -1 : text.text().lastIndexOf(part);
            if (at >= 0) {
                return places(text, text.text().codePointCount(0, at), part.codePointCount(0, part.length()));
            }
        }
        throw new IllegalArgumentException("the prompt \""
                + String.join("", texts.stream().map(Span.Text::text).toList()) + "\" does not hold \"" + part + "\"");
    }

    private static List<Integer> places(Span.Text text, int from, int count) {
        List<Integer> places = new ArrayList<>();
        for (int i = 0; i < text.pieces().size(); i++) {
            if (text.pieces().get(i).from() < from + count && text.pieces().get(i).to() > from) {
                places.add(text.from() + i);
            }
        }
        return places;
    }

    /**
     * The ids with one token in each place of an image, as transformers has its input_ids.
     *
     * @param imageToken -1 to leave those places out
     */
    public int[] plainIds(int imageToken) {
        if (imageToken < 0) {
            return Arrays.stream(ids).filter(id -> id >= 0).toArray();
        }
        return Arrays.stream(ids).map(id -> id < 0 ? imageToken : id).toArray();
    }
}

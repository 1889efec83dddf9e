package stormsight.model.nn;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import stormsight.model.Prompt;
import stormsight.model.Span;
import stormsight.model.Views;
import stormsight.tokenizer.Tokenizer;

/** Puts ids and spans of a prompt behind each other. */
public final class PromptWriter {
    private final int[] characters;
    private final List<Span> spans = new ArrayList<>();
    private final List<Tokenizer.Piece> text = new ArrayList<>();
    private final IntStream.Builder ids = IntStream.builder();
    private int place;
    private int images;
    private int featureRows;
    /** Where the text behind the last image begins. */
    private int from;

    /** @param text that pieces are of */
    public PromptWriter(String text) {
        characters = text.codePoints().toArray();
    }

    /**
     * @param named how many places of images a text names
     * @throws IllegalArgumentException if there are more or fewer images
     */
    public static void requireImages(long named, String token, int images) {
        if (named != images) {
            throw new IllegalArgumentException("the prompt has " + named + " places " + token + " for " + images
                    + (images == 1 ? " image" : " images"));
        }
    }

    /** How often a text spells a token. */
    public static int count(String text, String token) {
        return (text.length() - text.replace(token, "").length()) / token.length();
    }

    /** Adds tokens that lie in no span. */
    public void ids(int... more) {
        endText(characters.length);
        Arrays.stream(more).forEach(ids::add);
        place += more.length;
    }

    /** Adds the rows of an image. */
    public void image(Views image) {
        spans.addAll(image.spans(images, place));
        ids(image.ids(featureRows));
        featureRows += image.featureRows();
        images++;
    }

    /**
     * Adds the pieces of the whole text, an image in the place of each image token.
     *
     * @param behind ids that follow the last image
     * @throws IllegalArgumentException if the text wants another number of images
     */
    public void text(List<Tokenizer.Piece> pieces, List<Views> all, String token, int imageId, int... behind) {
        requireImages(pieces.stream().filter(piece -> piece.id() == imageId).count(), token, all.size());
        int next = 0;
        for (Tokenizer.Piece piece : pieces) {
            if (piece.id() == imageId) {
                endText(piece.from());
                from = piece.to();
                image(all.get(next++));
                if (next == all.size()) {
                    ids(behind);
                }
            } else {
                text.add(piece);
            }
        }
        endText(characters.length);
    }

    /** Adds the pieces of a text that holds no images. */
    public void text(List<Tokenizer.Piece> pieces) {
        text.addAll(pieces);
        endText(characters.length);
    }

    private void endText(int to) {
        if (!text.isEmpty()) {
            spans.add(new Span.Text(
                    place,
                    new String(characters, from, to - from),
                    text.stream()
                            .map(piece -> new Tokenizer.Piece(
                                    piece.id(), Math.max(0, piece.from() - from), Math.max(0, piece.to() - from)))
                            .toList()));
            text.forEach(piece -> ids.add(piece.id()));
            place += text.size();
            text.clear();
        }
    }

    /** @param prefix whether all places see each other, or each what comes before it */
    public Prompt prompt(boolean prefix) {
        int[] all = ids.build().toArray();
        return new Prompt(all, spans, prefix ? all.length : 0);
    }
}

package stormsight.tokenizer;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ModelFiles;
import stormsight.checkpoint.StrictJson;

/**
 * Turns text into the ids that a model was trained with, and ids into text: a tokenizer.json with byte pair encoding
 * (Gemma, Llama, CLIP, OPT), unigrams or word pieces (BERT), or SigLIP's spiece.model. Ids and texts are those of
 * Hugging Face's tokenizers library and transformers. All of a file is checked when it is opened; a component that is
 * not known here is refused by name. Nothing is cut off or padded, whatever the file says. Safe for use by several
 * threads.
 */
public final class Tokenizer {
    /** Real ones take up to 35 MB. */
    private static final long MOST_BYTES = 200_000_000;

    /** Locations and segmentation codes are part of an answer, even where a file flags them as special. */
    private static final Pattern ANSWER = Pattern.compile("<loc[0-9]{4}>|<seg[0-9]{3}>");

    private final Path file;
    private final TokenizerFile.Parts parts;
    private final Map<String, AddedTokens.Added> added = new HashMap<>();
    private final Map<Integer, AddedTokens.Added> addedById = new HashMap<>();
    private final BitSet special = new BitSet();
    private final int size;

    private Tokenizer(Path file, TokenizerFile.Parts parts) {
        this.file = file;
        this.parts = parts;
        int most = parts.vocabulary().size();
        for (AddedTokens.Added token : parts.added().all()) {
            added.put(token.content(), token);
            addedById.put(token.id(), token);
            most = Math.max(most, token.id() + 1);
            if (token.special() && !ANSWER.matcher(token.content()).matches()) {
                special.set(token.id());
            }
        }
        size = most;
    }

    /**
     * Opens a tokenizer.json or, for a name that ends in {@code .model}, a spiece.model.
     *
     * @throws CheckpointException if the file cannot be read, is broken or holds something that is not supported
     */
    public static Tokenizer open(Path file) {
        try (InputStream in = ModelFiles.open(file, MOST_BYTES)) {
            Path shown = ModelFiles.shown(file);
            return new Tokenizer(shown, file.toString().endsWith(".model")
                    ? SentencePieceFile.read(file, in.readAllBytes())
                    : TokenizerFile.read(shown, new JsonScanner(in)));
        } catch (IOException | UncheckedIOException | OutOfMemoryError e) {
            throw new CheckpointException(file, "cannot be read (" + StrictJson.printable(String.valueOf(e)) + ")", e);
        }
    }

    /**
     * The same tokenizer for lower-cased texts. Tokens that the file adds are still recognised as they are spelled,
     * before the text is lower-cased.
     */
    public Tokenizer lowerCasing() {
        return parts.cutter() instanceof Cutter.Pipeline pipeline
                ? new Tokenizer(file, parts.with(pipeline.lowerCasing()))
                : this;
    }

    /** The file that this tokenizer comes from. */
    public Path file() {
        return file;
    }

    /** One more than the highest id, added tokens included. */
    public int size() {
        return size;
    }

    /** The id of a token as the file spells it, say {@code <bos>} or "▁the". */
    public OptionalInt id(String token) {
        AddedTokens.Added known = added.get(token);
        int id = known == null ? parts.vocabulary().id(token) : known.id();
        return id < 0 ? OptionalInt.empty() : OptionalInt.of(id);
    }

    /**
     * The id of a token that the model cannot do without.
     *
     * @throws CheckpointException if there is none
     */
    public int require(String token) {
        return id(token).orElseThrow(() -> new CheckpointException(file, "no token " + Vocabulary.quoted(token)));
    }

    /**
     * The token as the file spells it; empty for an id between others that the file leaves out.
     *
     * @throws IllegalArgumentException if the id is not in 0 .. size - 1
     */
    public String token(int id) {
        requireId(id);
        AddedTokens.Added known = addedById.get(id);
        String token = known == null ? parts.vocabulary().token(id) : known.content();
        return token == null ? "" : token;
    }

    /** Ids whose {@link #token} is not empty. */
    public BitSet spelled() {
        BitSet ids = parts.vocabulary().spelled();
        for (AddedTokens.Added token : parts.added().all()) {
            ids.set(token.id(), !token.content().isEmpty());
        }
        return ids;
    }

    /**
     * Whether the token steers the model and is no part of an answer: {@code <bos>}, {@code <eos>}, {@code <pad>} and
     * others that the file flags, except for locations and segmentation codes.
     */
    public boolean isSpecial(int id) {
        requireId(id);
        return special.get(id);
    }

    /** Whether the decoder knows tokens that stand for one byte. */
    boolean hasBytes() {
        return parts.decoder().hasBytes();
    }

    /** Whether the token stands for one byte of UTF-8. */
    boolean isByte(int id) {
        return hasBytes() && byteOf(id) >= 0;
    }

    /** The byte, 0 .. 255, that a token with {@link #isByte} stands for. */
    int byteOf(int id) {
        return Decoder.ByteFallback.byteOf(token(id));
    }

    /**
     * The ids of a text. A token that the file adds, {@code <eos>} or {@code <loc0001>} say, is recognised where the
     * text spells it. A surrogate without its partner counts as U+FFFD.
     */
    public int[] encode(String text) {
        return parts.cutter().cut(wellFormed(text)).ids();
    }

    /** The ids of a text between those that the file puts before and after it: {@code <bos>} or {@code </s>}, say. */
    public int[] encodeWithSpecials(String text) {
        return parts.postProcessor().apply(encode(text));
    }

    /**
     * The same, with the text cut off at its end so that there are no more ids than can be taken. What comes after it
     * stays.
     *
     * @param most at least as many ids as the file puts around a text
     */
    public int[] encodeWithSpecials(String text, int most) {
        int room = most - parts.postProcessor().added();
        if (room < 0) {
            throw new IllegalArgumentException("at most " + most + " ids, " + parts.postProcessor().added()
                    + " are around each text");
        }
        int[] ids = encode(text);
        return parts.postProcessor().apply(ids.length > room ? Arrays.copyOf(ids, room) : ids);
    }

    /**
     * A token and what it stands for: the code points {@code from} to {@code to - 1} of the text. Tokens that stand for
     * the bytes of one code point all have its place.
     */
    public record Piece(int id, int from, int to) {}

    /** The ids of {@link #encode} with their places in the text. */
    public List<Piece> pieces(String text) {
        String fixed = wellFormed(text);
        int[] points = new int[fixed.length() + 1];
        for (int i = 1; i <= fixed.length(); i++) {
            points[i] = points[i - 1] + (Character.isLowSurrogate(fixed.charAt(i - 1)) ? 0 : 1);
        }
        Tokens tokens = parts.cutter().cut(fixed);
        List<Piece> pieces = new ArrayList<>(tokens.size());
        for (int i = 0; i < tokens.size(); i++) {
            pieces.add(new Piece(tokens.id(i), points[tokens.from(i)], points[tokens.to(i)]));
        }
        return pieces;
    }

    /**
     * The text of ids. A run of byte tokens that is not valid UTF-8 as a whole gives one U+FFFD for each of its bytes.
     *
     * @param skipSpecial leaves out tokens with {@link #isSpecial}, before runs are formed
     * @throws IllegalArgumentException if an id is not in 0 .. size - 1
     */
    public String decode(int[] ids, boolean skipSpecial) {
        StringBuilder text = new StringBuilder();
        Decoder.Stream stream = decoding();
        for (int id : ids) {
            requireId(id);
            if (!skipSpecial || !special.get(id)) {
                push(id, stream, text::append);
            }
        }
        stream.flush(text::append);
        return text.toString();
    }

    /** Begins to decode a text token by token. */
    Decoder.Stream decoding() {
        return parts.decoder().stream();
    }

    /** Gives a stream of {@link #decoding} the next token. An id without a token is passed over. */
    void push(int id, Decoder.Stream stream, Consumer<String> out) {
        requireId(id);
        AddedTokens.Added known = addedById.get(id);
        String token = known == null ? parts.vocabulary().token(id) : parts.added().spelled(known);
        if (token != null) {
            stream.push(token, out);
        }
    }

    private void requireId(int id) {
        if (id < 0 || id >= size) {
            throw new IllegalArgumentException("token " + id + ", the vocabulary has " + size);
        }
    }

    private static String wellFormed(String text) {
        StringBuilder fixed = null;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                fixed = fixed == null ? new StringBuilder(text) : fixed;
                fixed.setCharAt(i, '\ufffd');
            }
        }
        return fixed == null ? text : fixed.toString();
    }
}

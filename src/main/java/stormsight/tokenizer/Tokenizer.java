package stormsight.tokenizer;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.regex.Pattern;
import stormsight.checkpoint.CheckpointException;

/**
 * A tokenizer.json, run by Hugging Face's own tokenizers library through DJL. No special tokens are added, nothing is cut off or
 * padded, whatever the file says. Safe for use by several threads.
 *
 * <p>The library is native code inside DJL's jar; on first use DJL copies it to {@code ~/.djl.ai} (or {@code DJL_CACHE_DIR}).
 * Nothing is looked up or reported over a network.
 */
public final class Tokenizer implements AutoCloseable {
    static {
        // DJL reports home and looks for a CUDA build of its library unless it is offline; it reads these when its classes are loaded.
        // What it logs as an error, with a trace, it throws as well.
        System.setProperty("ai.djl.offline", "true");
        System.setProperty("OPT_OUT_TRACKING", "true");
        if (System.getProperty("org.slf4j.simpleLogger.log.ai.djl") == null) {
            System.setProperty("org.slf4j.simpleLogger.log.ai.djl", "off");
        }
    }

    /** Locations and segmentation codes are part of an answer, even where a file flags them as special. */
    private static final Pattern ANSWER = Pattern.compile("<loc[0-9]{4}>|<seg[0-9]{3}>");

    private static final Pattern BYTE = Pattern.compile("<0x[0-9A-Fa-f]{2}>");

    private final Path file;
    private final HuggingFaceTokenizer library;
    private final Map<String, Integer> ids;
    private final String[] tokens;
    private final BitSet special = new BitSet();
    private final boolean byteFallback;

    private Tokenizer(Path file, HuggingFaceTokenizer library, TokenizerFile content) {
        this.file = file;
        this.library = library;
        this.byteFallback = content.byteFallback();
        // Not a copy, of which a quarter of a million entries would be dear; nobody else holds the map.
        ids = content.vocabulary();
        content.added().forEach((token, added) -> ids.put(token, added.id()));
        tokens = new String[1 + ids.values().stream().mapToInt(Integer::intValue).max().orElse(-1)];
        ids.forEach((token, id) -> tokens[id] = token);
        content.added().forEach((token, added) -> {
            tokens[added.id()] = token;
            if (added.special() && !ANSWER.matcher(token).matches()) {
                special.set(added.id());
            }
        });
    }

    /** @throws CheckpointException if the file cannot be read or is not a tokenizer that the library takes */
    public static Tokenizer open(Path tokenizerJson) {
        byte[] json;
        try {
            json = Files.readAllBytes(tokenizerJson);
        } catch (NoSuchFileException e) {
            throw new CheckpointException(tokenizerJson, "no such file", e);
        } catch (IOException | OutOfMemoryError e) {
            throw new CheckpointException(tokenizerJson, "cannot be read (" + e + ")", e);
        }
        TokenizerFile content = TokenizerFile.parse(tokenizerJson, json);
        try {
            HuggingFaceTokenizer library = HuggingFaceTokenizer.newInstance(
                    new ByteArrayInputStream(json),
                    Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false"));
            return new Tokenizer(tokenizerJson, library, content);
        } catch (IOException | RuntimeException e) {
            String problem = String.valueOf(e.getMessage());
            if (problem.contains("native library")) {
                throw new CheckpointException(tokenizerJson, "the library that reads it cannot be unpacked; set DJL_CACHE_DIR to a "
                        + "directory that can be written", e);
            }
            throw new CheckpointException(tokenizerJson, "not a usable tokenizer (" + problem + ")", e);
        }
    }

    /** The file that this tokenizer comes from. */
    public Path file() {
        return file;
    }

    /** One more than the highest id, added tokens included. */
    public int size() {
        return tokens.length;
    }

    /** The id of a token as the file spells it, say {@code <bos>} or "▁the". */
    public OptionalInt id(String token) {
        Integer id = ids.get(token);
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }

    /**
     * The id of a token that the model cannot do without.
     *
     * @throws CheckpointException if there is none
     */
    public int require(String token) {
        return id(token).orElseThrow(
                () -> new CheckpointException(file, "no token \"" + token.replace("\n", "\\n") + "\""));
    }

    /**
     * The token as the file spells it; empty for an id between others that the file leaves out.
     *
     * @throws IllegalArgumentException if the id is not in 0 .. size - 1
     */
    public String token(int id) {
        requireId(id);
        return tokens[id] == null ? "" : tokens[id];
    }

    /**
     * Whether the token steers the model and is no part of an answer: {@code <bos>}, {@code <eos>}, {@code <pad>} and others that the
     * file flags, except for locations and segmentation codes.
     */
    public boolean isSpecial(int id) {
        requireId(id);
        return special.get(id);
    }

    /** Whether the decoder knows tokens that stand for one byte. */
    boolean hasBytes() {
        return byteFallback;
    }

    /** Whether the token stands for one byte of UTF-8. */
    boolean isByte(int id) {
        return byteFallback && id < tokens.length && tokens[id] != null && BYTE.matcher(tokens[id]).matches();
    }

    /** The byte, 0 .. 255, that a token with {@link #isByte} stands for. */
    int byteOf(int id) {
        return Integer.parseInt(tokens[id].substring(3, 5), 16);
    }

    /**
     * The ids of a text. A token that the file adds, {@code <eos>} or {@code <loc0001>} say, is recognised where the text spells it. A
     * surrogate without its partner counts as U+FFFD.
     */
    public int[] encode(String text) {
        long[] encoded = library.encode(wellFormed(text), false, false).getIds();
        return Arrays.stream(encoded).mapToInt(Math::toIntExact).toArray();
    }

    /**
     * A token and what it stands for: the code points {@code from} to {@code to - 1} of the text. Tokens that stand for the bytes of one code point
     * all have its place.
     */
    public record Piece(int id, int from, int to) {}

    /** The ids of {@link #encode} with their places in the text. */
    public List<Piece> pieces(String text) {
        Encoding encoding = library.encode(wellFormed(text), false, false);
        long[] encoded = encoding.getIds();
        CharSpan[] places = encoding.getCharTokenSpans();
        List<Piece> pieces = new ArrayList<>();
        for (int i = 0; i < encoded.length; i++) {
            // The library has no place for a token that spells nothing.
            int from = places[i] == null ? 0 : places[i].getStart();
            int to = places[i] == null ? 0 : places[i].getEnd();
            pieces.add(new Piece(Math.toIntExact(encoded[i]), from, to));
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
        for (int id : ids) {
            requireId(id);
        }
        long[] kept = Arrays.stream(ids).filter(id -> !skipSpecial || !special.get(id)).mapToLong(id -> id).toArray();
        return kept.length == 0 ? "" : library.decode(kept, false);
    }

    @Override
    public void close() {
        library.close();
    }

    private void requireId(int id) {
        if (id < 0 || id >= tokens.length) {
            throw new IllegalArgumentException("token " + id + ", the vocabulary has " + tokens.length);
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

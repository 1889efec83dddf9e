package stormsight.tokenizer;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;

/**
 * What turns tokens into text. Each kind is the one of that name in a tokenizer.json. Tokens go in one by one, and text
 * comes out as soon as no later token can change it, so that decoding a whole answer and streaming it are the same.
 */
sealed interface Decoder {
    /** One text that is being decoded. */
    interface Stream {
        void push(String token, Consumer<String> out);

        /** The rest of the text. What is pushed next begins another one. */
        void flush(Consumer<String> out);
    }

    /** Begins a text. */
    Stream stream();

    /** One after the other. */
    record Sequence(List<Decoder> steps) implements Decoder {
        @Override
        public Stream stream() {
            List<Stream> streams = steps.stream().map(Decoder::stream).toList();
            return new Stream() {
                @Override
                public void push(String token, Consumer<String> out) {
                    push(0, token, out);
                }

                private void push(int step, String token, Consumer<String> out) {
                    if (step == streams.size()) {
                        out.accept(token);
                    } else {
                        streams.get(step).push(token, result -> push(step + 1, result, out));
                    }
                }

                @Override
                public void flush(Consumer<String> out) {
                    for (int i = 0; i < streams.size(); i++) {
                        int next = i + 1;
                        streams.get(i).flush(result -> push(next, result, out));
                    }
                }
            };
        }
    }

    /** Tokens that do not depend on each other, but for their place in the text. */
    abstract class EachToken implements Stream {
        private int index;

        /** @param index 0 for the first token of the text */
        abstract String decode(String token, int index);

        @Override
        public void push(String token, Consumer<String> out) {
            out.accept(decode(token, index));
            index = 1;
        }

        @Override
        public void flush(Consumer<String> out) {
            index = 0;
        }
    }

    /** Puts one string in place of another one within a token. */
    record Replace(String string, String content) implements Decoder {
        @Override
        public Stream stream() {
            return new EachToken() {
                @Override
                String decode(String token, int index) {
                    return token.replace(string, content);
                }
            };
        }
    }

    /**
     * Takes up to a number of characters from the start of each token, or of the text if its tokens were joined before.
     */
    record Strip(int character, int most, boolean joined) implements Decoder {
        @Override
        public Stream stream() {
            return new Stream() {
                private int left = most;

                @Override
                public void push(String token, Consumer<String> out) {
                    left = joined ? left : most;
                    int start = 0;
                    while (left > 0 && start < token.length()) {
                        if (token.codePointAt(start) == character) {
                            start += Character.charCount(character);
                            left--;
                        } else {
                            left = 0;
                        }
                    }
                    out.accept(token.substring(start));
                }

                @Override
                public void flush(Consumer<String> out) {
                    left = most;
                }
            };
        }
    }

    /** Joins all tokens, which text that comes out piece by piece is anyway; what follows sees one text. */
    record Fuse() implements Decoder {
        @Override
        public Stream stream() {
            return new EachToken() {
                @Override
                String decode(String token, int index) {
                    return token;
                }
            };
        }
    }

    /** A space between tokens: where a file has no decoder. */
    record Spaces() implements Decoder {
        @Override
        public Stream stream() {
            return new EachToken() {
                @Override
                String decode(String token, int index) {
                    return index == 0 ? token : " " + token;
                }
            };
        }
    }

    /**
     * The sign of a space becomes one; signs in the first token stand for none unless nothing is put in front of texts.
     */
    record Metaspace(char replacement, PreTokenizer.Prepend prepend) implements Decoder {
        @Override
        public Stream stream() {
            return new EachToken() {
                @Override
                String decode(String token, int index) {
                    boolean drop = index == 0 && prepend != PreTokenizer.Prepend.NEVER;
                    return token.replace(String.valueOf(replacement), drop ? "" : " ");
                }
            };
        }
    }

    /** BERT's: a space before each token that does not continue a word; on request, none before punctuation. */
    record WordPiece(String prefix, boolean cleanup) implements Decoder {
        @Override
        public Stream stream() {
            return new EachToken() {
                @Override
                String decode(String token, int index) {
                    String text = token;
                    if (index > 0) {
                        text = token.startsWith(prefix) ? token.substring(prefix.length()) : " " + token;
                    }
                    return cleanup ? cleaned(text) : text;
                }
            };
        }

        /** In this order, as in the tokenizers library. */
        private static String cleaned(String text) {
            return text.replace(" .", ".").replace(" ?", "?").replace(" !", "!").replace(" ,", ",").replace(" ' ", "'")
                    .replace(" n't", "n't").replace(" 'm", "'m").replace(" do not", " don't").replace(" 's", "'s")
                    .replace(" 've", "'ve").replace(" 're", "'re");
        }
    }

    /**
     * Tokens {@code <0xHH>} become bytes. A run of them that is not valid UTF-8 as a whole gives one U+FFFD for each of
     * its bytes, so that it is held back until a token of another kind ends it or it is certainly invalid.
     */
    record ByteFallback() implements Decoder {
        /** The byte of a token, or -1. */
        static int byteOf(String token) {
            return token.length() == 6 && token.startsWith("<0x") && token.charAt(5) == '>'
                            && Character.digit(token.charAt(3), 16) >= 0 && Character.digit(token.charAt(4), 16) >= 0
                            && token.charAt(3) < 0x80 && token.charAt(4) < 0x80
                    ? Integer.parseInt(token, 3, 5, 16)
                    : -1;
        }

        @Override
        public Stream stream() {
            return new Stream() {
                private final ByteArrayOutputStream run = new ByteArrayOutputStream();
                private final Utf8 utf8 = new Utf8();
                private boolean valid = true;

                @Override
                public void push(String token, Consumer<String> out) {
                    int value = byteOf(token);
                    if (value < 0) {
                        flush(out);
                        out.accept(token);
                        return;
                    }
                    if (valid && utf8.push(value)) {
                        run.write(value);
                        return;
                    }
                    valid = false;
                    out.accept("\ufffd".repeat(run.size() + 1));
                    run.reset();
                }

                @Override
                public void flush(Consumer<String> out) {
                    if (run.size() > 0) {
                        out.accept(utf8.complete()
                                ? run.toString(StandardCharsets.UTF_8)
                                : "\ufffd".repeat(run.size()));
                    }
                    run.reset();
                    utf8.reset();
                    valid = true;
                }
            };
        }
    }

    /**
     * GPT-2's alphabet of bytes becomes bytes, of which each stretch that cannot be UTF-8 gives one U+FFFD; a token
     * with a character of no such alphabet is its own text.
     */
    record ByteLevel() implements Decoder {
        @Override
        public Stream stream() {
            return new Stream() {
                private final ByteArrayOutputStream begun = new ByteArrayOutputStream();
                private final Utf8 utf8 = new Utf8();

                @Override
                public void push(String token, Consumer<String> out) {
                    StringBuilder text = new StringBuilder();
                    for (byte value : bytes(token)) {
                        push(value & 0xff, text);
                    }
                    out.accept(text.toString());
                }

                private void push(int value, StringBuilder text) {
                    if (!utf8.push(value)) {
                        text.append('\ufffd');
                        boolean alone = begun.size() == 0;
                        begun.reset();
                        if (alone) {
                            return;
                        }
                        push(value, text);
                        return;
                    }
                    begun.write(value);
                    if (utf8.complete()) {
                        text.append(begun.toString(StandardCharsets.UTF_8));
                        begun.reset();
                    }
                }

                @Override
                public void flush(Consumer<String> out) {
                    if (begun.size() > 0) {
                        out.accept("\ufffd");
                    }
                    begun.reset();
                    utf8.reset();
                }
            };
        }

        private static byte[] bytes(String token) {
            byte[] bytes = new byte[token.length()];
            for (int i = 0; i < bytes.length; i++) {
                int value = ByteAlphabet.byteOf(token.charAt(i));
                if (value < 0) {
                    return token.getBytes(StandardCharsets.UTF_8);
                }
                bytes[i] = (byte) value;
            }
            return bytes;
        }
    }

    /**
     * SentencePiece's as transformers' SiglipTokenizer uses it: special tokens as they are spelled, a space before
     * them, and what stands between them decoded by itself. All of it comes out at the end.
     *
     * @param special tokens that are shown
     * @param hidden tokens that stand for nothing
     */
    record SentencePiece(Set<String> special, Set<String> hidden) implements Decoder {
        private static final String SPACE = "\u2581";

        @Override
        public Stream stream() {
            return new Stream() {
                private final StringBuilder text = new StringBuilder();
                private final StringBuilder part = new StringBuilder();
                private boolean afterSpecial;

                @Override
                public void push(String token, Consumer<String> out) {
                    if (special.contains(token)) {
                        text.append(afterSpecial ? "" : " ").append(part).append(token);
                        part.setLength(0);
                    } else if (!hidden.contains(token)) {
                        String text = part.isEmpty() && token.startsWith(SPACE) ? token.substring(1) : token;
                        part.append(text.replace(SPACE, " "));
                    }
                    afterSpecial = special.contains(token);
                }

                @Override
                public void flush(Consumer<String> out) {
                    String whole = text.append(part).toString();
                    int start = 0;
                    int end = whole.length();
                    while (end > 0 && Characters.isPythonSpace(whole.charAt(end - 1))) {
                        end--;
                    }
                    while (start < end && Characters.isPythonSpace(whole.charAt(start))) {
                        start++;
                    }
                    text.setLength(0);
                    part.setLength(0);
                    afterSpecial = false;
                    out.accept(whole.substring(start, end));
                }
            };
        }
    }

    /**
     * What transformers' CLIPTokenizer does with the text: the sign of a word's end becomes a space, and the ends are
     * stripped.
     */
    record WordEnds(String suffix) implements Decoder {
        @Override
        public Stream stream() {
            return new Stream() {
                /**
                 * Text that a later token could change: white space at the end, perhaps with the beginning of a suffix.
                 */
                private String held = "";

                private boolean begun;

                @Override
                public void push(String token, Consumer<String> out) {
                    String text = (held + token).replace(suffix, " ");
                    int end = text.length();
                    for (int i = Math.max(0, end - suffix.length() + 1); i < end; i++) {
                        if (suffix.startsWith(text.substring(i))) {
                            end = i;
                        }
                    }
                    held = text.substring(end);
                    emit(text.substring(0, end), out);
                }

                private void emit(String text, Consumer<String> out) {
                    int start = 0;
                    while (!begun && start < text.length() && Characters.isPythonSpace(text.charAt(start))) {
                        start++;
                    }
                    int end = text.length();
                    while (end > start && Characters.isPythonSpace(text.charAt(end - 1))) {
                        end--;
                    }
                    begun |= end > start;
                    held = text.substring(Math.max(start, end)) + held;
                    out.accept(text.substring(start, end));
                }

                @Override
                public void flush(Consumer<String> out) {
                    String rest = held;
                    held = "";
                    emit(rest, out);
                    held = "";
                    begun = false;
                }
            };
        }
    }

    /** Whether tokens {@code <0xHH>} stand for bytes. */
    default boolean hasBytes() {
        return this instanceof ByteFallback
                || this instanceof Sequence(var steps) && steps.stream().anyMatch(Decoder::hasBytes);
    }

    /** Whether what follows sees one text instead of tokens. */
    default boolean joins() {
        return this instanceof Fuse || this instanceof ByteLevel
                || this instanceof Sequence(var steps) && steps.stream().anyMatch(Decoder::joins);
    }
}

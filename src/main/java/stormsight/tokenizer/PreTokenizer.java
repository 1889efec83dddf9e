package stormsight.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What cuts a normalized text into the pieces that the model gets one by one. Each kind is the one of that name in a
 * tokenizer.json; none returns empty pieces.
 */
sealed interface PreTokenizer {
    List<AlignedText> apply(AlignedText text);

    /** One after the other. */
    record Sequence(List<PreTokenizer> steps) implements PreTokenizer {
        @Override
        public List<AlignedText> apply(AlignedText text) {
            List<AlignedText> pieces = List.of(text);
            for (PreTokenizer step : steps) {
                List<AlignedText> cut = new ArrayList<>();
                pieces.forEach(piece -> cut.addAll(step.apply(piece)));
                pieces = cut;
            }
            return pieces;
        }
    }

    /** What becomes of a match that a text is cut at. */
    enum Behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS }

    /**
     * Cuts at each match.
     *
     * @param invert takes what lies between matches for the matches, and the other way round
     */
    record Split(Pattern pattern, Behavior behavior, boolean invert) implements PreTokenizer {
        @Override
        public List<AlignedText> apply(AlignedText text) {
            List<AlignedText> pieces = new ArrayList<>();
            Matcher matcher = pattern.matcher(text.text());
            Pieces cut = new Pieces(text, behavior, pieces);
            int done = 0;
            while (matcher.find()) {
                cut.add(done, matcher.start(), invert);
                cut.add(matcher.start(), matcher.end(), !invert);
                done = matcher.end();
            }
            cut.add(done, text.length(), invert);
            cut.end();
            return pieces;
        }
    }

    /** Puts stretches that match and stretches that do not together as a behaviour wants. */
    final class Pieces {
        private final AlignedText text;
        private final Behavior behavior;
        private final List<AlignedText> pieces;

        /** The stretch that is not finished. */
        private int start;

        private int end;
        private boolean match;

        Pieces(AlignedText text, Behavior behavior, List<AlignedText> pieces) {
            this.text = text;
            this.behavior = behavior;
            this.pieces = pieces;
        }

        void add(int from, int to, boolean matches) {
            if (from == to) {
                return;
            }
            boolean joined = end > start && switch (behavior) {
                case REMOVED, ISOLATED -> false;
                case MERGED_WITH_PREVIOUS -> matches && !match;
                case MERGED_WITH_NEXT -> match && !matches;
                case CONTIGUOUS -> match == matches;
            };
            if (!joined) {
                end();
                start = from;
            }
            end = to;
            match = matches;
        }

        void end() {
            if (end > start && !(match && behavior == Behavior.REMOVED)) {
                pieces.add(text.slice(start, end));
            }
            start = end;
        }
    }

    /** GPT-2's: cuts into words and writes them in the alphabet of bytes. */
    record ByteLevel(boolean addPrefixSpace, boolean useRegex) implements PreTokenizer {
        @Override
        public List<AlignedText> apply(AlignedText text) {
            AlignedText start = addPrefixSpace && !text.text().startsWith(" ") ? Normalizer.prepend(text, " ") : text;
            List<AlignedText> words = useRegex
                    ? new Split(KnownPattern.BYTE_LEVEL, Behavior.ISOLATED, false).apply(start)
                    : List.of(start);
            return words.stream().map(ByteLevel::bytes).toList();
        }

        private static AlignedText bytes(AlignedText word) {
            AlignedText.Builder result = new AlignedText.Builder(word);
            for (int i = 0, next; i < word.length(); i = next) {
                next = i + Character.charCount(word.text().codePointAt(i));
                byte[] bytes = word.text().substring(i, next).getBytes(StandardCharsets.UTF_8);
                char[] chars = new char[bytes.length];
                for (int j = 0; j < chars.length; j++) {
                    chars[j] = ByteAlphabet.charOf(bytes[j] & 0xff);
                }
                result.append(new String(chars), i, next);
            }
            return result.build();
        }
    }

    /** Which pieces between added tokens get the sign of a space in front. */
    enum Prepend { ALWAYS, FIRST, NEVER }

    /** SentencePiece's: a sign in place of each space, and in front of the text. */
    record Metaspace(char replacement, Prepend prepend, boolean split) implements PreTokenizer {
        @Override
        public List<AlignedText> apply(AlignedText text) {
            String sign = String.valueOf(replacement);
            AlignedText result = new Normalizer.Replace(SPACE, sign).apply(text);
            boolean wanted = prepend == Prepend.ALWAYS || prepend == Prepend.FIRST && result.from(0) == 0;
            if (wanted && result.text().charAt(0) != replacement) {
                result = Normalizer.prepend(result, sign);
            }
            return split
                    ? new Split(Pattern.compile(Pattern.quote(sign)), Behavior.MERGED_WITH_NEXT, false).apply(result)
                    : List.of(result);
        }
    }

    Pattern SPACE = Pattern.compile(" ");

    /** Cuts at white space. */
    record WhitespaceSplit() implements PreTokenizer {
        private static final Split SPACES = new Split(KnownPattern.of("\\s+"), Behavior.REMOVED, false);

        @Override
        public List<AlignedText> apply(AlignedText text) {
            return SPACES.apply(text);
        }
    }

    /** BERT's: cuts at white space and around punctuation. */
    record Bert() implements PreTokenizer {
        private static final Split PUNCTUATION =
                new Split(Pattern.compile("[!-/:-@\\[-`{-~\\p{P}]"), Behavior.ISOLATED, false);

        @Override
        public List<AlignedText> apply(AlignedText text) {
            List<AlignedText> pieces = new ArrayList<>();
            new WhitespaceSplit().apply(text).forEach(word -> pieces.addAll(PUNCTUATION.apply(word)));
            return pieces;
        }
    }
}

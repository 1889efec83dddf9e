package stormsight.tokenizer;

import java.nio.charset.StandardCharsets;
import java.text.BreakIterator;
import java.text.Normalizer.Form;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What a text goes through before it is cut into tokens. Each kind is the one of that name in a tokenizer.json. */
sealed interface Normalizer {
    AlignedText apply(AlignedText text);

    /** How many chars one char can become at most: a file could make a text of any size out of a short one. */
    default long growth() {
        return 1;
    }

    /** One after the other. */
    record Sequence(List<Normalizer> steps) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            AlignedText result = text;
            for (Normalizer step : steps) {
                result = step.apply(result);
            }
            return result;
        }

        @Override
        public long growth() {
            return steps.stream().mapToLong(Normalizer::growth).reduce(1, (a, b) -> Math.min(a * b, Integer.MAX_VALUE));
        }
    }

    /** Puts something in front of a text that is not empty. */
    record Prepend(String prefix) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            return prepend(text, prefix);
        }

        @Override
        public long growth() {
            return 1 + prefix.length();
        }
    }

    /** The prefix has the place of the first character. */
    static AlignedText prepend(AlignedText text, String prefix) {
        return text.isEmpty()
                ? text
                : new AlignedText.Builder(text)
                        .append(prefix, 0, Character.charCount(text.text().codePointAt(0)))
                        .keep(0, text.length())
                        .build();
    }

    /** Puts the content in place of each match. */
    record Replace(Pattern pattern, String content) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            Matcher matcher = pattern.matcher(text.text());
            if (!matcher.find()) {
                return text;
            }
            AlignedText.Builder result = new AlignedText.Builder(text);
            int done = 0;
            do {
                result.keep(done, matcher.start()).append(content, matcher.start(), matcher.end());
                done = matcher.end();
            } while (matcher.find());
            return result.keep(done, text.length()).build();
        }

        @Override
        public long growth() {
            return Math.max(1, content.length());
        }
    }

    /**
     * NFC, NFD, NFKC or NFKD, by the JDK's version of Unicode: the library's is older, which scripts added since then
     * show.
     */
    record Unicode(Form form) implements Normalizer {
        /** U+FDFA in NFKC. */
        private static final int LONGEST_DECOMPOSITION = 18;

        @Override
        public long growth() {
            return LONGEST_DECOMPOSITION;
        }

        @Override
        public AlignedText apply(AlignedText text) {
            String chars = text.text();
            if (java.text.Normalizer.isNormalized(chars, form)) {
                return text;
            }
            AlignedText.Builder result = new AlignedText.Builder(text);
            for (int start = 0; start < chars.length();) {
                int end = start;
                do {
                    end += Character.charCount(chars.codePointAt(end));
                } while (end < chars.length() && joins(chars.codePointAt(end)));
                result.append(java.text.Normalizer.normalize(chars.substring(start, end), form), start, end);
                start = end;
            }
            AlignedText piecewise = result.build();
            String whole = java.text.Normalizer.normalize(chars, form);
            // Where a letter joined one before it after all, nobody knows which: all of the text stands for all of it.
            return piecewise.text().equals(whole)
                    ? piecewise
                    : new AlignedText.Builder(text).append(whole, 0, chars.length()).build();
        }

        /**
         * Whether the character can change or be changed by those before it: marks, and the later letters of Hangul
         * syllables.
         */
        private static boolean joins(int c) {
            return isMark(c) || c >= 0x1160 && c < 0x1200;
        }
    }

    /** Each character by itself: a sigma at the end of a word becomes the ordinary one. */
    record Lowercase() implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            return each(text, (c, start, end, result) -> {
                if (c < 0x80) {
                    result.appendCodePoint(c >= 'A' && c <= 'Z' ? c + 32 : c, start, end);
                } else {
                    result.append(Character.toString(c).toLowerCase(Locale.ROOT), start, end);
                }
            });
        }
    }

    /** Takes white space from the ends. */
    record Strip(boolean left, boolean right) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            int start = 0;
            int end = text.length();
            while (right && end > start && Characters.isSpace(text.text().charAt(end - 1))) {
                end--;
            }
            while (left && start < end && Characters.isSpace(text.text().charAt(start))) {
                start++;
            }
            return text.slice(start, end);
        }
    }

    /** Leaves out combining marks. */
    record StripAccents() implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            return each(text, (c, start, end, result) -> {
                if (!isMark(c)) {
                    result.keep(start, end);
                }
            });
        }
    }

    /**
     * SentencePiece's table as the tokenizers library applies it: to characters as readers see them, if they are short.
     */
    record Precompiled(Charsmap map) implements Normalizer {
        /** Longer clusters are replaced code point by code point. */
        private static final int LONGEST_CLUSTER = 5;

        @Override
        public long growth() {
            return map.longest();
        }

        @Override
        public AlignedText apply(AlignedText text) {
            String chars = text.text();
            AlignedText.Builder result = new AlignedText.Builder(text);
            BreakIterator clusters = BreakIterator.getCharacterInstance(Locale.ROOT);
            clusters.setText(chars);
            int start = clusters.first();
            for (int end = clusters.next(); end != BreakIterator.DONE; start = end, end = clusters.next()) {
                byte[] cluster = chars.substring(start, end).getBytes(StandardCharsets.UTF_8);
                if (cluster.length > LONGEST_CLUSTER || !replace(cluster, start, end, result)) {
                    for (int i = start, next; i < end; i = next) {
                        next = i + Character.charCount(chars.codePointAt(i));
                        if (!replace(chars.substring(i, next).getBytes(StandardCharsets.UTF_8), i, next, result)) {
                            result.keep(i, next);
                        }
                    }
                }
            }
            return result.build();
        }

        /** A replacement of a beginning counts for the whole, as there. */
        private boolean replace(byte[] part, int start, int end, AlignedText.Builder result) {
            Charsmap.Match match = map.match(part, 0, false);
            if (match != null) {
                result.append(match.replacement(), start, end);
            }
            return match != null;
        }
    }

    /**
     * What SentencePiece itself does with a text.
     *
     * @param map replaces the longest beginning of what is left of the text, or null
     * @param kept strings that the map does not touch
     * @param prefix puts a space in front
     * @param singleSpaces leaves one of several spaces, and none at the ends
     * @param escape writes U+2581 for a space
     * @see <a href="https://github.com/google/sentencepiece/blob/master/src/normalizer.cc">normalizer.cc</a>
     */
    record SentencePiece(Charsmap map, Trie kept, boolean prefix, boolean singleSpaces, boolean escape)
            implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            String space = escape ? "\u2581" : " ";
            String chars = text.text();
            byte[] bytes = chars.getBytes(StandardCharsets.UTF_8);
            AlignedText.Builder result = new AlignedText.Builder(text);
            boolean begun = false;
            boolean afterSpace = singleSpaces;
            for (int at = 0, atByte = 0, end, endByte; at < chars.length(); at = end, atByte = endByte) {
                int keep = longestKept(chars, at);
                Charsmap.Match match = keep > at || map == null ? null : map.match(bytes, atByte, true);
                end = keep > at ? keep : at + Character.charCount(chars.codePointAt(at));
                endByte = atByte + chars.substring(at, end).getBytes(StandardCharsets.UTF_8).length;
                if (match != null) {
                    while (endByte < atByte + match.bytes()) {
                        int c = chars.codePointAt(end);
                        end += Character.charCount(c);
                        endByte += c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
                    }
                }
                String piece = match == null ? chars.substring(at, end) : match.replacement();
                while (afterSpace && piece.startsWith(" ")) {
                    piece = piece.substring(1);
                }
                // Spaces in front of all do not count; where all is spaces, nothing is left.
                if (piece.isEmpty()) {
                    continue;
                }
                if (!begun && prefix) {
                    result.append(space, at, end);
                }
                begun = true;
                result.append(piece.replace(" ", space), at, end);
                afterSpace = singleSpaces && piece.endsWith(" ");
            }
            AlignedText normalized = result.build();
            int length = normalized.length();
            while (singleSpaces && normalized.text().startsWith(space, length - 1)) {
                length--;
            }
            return normalized.slice(0, length);
        }

        private int longestKept(String chars, int from) {
            int end = from;
            int node = 0;
            for (int i = from; i < chars.length() && (node = kept.child(node, chars.charAt(i))) >= 0; i++) {
                end = kept.value(node) >= 0 ? i + 1 : end;
            }
            return end;
        }
    }

    /**
     * BERT's clean-up. Characters that came to Unicode after version 8 are what they are, not unassigned as in the
     * library's tables.
     */
    record Bert(boolean clean, boolean chinese, boolean stripAccents, boolean lowercase) implements Normalizer {
        @Override
        public AlignedText apply(AlignedText text) {
            AlignedText result = text;
            if (clean) {
                result = each(result, (c, start, end, out) -> {
                    if (c == '\t' || c == '\n' || c == '\r') {
                        out.append(" ", start, end);
                    } else if (c != 0xfffd && !control(c)) {
                        out.append(Characters.isSpace(c) ? " " : Character.toString(c), start, end);
                    }
                });
            }
            if (chinese) {
                result = each(result, (c, start, end, out) -> {
                    if (ideograph(c)) {
                        out.append(" ", start, end).keep(start, end).append(" ", start, end);
                    } else {
                        out.keep(start, end);
                    }
                });
            }
            if (stripAccents) {
                result = each(new Unicode(Form.NFD).apply(result), (c, start, end, out) -> {
                    if (Character.getType(c) != Character.NON_SPACING_MARK) {
                        out.keep(start, end);
                    }
                });
            }
            return lowercase ? new Lowercase().apply(result) : result;
        }

        private static boolean control(int c) {
            return switch (Character.getType(c)) {
                case Character.CONTROL, Character.FORMAT, Character.PRIVATE_USE -> true;
                default -> false;
            };
        }

        /** The blocks that BERT takes for Chinese, which leave out Hiragana, Katakana and Hangul. */
        private static boolean ideograph(int c) {
            return c >= 0x4e00 && c <= 0x9fff || c >= 0x3400 && c <= 0x4dbf || c >= 0x20000 && c <= 0x2a6df
                    || c >= 0x2a700 && c <= 0x2b73f || c >= 0x2b740 && c <= 0x2b81f || c >= 0x2b920 && c <= 0x2ceaf
                    || c >= 0xf900 && c <= 0xfaff || c >= 0x2f800 && c <= 0x2fa1f;
        }
    }

    private static boolean isMark(int c) {
        return switch (Character.getType(c)) {
            case Character.NON_SPACING_MARK, Character.COMBINING_SPACING_MARK, Character.ENCLOSING_MARK -> true;
            default -> false;
        };
    }

    /** What is done with one character of a text. */
    interface Step {
        void take(int codePoint, int start, int end, AlignedText.Builder result);
    }

    private static AlignedText each(AlignedText text, Step step) {
        AlignedText.Builder result = new AlignedText.Builder(text);
        for (int start = 0, end; start < text.length(); start = end) {
            int c = text.text().codePointAt(start);
            end = start + Character.charCount(c);
            step.take(c, start, end, result);
        }
        return result.build();
    }
}

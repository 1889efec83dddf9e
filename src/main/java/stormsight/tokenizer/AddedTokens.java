package stormsight.tokenizer;

import java.util.ArrayList;
import java.util.List;

/**
 * Tokens that a text is cut at before anything else: those that are spelled in the text itself, then those that are
 * spelled in the normalized text. At each place the longest one counts.
 */
final class AddedTokens {
    /** Real ones have up to some dozens of characters; finding them takes time in proportion. */
    static final int LONGEST = 1000;

    /**
     * @param content how the file spells it
     * @param normalized whether it is looked for in the normalized text, and normalized itself
     * @param singleWord only between characters that are no part of words
     * @param stripLeft takes the white space before it
     * @param stripRight takes the white space behind it
     * @param special steers the model
     */
    record Added(int id, String content, boolean normalized, boolean singleWord, boolean stripLeft, boolean stripRight,
            boolean special) {}

    /** A part of a text: one of the tokens, or what stands between them. */
    record Part(AlignedText text, Added token) {}

    private final List<Added> tokens;
    private final Normalizer normalizer;
    private final Trie asWritten = new Trie();
    private final Trie inNormalized = new Trie();

    /**
     * @param tokens each with another content
     * @param normalizer of the tokenizer, or null
     * @throws IllegalArgumentException if two are the same once they are normalized, or nothing is left of one
     */
    AddedTokens(List<Added> tokens, Normalizer normalizer) {
        this.tokens = tokens;
        this.normalizer = normalizer;
        for (int i = 0; i < tokens.size(); i++) {
            Added token = tokens.get(i);
            String spelled = spelled(token);
            if (spelled.isEmpty() || spelled.length() > LONGEST) {
                throw new IllegalArgumentException("the added token " + Vocabulary.quoted(token.content())
                        + (spelled.isEmpty() ? " is empty once it is normalized" : " is too long"));
            }
            int other = (token.normalized() ? inNormalized : asWritten).put(spelled, i);
            if (other >= 0) {
                throw new IllegalArgumentException("the added tokens "
                        + Vocabulary.quoted(tokens.get(other).content()) + " and "
                        + Vocabulary.quoted(token.content()) + " are the same once they are normalized");
            }
        }
    }

    /** The same tokens with a normalizer that makes lower case first. */
    AddedTokens lowerCasing() {
        Normalizer lowercase = new Normalizer.Lowercase();
        return new AddedTokens(tokens,
                normalizer == null ? lowercase : new Normalizer.Sequence(List.of(lowercase, normalizer)));
    }

    List<Added> all() {
        return tokens;
    }

    /** What the token is looked for as, and what decoders are given for it. */
    String spelled(Added token) {
        return token.normalized() && normalizer != null
                ? normalizer.apply(AlignedText.of(token.content())).text()
                : token.content();
    }

    /** The text in parts, those between tokens normalized; none is empty. */
    List<Part> split(AlignedText text) {
        List<Part> parts = new ArrayList<>();
        for (Part part : cut(text, asWritten)) {
            if (part.token() != null) {
                parts.add(part);
            } else {
                AlignedText normalized = normalizer == null ? part.text() : normalizer.apply(part.text());
                parts.addAll(cut(normalized, inNormalized));
            }
        }
        return parts;
    }

    private List<Part> cut(AlignedText text, Trie trie) {
        List<Part> parts = new ArrayList<>();
        String chars = text.text();
        int done = 0;
        for (int at = 0; at < chars.length();) {
            int longest = -1;
            int end = at;
            int node = 0;
            for (int i = at; i < chars.length() && (node = trie.child(node, chars.charAt(i))) >= 0; i++) {
                if (trie.value(node) >= 0) {
                    longest = trie.value(node);
                    end = i + 1;
                }
            }
            if (longest < 0) {
                at++;
                continue;
            }
            Added token = tokens.get(longest);
            int start = at;
            at = end;
            if (token.singleWord() && !standsAlone(chars, start, end)) {
                continue;
            }
            if (token.stripLeft()) {
                // The token before may have taken what this one is made of.
                start = Math.max(start, done);
                while (start > done && Characters.isSpace(chars.codePointBefore(start))) {
                    start--;
                }
            }
            if (token.stripRight()) {
                while (end < chars.length() && Characters.isSpace(chars.codePointAt(end))) {
                    end++;
                }
            }
            if (done < start) {
                parts.add(new Part(text.slice(done, start), null));
            }
            if (start < end) {
                parts.add(new Part(text.slice(start, end), token));
            }
            done = end;
        }
        if (done < chars.length()) {
            parts.add(new Part(text.slice(done, chars.length()), null));
        }
        return parts;
    }

    private static boolean standsAlone(String chars, int start, int end) {
        return (start == 0 || !Characters.isWord(chars.codePointBefore(start)))
                && (end == chars.length() || !Characters.isWord(chars.codePointAt(end)));
    }
}

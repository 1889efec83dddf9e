package stormsight.tokenizer;

/**
 * SigLIP's text clean-up around a SentencePiece model, step by step as transformers' SiglipTokenizer has it: the text
 * in lower case, without ASCII's punctuation and with single spaces, then the model. Special tokens are cut out before.
 *
 * <p>The model puts the sign of a space in front of all that it is given. So that a part after a special token gets
 * none, each part is given behind the spelling of the unknown token, whose tokens are then dropped.
 */
record SiglipCutter(AddedTokens special, Normalizer normalizer, Unigram model, int droppedTokens, int spaceId)
        implements Cutter {
    static final String UNKNOWN = "<unk>";

    private static final String SPACE = "\u2581";

    SiglipCutter(AddedTokens special, Normalizer normalizer, Unigram model, Vocabulary vocabulary) {
        this(special, normalizer, model, tokens(AlignedText.of(UNKNOWN), normalizer, model).size(),
                vocabulary.id(SPACE));
    }

    @Override
    public Tokens cut(String text) {
        Tokens tokens = new Tokens();
        boolean lonelySpace = false;
        AlignedText spaced = AlignedText.of(text).with(text.replace(SPACE, " "));
        // An empty text has no place to stand for.
        AlignedText whole = spaced.isEmpty() ? spaced : Normalizer.prepend(spaced, SPACE);
        for (AddedTokens.Part part : special.split(whole)) {
            if (part.token() != null) {
                // The sign that stands in front of the text stands for nothing where a special token follows.
                lonelySpace |= tokens.size() == 1 && tokens.id(0) == spaceId;
                tokens.add(part.token().id(), part.text(), 0, part.text().length());
                continue;
            }
            AlignedText clean = clean(part.text());
            if (!clean.isEmpty()) {
                Tokens cut = tokens(Normalizer.prepend(clean, UNKNOWN), normalizer, model);
                tokens.addAll(cut, cut.size() >= droppedTokens ? droppedTokens : 0);
            }
        }
        if (!lonelySpace) {
            return tokens;
        }
        Tokens rest = new Tokens();
        rest.addAll(tokens, 1);
        return rest;
    }

    private static Tokens tokens(AlignedText text, Normalizer normalizer, Unigram model) {
        Tokens tokens = new Tokens();
        AlignedText normalized = normalizer.apply(text);
        if (!normalized.isEmpty()) {
            model.tokenize(normalized, tokens);
        }
        return tokens;
    }

    private static AlignedText clean(AlignedText text) {
        AlignedText lowered = new Normalizer.Lowercase().apply(text.with(withFinalSigmas(text.text())));
        AlignedText.Builder result = new AlignedText.Builder(lowered);
        int space = -1;
        boolean begun = false;
        for (int i = 0; i < lowered.length(); i++) {
            char c = lowered.text().charAt(i);
            if (Characters.isPythonSpace(c)) {
                space = i;
            } else if (!isPunctuation(c)) {
                if (begun && space >= 0) {
                    result.append(" ", space, space + 1);
                }
                result.keep(i, i + 1);
                space = -1;
                begun = true;
            }
        }
        return result.build();
    }

    /**
     * The text with the small sigma of a word's end where a capital one ends a word, which lower-casing character by
     * character misses. As in Unicode's Final_Sigma and Python; String.toLowerCase looks no further than to the next
     * boundary of a word, which is not the same.
     */
    static String withFinalSigmas(String text) {
        char[] chars = text.toCharArray();
        for (int i = 0; i < chars.length; i++) {
            if (chars[i] == '\u03a3') {
                int left = i;
                while (left > 0 && Characters.isCaseIgnorable(text.codePointBefore(left))) {
                    left -= Character.charCount(text.codePointBefore(left));
                }
                int right = i + 1;
                while (right < chars.length && Characters.isCaseIgnorable(text.codePointAt(right))) {
                    right += Character.charCount(text.codePointAt(right));
                }
                boolean ends = left > 0 && Characters.isCased(text.codePointBefore(left))
                        && (right == chars.length || !Characters.isCased(text.codePointAt(right)));
                chars[i] = ends ? '\u03c2' : chars[i];
            }
        }
        return new String(chars);
    }

    private static boolean isPunctuation(char c) {
        return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z');
    }
}

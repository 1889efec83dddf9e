package stormsight.tokenizer;

/**
 * BERT's model: the longest token that a word begins with, then the longest of those with a prefix that the rest begins
 * with, and so on; a word with a rest that no token begins is unknown as a whole.
 *
 * @param prefix of tokens within a word, "##"
 * @param mostCharacters longer words are unknown
 * @see <a href="https://arxiv.org/abs/1609.08144">Wu and others: Google's Neural Machine Translation System</a>
 */
record WordPiece(Vocabulary vocabulary, String prefix, int unknown, int mostCharacters) implements Model {
    /** Real ones have 100; a word takes time in proportion to the cube of it. */
    static final int MOST_CHARACTERS = 200;

    @Override
    public void tokenize(AlignedText text, Tokens tokens) {
        String word = text.text();
        if (word.codePointCount(0, word.length()) > mostCharacters) {
            tokens.add(unknown, text, 0, word.length());
            return;
        }
        char[] chars = (prefix + word).toCharArray();
        int shift = prefix.length();
        int[] ids = new int[word.length()];
        int[] ends = new int[word.length()];
        int count = 0;
        for (int start = 0; start < word.length(); start = ends[count++]) {
            int from = start == 0 ? shift : start;
            if (start > 0) {
                prefix.getChars(0, shift, chars, start);
            }
            int end = word.length();
            int id = vocabulary.id(chars, from, shift + end);
            while (id < 0 && end > start) {
                end -= Character.charCount(word.codePointBefore(end));
                id = end == start ? -1 : vocabulary.id(chars, from, shift + end);
            }
            if (id < 0) {
                tokens.add(unknown, text, 0, word.length());
                return;
            }
            ids[count] = id;
            ends[count] = end;
        }
        for (int i = 0; i < count; i++) {
            tokens.add(ids[i], text, i == 0 ? 0 : ends[i - 1], ends[i]);
        }
    }
}

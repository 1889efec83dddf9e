package stormsight.tokenizer;

/** What cuts a piece of normalized text into tokens. */
sealed interface Model permits Bpe, Unigram, WordPiece {
    /** @param text not empty */
    void tokenize(AlignedText text, Tokens tokens);

    /** The ids of {@code <0x00>} to {@code <0xFF>}, -1 where a vocabulary has none. */
    static int[] byteIds(Vocabulary vocabulary) {
        int[] ids = new int[256];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = vocabulary.id("<0x%02X>".formatted(i));
        }
        return ids;
    }

    /** The ids of the bytes of a spelling, or null if the vocabulary lacks one of them. */
    static int[] bytesOf(String spelled, int[] byteIds) {
        byte[] bytes = spelled.getBytes(java.nio.charset.StandardCharsets.UTF_8);
        int[] ids = new int[bytes.length];
        for (int i = 0; i < bytes.length; i++) {
            ids[i] = byteIds[bytes[i] & 0xff];
            if (ids[i] < 0) {
                return null;
            }
        }
        return ids;
    }
}

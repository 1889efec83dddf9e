package stormsight.tokenizer;

import java.util.Arrays;

/**
 * The segmentation of the highest total score (Viterbi); characters that no token covers are unknown, and a run of them
 * is one token. A text of n characters takes O(n * longest token).
 *
 * @see <a href="https://arxiv.org/abs/1804.10959">Kudo: Subword Regularization</a>
 */
final class Unigram implements Model {
    /** Real ones have 16 characters; SentencePiece itself stops there unless told otherwise. */
    static final int LONGEST_TOKEN = 1000;

    /** What an unknown character costs beyond the least likely token, in SentencePiece as in the tokenizers library. */
    private static final double UNKNOWN_PENALTY = 10;

    /**
     * @param unknown the id of characters that no token covers
     * @param lowest the lowest score of an ordinary token
     * @param byteFallback an unknown run becomes tokens of its bytes
     * @param singlePrecision scores of paths are rounded to 32 bits, as in SentencePiece; the tokenizers library has 64
     */
    record Options(int unknown, double lowest, boolean byteFallback, boolean singlePrecision) {}

    private final Vocabulary vocabulary;
    private final double[] scores;
    private final Options options;
    private final double unknownScore;
    private final int[] byteIds;
    private final Trie trie = new Trie();

    /** @param scores by id; not a number for a token that no text is cut into */
    Unigram(Vocabulary vocabulary, double[] scores, Options options) {
        this.vocabulary = vocabulary;
        this.scores = scores;
        this.options = options;
        unknownScore = rounded(options.lowest - UNKNOWN_PENALTY);
        byteIds = options.byteFallback ? Model.byteIds(vocabulary) : null;
        for (int id = 0; id < scores.length; id++) {
            if (!Double.isNaN(scores[id])) {
                trie.put(vocabulary.token(id), id);
            }
        }
    }

    private double rounded(double score) {
        return options.singlePrecision ? (float) score : score;
    }

    @Override
    public void tokenize(AlignedText text, Tokens tokens) {
        int length = text.length();
        Paths paths = new Paths(length);
        for (int start = 0; start < length;) {
            int single = start + Character.charCount(text.text().codePointAt(start));
            boolean covered = false;
            int node = 0;
            for (int end = start; end < length;) {
                node = trie.child(node, text.text().charAt(end++));
                if (node < 0) {
                    break;
                }
                int id = trie.value(node);
                if (id >= 0) {
                    paths.offer(start, end, id, scores[id] + paths.score[start]);
                    covered |= end == single;
                }
            }
            if (!covered) {
                paths.offer(start, single, options.unknown, unknownScore + paths.score[start]);
            }
            start = single;
        }
        int[] ends = new int[length];
        int count = 0;
        for (int end = length; end > 0; end = paths.start[end]) {
            ends[count++] = end;
        }
        int start = 0;
        while (count > 0) {
            int end = ends[--count];
            int id = paths.id[end];
            if (id == options.unknown) {
                while (count > 0 && paths.id[ends[count - 1]] == id) {
                    end = ends[--count];
                }
                unknown(text, start, end, tokens);
            } else {
                tokens.add(id, text, start, end);
            }
            start = end;
        }
    }

    private void unknown(AlignedText text, int start, int end, Tokens tokens) {
        String run = text.text().substring(start, end);
        int id = vocabulary.id(run);
        int[] bytes = id < 0 && options.byteFallback ? Model.bytesOf(run, byteIds) : null;
        if (bytes == null) {
            tokens.add(id < 0 ? options.unknown : id, text, start, end);
            return;
        }
        int next = 0;
        for (int at = start; at < end;) {
            int point = text.text().codePointAt(at);
            int after = at + Character.charCount(point);
            int last = next + (point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4);
            while (next < last) {
                tokens.add(bytes[next++], text, at, after);
            }
            at = after;
        }
    }

    /** The best path to each place of a text. */
    private final class Paths {
        final double[] score;

        /** Where the last token of the path begins, or -1 where no path leads. */
        final int[] start;

        final int[] id;

        Paths(int length) {
            score = new double[length + 1];
            start = new int[length + 1];
            id = new int[length + 1];
            Arrays.fill(start, -1);
        }

        void offer(int from, int end, int token, double total) {
            if (start[end] < 0 || total > score[end]) {
                score[end] = rounded(total);
                start[end] = from;
                id[end] = token;
            }
        }
    }
}

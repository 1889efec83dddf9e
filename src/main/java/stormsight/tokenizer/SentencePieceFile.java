package stormsight.tokenizer;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import stormsight.checkpoint.CheckpointException;

/**
 * Reads SigLIP's spiece.model: a unigram model of SentencePiece with the table that normalizes texts.
 *
 * @see <a
 *     href="https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto">the format</a>
 */
final class SentencePieceFile {
    private static final int UNIGRAM = 1;

    private static final int NORMAL = 1;
    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int USER_DEFINED = 4;
    private static final int UNUSED = 5;
    private static final int BYTE = 6;

    private static final String END = "</s>";

    private record Piece(String text, float score, int type) {}

    private final Path file;
    private final List<Piece> pieces = new ArrayList<>();
    private boolean byteFallback;
    private boolean spaceAsSuffix;
    private byte[] charsmap = {};
    private boolean dummyPrefix = true;
    private boolean singleSpaces = true;
    private boolean escapeSpaces = true;

    private SentencePieceFile(Path file) {
        this.file = file;
    }

    /** @throws CheckpointException if the file is broken or is another kind of model */
    static TokenizerFile.Parts read(Path file, byte[] content) {
        SentencePieceFile reader = new SentencePieceFile(file);
        try {
            reader.read(new Protobuf(content));
            return reader.parts();
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file, "not a usable SentencePiece model: " + e.getMessage(), e);
        }
    }

    private void read(Protobuf in) {
        while (in.next()) {
            switch (in.field()) {
                case 1 -> pieces.add(piece(in.message()));
                case 2 -> readTrainer(in.message());
                case 3 -> readNormalizer(in.message());
                default -> { }
            }
        }
    }

    private static Piece piece(Protobuf in) {
        String text = "";
        float score = 0;
        long type = NORMAL;
        while (in.next()) {
            switch (in.field()) {
                case 1 -> text = in.text();
                case 2 -> score = in.real();
                case 3 -> type = in.number();
                default -> { }
            }
        }
        if (text.isEmpty() || text.length() > Unigram.LONGEST_TOKEN) {
            throw new IllegalArgumentException(text.isEmpty() ? "an empty piece" : "a piece is too long");
        }
        if (!Float.isFinite(score) || type < NORMAL || type > BYTE) {
            throw new IllegalArgumentException("the piece " + Vocabulary.quoted(text) + " has the score " + score
                    + " and the type " + Long.toUnsignedString(type));
        }
        return new Piece(text, score, (int) type);
    }

    private void readTrainer(Protobuf in) {
        while (in.next()) {
            switch (in.field()) {
                case 3 -> {
                    if (in.number() != UNIGRAM) {
                        throw new IllegalArgumentException("model_type is " + Long.toUnsignedString(in.number())
                                + ", only unigram models (1) are supported");
                    }
                }
                case 24 -> spaceAsSuffix = in.flag();
                case 35 -> byteFallback = in.flag();
                default -> { }
            }
        }
    }

    private void readNormalizer(Protobuf in) {
        while (in.next()) {
            switch (in.field()) {
                case 2 -> charsmap = in.bytes();
                case 3 -> dummyPrefix = in.flag();
                case 4 -> singleSpaces = in.flag();
                case 5 -> escapeSpaces = in.flag();
                default -> { }
            }
        }
    }

    private TokenizerFile.Parts parts() {
        if (pieces.isEmpty() || pieces.size() > Vocabulary.MOST_IDS) {
            throw new IllegalArgumentException(pieces.size() + " pieces");
        }
        if (spaceAsSuffix) {
            throw new IllegalArgumentException("treat_whitespace_as_suffix is not supported");
        }
        Vocabulary.Builder builder = new Vocabulary.Builder();
        int unknown = -1;
        float lowest = Float.MAX_VALUE;
        float highest = -Float.MAX_VALUE;
        for (int id = 0; id < pieces.size(); id++) {
            Piece piece = pieces.get(id);
            builder.add(piece.text, id);
            if (piece.type == UNKNOWN) {
                if (unknown >= 0) {
                    throw new IllegalArgumentException("two unknown pieces");
                }
                unknown = id;
            } else if (piece.type == NORMAL) {
                lowest = Math.min(lowest, piece.score);
                highest = Math.max(highest, piece.score);
            }
        }
        Vocabulary vocabulary = builder.build();
        if (unknown < 0 || !pieces.get(unknown).text.equals(SiglipCutter.UNKNOWN) || vocabulary.id(END) < 0
                || lowest > highest) {
            throw new IllegalArgumentException("no pieces, no " + SiglipCutter.UNKNOWN + " or no " + END);
        }
        double[] scores = new double[pieces.size()];
        Trie userDefined = new Trie();
        Set<String> controls = new HashSet<>();
        for (int id = 0; id < scores.length; id++) {
            Piece piece = pieces.get(id);
            scores[id] = switch (piece.type) {
                case NORMAL -> piece.score;
                // Such that it is always chosen.
                case USER_DEFINED -> bytes(piece.text) * highest - 0.1;
                default -> Double.NaN;
            };
            if (piece.type == USER_DEFINED) {
                userDefined.put(piece.text, id);
            } else if (piece.type == CONTROL) {
                controls.add(piece.text);
            }
        }
        Unigram model = new Unigram(vocabulary, scores, new Unigram.Options(unknown, lowest, byteFallback, true));
        Normalizer normalizer = new Normalizer.SentencePiece(charsmap.length == 0 ? null : new Charsmap(charsmap),
                userDefined, dummyPrefix, singleSpaces, escapeSpaces);
        int end = vocabulary.id(END);
        List<AddedTokens.Added> special = List.of(
                new AddedTokens.Added(end, END, false, false, true, true, true),
                new AddedTokens.Added(unknown, SiglipCutter.UNKNOWN, false, false, true, true, true));
        AddedTokens added = new AddedTokens(special, null);
        return new TokenizerFile.Parts(vocabulary, added, new SiglipCutter(added, normalizer, model, vocabulary),
                new Decoder.SentencePiece(Set.of(END, SiglipCutter.UNKNOWN), controls),
                new PostProcessor(new int[0], new int[] {end}, true));
    }

    private static int bytes(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8).length;
    }
}

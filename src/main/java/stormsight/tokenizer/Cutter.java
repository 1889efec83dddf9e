package stormsight.tokenizer;

import java.util.List;

/** What cuts a whole text into tokens, without any that steer the model but for those that the text spells. */
sealed interface Cutter permits Cutter.Pipeline, SiglipCutter {
    Tokens cut(String text);

    /**
     * The way of a tokenizer.json: added tokens, then a normalizer, a pre-tokenizer and a model for what is between
     * them.
     */
    record Pipeline(AddedTokens added, PreTokenizer preTokenizer, Model model) implements Cutter {
        @Override
        public Tokens cut(String text) {
            Tokens tokens = new Tokens();
            for (AddedTokens.Part part : added.split(AlignedText.of(text))) {
                if (part.token() != null) {
                    tokens.add(part.token().id(), part.text(), 0, part.text().length());
                } else {
                    List<AlignedText> pieces =
                            preTokenizer == null ? List.of(part.text()) : preTokenizer.apply(part.text());
                    pieces.forEach(piece -> model.tokenize(piece, tokens));
                }
            }
            return tokens;
        }

        /** The same for texts that are lower-cased before all else is done to them. */
        Pipeline lowerCasing() {
            return new Pipeline(added.lowerCasing(), preTokenizer, model);
        }
    }
}

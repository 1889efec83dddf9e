package stormsight.model;

import java.util.Map;

/** A size of a family, with the files that describe it: what a checkpoint of random weights is made from. */
public interface Preset {
    /** As users name it: {@code paligemma2-10b-448}. */
    String name();

    /**
     * Files of JSON in the published layout, by name: config.json first, preprocessor_config.json, tokenizer.json.
     * Weights are not among them: {@code synthesize} makes those that the model asks for.
     *
     * @param dtype as files name it: {@code bfloat16}
     */
    Map<String, Map<String, Object>> files(String dtype);
}

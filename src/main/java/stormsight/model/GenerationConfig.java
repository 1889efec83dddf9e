package stormsight.model;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import stormsight.checkpoint.ConfigFile;
import stormsight.checkpoint.Strictness;

/** generation_config.json beyond the end of an answer, which families read. */
final class GenerationConfig {
    /** Settings that change what generate of transformers answers, with the number of each that changes nothing. */
    private static final Map<String, Integer> CHANGING = changing();

    private static final String SAMPLING = "do_sample";

    /** What only counts where tokens are drawn: some checkpoints have them left over. */
    private static final Map<String, Integer> OF_SAMPLING =
            Map.of("temperature", 1, "top_p", 1, "top_k", 0, "min_p", 0, "typical_p", 1);

    private GenerationConfig() {}

    private static Map<String, Integer> changing() {
        Map<String, Integer> neutral = new LinkedHashMap<>();
        for (String ids : List.of("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "sequence_bias",
                "force_words_ids", "stop_strings", "exponential_decay_length_penalty", "watermarking_config")) {
            neutral.put(ids, 0);
        }
        // Any id is one, 0 too.
        neutral.put("forced_bos_token_id", -1);
        neutral.put("forced_eos_token_id", -1);
        for (String length : List.of("min_new_tokens", "min_length", "no_repeat_ngram_size",
                "encoder_no_repeat_ngram_size", "diversity_penalty", "penalty_alpha")) {
            neutral.put(length, 0);
        }
        for (String factor : List.of("repetition_penalty", "encoder_repetition_penalty", "guidance_scale",
                "num_beams")) {
            neutral.put(factor, 1);
        }
        return neutral;
    }

    /**
     * Tells of the settings that are not used here.
     *
     * @throws stormsight.checkpoint.CheckpointException if the file is broken, or odd things are refused
     */
    static void check(Path directory, Strictness strictness) {
        Optional<ConfigFile> present = ConfigFile.readIfPresent(directory.resolve("generation_config.json"));
        if (present.isEmpty()) {
            return;
        }
        ConfigFile file = present.get();
        Stream<String> sampling = file.says(SAMPLING, 0)
                ? Stream.concat(Stream.of(SAMPLING), OF_SAMPLING.keySet().stream().sorted()
                        .filter(key -> file.says(key, OF_SAMPLING.get(key))))
                : Stream.empty();
        List<String> unused = Stream.concat(
                        CHANGING.keySet().stream().filter(key -> file.says(key, CHANGING.get(key))), sampling)
                .toList();
        if (!unused.isEmpty()) {
            strictness.odd(
                    file.file(),
                    String.join(", ", unused) + (unused.size() == 1 ? " is" : " are")
                            + " not used: answers are as the options of the command say, and may differ from those of "
                            + "transformers");
        }
    }
}

package stormsight.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.Goldens;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.Strictness;
import stormsight.model.family.Families;

/** Settings of generation_config.json that change the answers of transformers and are not used here are named. */
class GenerationConfigTest {
    @TempDir
    private Path folder;

    @BeforeEach
    void copy() throws IOException {
        Goldens.copy("paligemma-mqa", folder);
    }

    private void open(String settings) throws IOException {
        Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": 1, " + settings + "}");
        Families.openForIds(folder, Strictness.STRICT).close();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "\"suppress_tokens\": [5] | suppress_tokens is",
        "\"begin_suppress_tokens\": [5] | begin_suppress_tokens is",
        "\"bad_words_ids\": [[5]] | bad_words_ids is",
        "\"sequence_bias\": [[[5], 2.0]] | sequence_bias is",
        "\"stop_strings\": \".\" | stop_strings is",
        "\"forced_bos_token_id\": 0 | forced_bos_token_id is",
        "\"forced_eos_token_id\": [1] | forced_eos_token_id is",
        "\"min_new_tokens\": 3 | min_new_tokens is",
        "\"min_length\": 3 | min_length is",
        "\"no_repeat_ngram_size\": 2 | no_repeat_ngram_size is",
        "\"repetition_penalty\": 1.5, \"num_beams\": 4 | repetition_penalty, num_beams are",
        "\"do_sample\": true, \"top_p\": 0.6, \"temperature\": 0.9 | do_sample, temperature, top_p are"})
    void namesWhatIsNotUsed(String settings, String named) {
        CheckpointException e = assertThrows(CheckpointException.class, () -> open(settings));
        assertEquals(
                folder.resolve("generation_config.json") + ": " + named + " not used: answers are as the options of "
                        + "the command say, and may differ from those of transformers",
                e.getMessage());
    }

    /** Defaults, and what a checkpoint of Vicuna left over for LLaVA. */
    @Test
    void saysNothingOfWhatChangesNothing() throws IOException {
        open("\"suppress_tokens\": null, \"bad_words_ids\": [], \"sequence_bias\": {}, \"min_length\": 0, "
                + "\"repetition_penalty\": 1.0, \"num_beams\": 1, \"forced_bos_token_id\": null, \"do_sample\": false, "
                + "\"temperature\": 0.9, \"top_p\": 0.6, \"top_k\": 50, \"max_length\": 4096, \"pad_token_id\": 0, "
                + "\"cache_implementation\": \"hybrid\", \"transformers_version\": \"4.31.0\"");
    }
}

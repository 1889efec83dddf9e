package stormsight.model.paligemma;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.ConfigFile;
import stormsight.model.Options;
import stormsight.model.nn.Decoder;
import stormsight.model.nn.GemmaConfig;
import stormsight.program.Op.Heads;

/** What config.json may leave out, switch off, or not ask for. */
class PaliGemmaConfigTest {
    @TempDir
    private Path directory;

    private PaliGemmaConfig read(String text, String vision) {
        try {
            Files.writeString(directory.resolve("config.json"), """
                    {"model_type": "paligemma", "image_token_index": 257152, "vocab_size": 257152,
                     "text_config": {"vocab_size": 257216%s}, "vision_config": {"patch_size": 14%s}}
                    """.formatted(text, vision));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
        return PaliGemmaConfig.read(directory, ConfigFile.read(directory.resolve("config.json")));
    }

    /** The sizes of another tower would be taken, and hundreds of weights called missing. */
    @Test
    void aMissingVisionConfigIsNamed() throws IOException {
        Path file = Files.writeString(directory.resolve("config.json"), """
                {"model_type": "paligemma", "text_config": {"hidden_size": 8}}""");
        String message = assertThrows(
                        CheckpointException.class, () -> PaliGemmaConfig.read(directory, ConfigFile.read(file)))
                .getMessage();
        assertTrue(message.startsWith(file + ": vision_config: missing: it tells how large"), message);
    }

    @Test
    void paliGemma1TakesTheDefaultsOfTransformers() {
        PaliGemmaConfig config = read("""
                , "model_type": "gemma", "hidden_size": 2048, "num_attention_heads": 8, "num_key_value_heads": 1""", "");
        GemmaConfig text = config.text();
        assertEquals(new Heads(8, 1, 256), text.heads());
        assertEquals(1f / 16, text.queryScale());
        assertEquals(1e-6f, text.rmsNormEpsilon());
        assertEquals(10000, text.rotation().theta());
        assertEquals(8192, text.maxPositions());
        assertEquals(257216, text.vocabularySize());
        assertTrue(text.tied());
        assertEquals(0, text.attentionSoftCap());
        assertEquals(256, config.vision().patches());
        assertEquals(Set.of(1), config.endIds());
        assertEquals("PaliGemma 1, 224 px", config.family());
    }

    @Test
    void paliGemma2TakesTheDefaultsOfTransformers() {
        GemmaConfig text = read(", \"model_type\": \"gemma2\"", "").text();
        assertEquals(new Heads(8, 4, 256), text.heads());
        assertEquals(2304, text.hiddenSize());
        assertEquals(1f / 16, text.queryScale());
        assertEquals(50, text.attentionSoftCap());
        assertEquals(30, text.finalSoftCap());
        assertEquals(List.of(4096, 0), text.windows());
    }

    @Test
    void nullSwitchesSoftCapsAndWindowOff() {
        GemmaConfig text = read("""
                , "model_type": "gemma2", "attn_logit_softcapping": null, "final_logit_softcapping": null, "sliding_window": null,
                "hidden_activation": null, "rope_scaling": null""", "").text();
        assertEquals(0, text.attentionSoftCap());
        assertEquals(0, text.finalSoftCap());
        assertEquals(List.of(0), text.windows());
    }

    @Test
    void eachLayerHasTheWindowThatLayerTypesSay() {
        GemmaConfig text = read("""
                , "model_type": "gemma2", "num_hidden_layers": 3, "sliding_window": 512,
                "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]""", "").text();
        assertEquals(List.of(0, 512, 512), text.windows());
        Decoder.Group group = text.decoder(Options.DEFAULT.withSlidingWindow(true)).groups().getFirst();
        assertEquals(3, group.count());
        assertEquals(
                List.of(0, 512, 512),
                group.layers().stream().map(layer -> layer.attention().window()).toList());
    }

    @Test
    void ropeParametersOfTransformers5AreRead() {
        GemmaConfig text = read(
                        ", \"rope_theta\": 7, \"rope_parameters\": {\"rope_theta\": 5000.0, \"rope_type\": "
                                + "\"default\"}",
                        "")
                .text();
        assertEquals(5000, text.rotation().theta());
    }

    /** Where hidden_activation is not there; the first files have gelu for what is tanh-GELU. */
    @ParameterizedTest
    @ValueSource(strings = {
        "\"hidden_act\": null", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"gelu_pytorch_tanh\"",
        "\"hidden_act\": \"silu\", \"hidden_activation\": \"gelu_pytorch_tanh\""})
    void takesActivationsThatMeanTanh(String entry) {
        read(", " + entry, "");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "\"hidden_activation\": \"gelu\"",
                "\"hidden_activation\": \"silu\"",
                "\"hidden_act\": \"silu\"",
                "\"hidden_activation\": null, \"hidden_act\": \"relu\"",
                "\"model_type\": \"llama\"",
                "\"attention_bias\": true",
                "\"head_dim\": 7",
                "\"num_key_value_heads\": 3",
                "\"num_attention_heads\": 1073741824",
                "\"rms_norm_eps\": -1",
                "\"rope_theta\": 0",
                "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 8.0}",
                "\"rope_parameters\": {\"rope_type\": \"yarn\"}",
                "\"model_type\": \"gemma2\", \"query_pre_attn_scalar\": 0",
                "\"model_type\": \"gemma2\", \"attn_logit_softcapping\": -50",
                "\"model_type\": \"gemma2\", \"sliding_window\": 0",
                "\"model_type\": \"gemma2\", \"layer_types\": [\"full_attention\"]",
                "\"model_type\": \"gemma2\", \"num_hidden_layers\": 1, \"layer_types\": [\"chunked_attention\"]"
            })
    void refusesDecodersThatItWouldComputeWrongly(String entry) {
        assertRefused(", " + entry, "");
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "\"hidden_act\": \"tanh\"", "\"model_type\": \"clip_vision_model\"", "\"num_channels\": 1",
        "\"image_size\": 13", "\"image_size\": 2147483647", "\"num_attention_heads\": 5", "\"layer_norm_eps\": 0"})
    void refusesTowersThatItWouldComputeWrongly(String entry) {
        assertRefused("", ", " + entry);
    }

    @ParameterizedTest
    @CsvSource({"448, 1024", "896, 4096", "230, 256"})
    void tokensFollowFromTheResolution(int imageSize, int tokens) {
        assertEquals(tokens, read("", ", \"image_size\": " + imageSize).vision().patches());
    }

    private void assertRefused(String text, String vision) {
        CheckpointException e = assertThrows(CheckpointException.class, () -> read(text, vision));
        assertTrue(e.getMessage().contains("config.json: "), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }
}

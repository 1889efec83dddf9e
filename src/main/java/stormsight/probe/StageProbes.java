package stormsight.probe;

import stormsight.model.PaliGemma;
import stormsight.program.Program;

/**
 * Probes at the stages of a model: outputs that hold what each stage made.
 *
 * @param embeddings decoder's input, [promptTokens, hiddenSize]
 * @param decoderLayers the residual stream after each layer
 * @param finalNorm of the last row, or of every row if the model computes logits for all
 */
public record StageProbes(Probes.Probed visionEmbeddings, Probes.Probed visionLayers, Probes.Probed visionPostLayernorm,
        Probes.Probed projector, Probes.Probed embeddings, Probes.Probed decoderLayers, Probes.Probed finalNorm) {
    public static StageProbes of(PaliGemma model) {
        Probes.Probed visionEmbeddings = copy(model.encode(), model.visionEmbeddings(), "stage.vision.embeddings");
        Probes.Probed visionLayers = copy(visionEmbeddings.program(), model.visionLayers(), "stage.vision.layers");
        Probes.Probed visionPostLayernorm =
                copy(visionLayers.program(), model.visionPostLayernorm(), "stage.vision.post_layernorm");
        Probes.Probed projector = copy(visionPostLayernorm.program(), model.projector(), "stage.vision.projector");
        Probes.Probed embeddings = copy(model.prefill(), model.decoderEmbeddings(), "stage.decoder.embeddings");
        Probes.Probed decoderLayers = copy(embeddings.program(), model.decoderLayers(), "stage.decoder.layers");
        Probes.Probed finalNorm = copy(decoderLayers.program(), model.finalNorm(), "stage.decoder.final_norm");
        return new StageProbes(visionEmbeddings, visionLayers, visionPostLayernorm, projector, embeddings, decoderLayers, finalNorm);
    }

    private static Probes.Probed copy(Program program, PaliGemma.Stage stage, String name) {
        return Probes.copy(program, stage.segment(), stage.result(), name);
    }

    /** Encode with all of its probes. */
    public Program encode() {
        return projector.program();
    }

    /** Prefill with all of its probes. */
    public Program prefill() {
        return finalNorm.program();
    }
}

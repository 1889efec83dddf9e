package stormsight.probe;

import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import stormsight.model.Description;
import stormsight.model.Options.PromptRows;
import stormsight.model.Passes;
import stormsight.model.Stage;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Tensor;

/**
 * Keeps what a vision tower makes of an image step by step: the rows that its first layer reads, those that each layer
 * leaves, and what the row that stands for the whole image gives to each patch: the class token in each layer, or the
 * query of a pooling head. Of several views the first is kept.
 */
public final class TowerProbe implements Probe {
    private static final String NAME = "tower.";

    private final Description.Vision vision;
    private Tensor embeddings;
    private Tensor layers;
    private Optional<Tensor> classToken = Optional.empty();
    private Optional<Tensor> pooling = Optional.empty();
    private Optional<TowerReading> reading = Optional.empty();

    public TowerProbe(Description.Vision vision) {
        this.vision = vision;
    }

    @Override
    public PromptRows promptRows() {
        return PromptRows.LAST;
    }

    @Override
    public Program add(Pass pass, Program program, Passes passes) {
        return pass == Pass.ENCODE ? add(program, passes.encodeStages()) : program;
    }

    /** A program of an image that keeps what {@link #reading} needs. */
    public Program add(Program program, List<Stage> stages) {
        Stage read = Stage.of(stages, Stage.VISION_EMBEDDINGS);
        Probes.Probed first = Probes.copy(program, read.segment(), read.result(), NAME + "embeddings");
        embeddings = first.output();
        Stage each = Stage.of(stages, Stage.VISION_LAYERS);
        Probes.Probed states = Probes.copy(first.program(), each.segment(), each.result(), NAME + "layers");
        layers = states.output();
        Program rewritten = states.program();
        if (vision.hasClassToken()) {
            Op.Part row = new Op.Part(
                    Probes.layers(rewritten, each.segment()),
                    Probes.heads(rewritten, each.segment()),
                    0,
                    vision.firstPatch());
            Probes.Probed kept = keep(rewritten, each.segment(), row, NAME + "class_token");
            classToken = Optional.of(kept.output());
            rewritten = kept.program();
        }
        Optional<Stage> pooled = Stage.find(stages, Stage.POOLED)
                .filter(stage -> Probes.hasAttention(program, stage.segment()));
        if (pooled.isPresent()) {
            String head = pooled.get().segment();
            Op.Part row = new Op.Part(List.of(0), Probes.heads(rewritten, head), 0, vision.firstPatch());
            Probes.Probed kept = keep(rewritten, head, row, NAME + "pooling");
            pooling = Optional.of(kept.output());
            rewritten = kept.program();
        }
        return rewritten;
    }

    private Probes.Probed keep(Program program, String segment, Op.Part row, String name) {
        return Probes.attentionWeights(program, segment, row, false, Op.Kept.EACH, 1, vision.patches(), name);
    }

    @Override
    public void read(Pass pass, Outputs outputs) {
        if (pass == Pass.ENCODE && reading.isEmpty()) {
            reading = Optional.of(reading(outputs::read));
        }
    }

    /** What the first view that was encoded left. */
    public TowerReading reading() {
        return reading.orElseThrow(() -> new IllegalStateException("no image was encoded"));
    }

    /** What the last run left. */
    public TowerReading reading(Function<Tensor, float[]> outputs) {
        float[] first = outputs.apply(embeddings);
        return new TowerReading(
                vision,
                embeddings.columns(),
                first,
                norms(first, outputs.apply(layers), embeddings.columns()),
                classToken.map(outputs),
                pooling.map(outputs));
    }

    /** Lengths of rows, those of the embeddings first. */
    private static float[] norms(float[] first, float[] later, int width) {
        int before = first.length / width;
        float[] norms = new float[before + later.length / width];
        IntStream.range(0, norms.length).parallel().forEach(row -> {
            float[] from = row < before ? first : later;
            int start = (row < before ? row : row - before) * width;
            double squares = 0;
            for (int i = start; i < start + width; i++) {
                squares += (double) from[i] * from[i];
            }
            norms[row] = (float) Math.sqrt(squares);
        });
        return norms;
    }
}

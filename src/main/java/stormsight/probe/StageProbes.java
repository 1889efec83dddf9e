package stormsight.probe;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import stormsight.model.Passes;
import stormsight.model.Stage;
import stormsight.program.Program;
import stormsight.program.Tensor;

/** Keeps what each stage of encode and prefill makes. */
public final class StageProbes implements Probe {
    private final Map<Stage, Tensor> encode = new LinkedHashMap<>();
    private final Map<Stage, Tensor> prefill = new LinkedHashMap<>();

    @Override
    public Program add(Pass pass, Program program, Passes passes) {
        return switch (pass) {
            case ENCODE -> add(program, passes.encodeStages(), encode);
            case PREFILL -> add(program, passes.prefillStages(), prefill);
            case DECODE -> program;
        };
    }

    /**
     * A program that keeps what some stages make.
     *
     * @param outputs takes an output for each stage
     */
    public static Program add(Program program, List<Stage> stages, Map<Stage, Tensor> outputs) {
        Program rewritten = program;
        for (Stage stage : stages) {
            Probes.Probed probed = Probes.copy(rewritten, stage.segment(), stage.result(), "stage." + stage.name());
            outputs.put(stage, probed.output());
            rewritten = probed.program();
        }
        return rewritten;
    }

    @Override
    public void read(Pass pass, Outputs outputs) {}

    /** What encode's stages made, in order: an output each. */
    public Map<Stage, Tensor> encode() {
        return encode;
    }

    /** What prefill's stages made, in order: an output each. */
    public Map<Stage, Tensor> prefill() {
        return prefill;
    }
}

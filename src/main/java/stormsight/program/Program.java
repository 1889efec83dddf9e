package stormsight.program;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/** What a model does in one pass, as a list of coarse operations. Executors run it; rewrites add probes to it. */
public record Program(String name, List<Segment> segments) {
    public Program {
        segments = List.copyOf(segments);
    }

    /** The program in which every segment is replaced by what the function makes of it. */
    public Program rewrite(Function<Segment, List<Segment>> segmentRewrite) {
        return new Program(name, segments.stream().flatMap(segment -> segmentRewrite.apply(segment).stream()).toList());
    }

    /** All tensors, each once, in order of first use. */
    public Set<Tensor> tensors() {
        Set<Tensor> tensors = new LinkedHashSet<>();
        for (Segment segment : segments) {
            for (Op op : segment.ops()) {
                tensors.addAll(op.tensors());
            }
        }
        return tensors;
    }
}

package stormsight.backend;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import stormsight.program.Op;

/**
 * A kernel that a backend would launch.
 *
 * @param times how often a run of the program launches it: once a layer if one launch is made for all layers of its
 *     segment
 * @param op operation that it is part of; empty for what a backend adds of its own
 * @param with further operations that the same kernel performs
 * @param geometry shape of the launch, or when it is launched and how it rounds, as the backend writes it
 * @param groupSize work items of a group; 0 where there are no groups
 * @param localBytes local memory of a group
 */
public record PlannedLaunch(String program, String segment, int times, Optional<Op> op, List<Op> with, String kernel,
        String geometry, int groupSize, int localBytes) {
    public PlannedLaunch {
        with = List.copyOf(with);
    }

    /** Of a backend that knows no groups, for one operation at most. */
    public PlannedLaunch(String program, String segment, int times, Optional<Op> op, String kernel, String geometry) {
        this(program, segment, times, op, List.of(), kernel, geometry, 0, 0);
    }

    /** All operations that it is a part of. */
    public List<Op> ops() {
        return Stream.concat(op.stream(), with.stream()).toList();
    }
}

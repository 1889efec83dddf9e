package stormsight.backend;

import java.util.Optional;
import stormsight.program.Op;

/**
 * A kernel that a backend would launch.
 *
 * @param times how often a run of the program launches it: once a layer if one launch is made for all layers of its
 *     segment
 * @param op operation that it is part of; empty for what a backend adds of its own
 * @param geometry shape of the launch, or when it is launched and how it rounds, as the backend writes it
 * @param groupSize work items of a group; 0 where there are no groups
 * @param localBytes local memory of a group
 */
public record PlannedLaunch(String program, String segment, int times, Optional<Op> op, String kernel,
        String geometry, int groupSize, int localBytes) {
    /** Of a backend that knows no groups. */
    public PlannedLaunch(String program, String segment, int times, Optional<Op> op, String kernel, String geometry) {
        this(program, segment, times, op, kernel, geometry, 0, 0);
    }
}

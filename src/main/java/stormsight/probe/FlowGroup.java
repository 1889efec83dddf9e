package stormsight.probe;

import java.util.List;
import java.util.stream.Collectors;

/** Flows that are compared in one figure. */
public record FlowGroup(String name, String title, List<Flow> flows) {
    /** The published groups, and one for models whose prompt sees itself. */
    public static final List<FlowGroup> PRESETS = List.of(
            new FlowGroup(
                    "to-last",
                    "What the last token reads",
                    List.of(Flow.QUESTION_TO_LAST, Flow.IMAGE_TO_LAST, Flow.LAST_TO_LAST)),
            new FlowGroup("question", "What the question reads of the image", List.of(Flow.IMAGE_TO_QUESTION)),
            new FlowGroup(
                    "patches",
                    "Which patches the question reads",
                    List.of(Flow.OBJECT_TO_QUESTION, Flow.OTHER_TO_QUESTION)),
            new FlowGroup(
                    "prefix",
                    "Image and question, one way and both ways",
                    List.of(Flow.IMAGE_TO_QUESTION, Flow.QUESTION_TO_IMAGE, Flow.BOTH_WAYS)));

    public FlowGroup {
        flows = List.copyOf(flows);
    }

    /** @throws IllegalArgumentException if no group has that name */
    public static FlowGroup preset(String name) {
        return PRESETS.stream()
                .filter(group -> group.name.equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no preset is named '" + name + "': there are "
                        + PRESETS.stream().map(FlowGroup::name).collect(Collectors.joining(", ")) + ", all"));
    }
}

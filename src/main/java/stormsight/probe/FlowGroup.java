package stormsight.probe;

import java.util.List;
import java.util.stream.Stream;

/** Flows that are compared in one figure. */
public record FlowGroup(String name, String title, List<Flow> flows) {
    private static final FlowGroup TO_LAST = new FlowGroup(
            "to-last",
            "What the last token reads",
            List.of(Flow.QUESTION_TO_LAST, Flow.IMAGE_TO_LAST, Flow.LAST_TO_LAST));
    private static final FlowGroup QUESTION =
            new FlowGroup("question", "What the question reads of the image", List.of(Flow.IMAGE_TO_QUESTION));
    private static final FlowGroup PATCHES = new FlowGroup(
            "patches", "Which patches the question reads", List.of(Flow.OBJECT_TO_QUESTION, Flow.OTHER_TO_QUESTION));
    private static final FlowGroup PREFIX = new FlowGroup(
            "prefix",
            "Image and question, one way and both ways",
            List.of(Flow.IMAGE_TO_QUESTION, Flow.QUESTION_TO_IMAGE, Flow.BOTH_WAYS));

    private static final String INFORMATION_FLOW = "information-flow";
    private static final String ALL = "all";

    /** The published groups, and one for models whose prompt sees itself. */
    public static final List<FlowGroup> PRESETS = List.of(TO_LAST, QUESTION, PATCHES, PREFIX);

    /** All names that {@link #preset} knows. */
    public static final List<String> NAMES =
            Stream.concat(PRESETS.stream().map(FlowGroup::name), Stream.of(INFORMATION_FLOW, ALL)).toList();

    public FlowGroup {
        flows = List.copyOf(flows);
    }

    /**
     * The groups of that name: one of {@link #PRESETS}, {@code all}, or {@code information-flow} for the six flows that
     * the paper on LLaVA follows, in its figures.
     *
     * @throws IllegalArgumentException if there are none
     * @see <a href="https://arxiv.org/abs/2411.18620">Cross-modal Information Flow in Multimodal Large Language
     *     Models</a>
     */
    public static List<FlowGroup> preset(String name) {
        List<FlowGroup> groups = switch (name) {
            case ALL -> PRESETS;
            case INFORMATION_FLOW -> List.of(TO_LAST, QUESTION, PATCHES);
            default -> PRESETS.stream().filter(group -> group.name.equals(name)).toList();
        };
        if (groups.isEmpty()) {
            throw new IllegalArgumentException(
                    "no preset is named '" + name + "': there are " + String.join(", ", NAMES));
        }
        return groups;
    }
}

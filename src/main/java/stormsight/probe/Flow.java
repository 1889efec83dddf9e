package stormsight.probe;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Edges that are blocked together.
 *
 * @param name of a published flow, or the edges as they are written
 */
public record Flow(String name, List<Edge> edges) {
    public static final Flow IMAGE_TO_LAST = named("image-to-last", "image->last");
    public static final Flow QUESTION_TO_LAST = named("question-to-last", "question->last");
    /** The last token's own value; its earlier keys stay. */
    public static final Flow LAST_TO_LAST = named("last-to-last", "last->last");
    public static final Flow IMAGE_TO_QUESTION = named("image-to-question", "image->question");
    public static final Flow OBJECT_TO_QUESTION = named("object-to-question", "object->question");
    public static final Flow OTHER_TO_QUESTION = named("other-to-question", "other->question");
    /** Only a model whose prompt sees itself has this flow: image tokens that read the question. */
    public static final Flow QUESTION_TO_IMAGE = named("question-to-image", "question->image");
    /**
     * In a prefix model the image tells the last token what it read of the question, so both routes have to be closed.
     */
    public static final Flow BOTH_WAYS = named("both-ways", "image->question,question->image");

    /** All flows with a name. */
    public static final List<Flow> PRESETS = List.of(
            IMAGE_TO_LAST,
            QUESTION_TO_LAST,
            LAST_TO_LAST,
            IMAGE_TO_QUESTION,
            OBJECT_TO_QUESTION,
            OTHER_TO_QUESTION,
            QUESTION_TO_IMAGE,
            BOTH_WAYS);

    public Flow {
        edges = List.copyOf(edges);
    }

    private static Flow named(String name, String edges) {
        return new Flow(name, edges(edges));
    }

    private static List<Edge> edges(String text) {
        return text.isBlank() ? List.of() : Arrays.stream(text.split(",", -1)).map(Edge::parse).toList();
    }

    /**
     * A flow of any edges.
     *
     * @param edges separated by commas, empty for none
     * @throws IllegalArgumentException if they are not edges
     */
    public static Flow ofEdges(String edges) {
        List<Edge> parsed = edges(edges);
        return new Flow(
                parsed.isEmpty() ? "none" : parsed.stream().map(Edge::toString).collect(Collectors.joining(",")),
                parsed);
    }

    /** @throws IllegalArgumentException if no published flow has that name */
    public static Flow preset(String name) {
        return PRESETS.stream()
                .filter(flow -> flow.name.equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no flow is named '" + name + "': there are "
                        + PRESETS.stream().map(Flow::name).collect(Collectors.joining(", "))));
    }

    /** Whether a span is the source or target of an edge. */
    public boolean names(String span) {
        return spans().anyMatch(span::equals);
    }

    /** Names of all sources and targets. */
    public Stream<String> spans() {
        return edges.stream().flatMap(edge -> Stream.of(edge.source(), edge.target()));
    }
}

package stormsight.probe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.image.Box;
import stormsight.model.Prompt;
import stormsight.model.Span;

class TokenLayoutTest {
    /** Four patches, bos, "answer", two words of a question, a newline, two generated tokens. */
    private static final TokenLayout LAYOUT = layout(4, 9, 9, List.of(6, 7), Optional.of(List.of(1)), 2);
    private static final int TOKENS = 11;

    /** A prompt that begins with an image of some patches. */
    private static TokenLayout layout(
            int patches,
            int tokens,
            int prefix,
            List<Integer> question,
            Optional<List<Integer>> object,
            int generated) {
        int[] ids = IntStream.range(0, tokens).map(place -> place < patches ? -1 - place : 100).toArray();
        Span image = new Span.Image(
                "image", 0, 0, patches, Optional.of(new Span.Grid(1, patches, patches, new Box(0, 0, 1, 1))));
        return new TokenLayout(new Prompt(ids, List.of(image), prefix), question, object, generated);
    }

    /** Two grids, the second of which ends its rows with a place of its own. */
    @Test
    void partsOfAnImageHaveTheirTokens() {
        Box area = new Box(0, 0, 1, 1);
        List<Span> spans = List.of(new Span.Image("base", 0, 1, 2, Optional.of(new Span.Grid(1, 2, 2, area))),
                new Span.Image("tiles", 0, 3, 6, Optional.of(new Span.Grid(2, 2, 3, area))));
        TokenLayout layout = new TokenLayout(
                new Prompt(new int[] {5, -1, -2, -6, -5, -9, -4, -3, -9, 5}, spans, 0),
                List.of(),
                Optional.of(List.of(6)),
                0);
        assertEquals(List.of(1, 2, 3, 4, 5, 6, 7, 8), layout.tokens("image"));
        assertEquals(List.of(1, 2), layout.tokens("base"));
        assertEquals(List.of(3, 4, 6, 7), layout.tokens("tiles"));
        assertEquals(List.of(5, 8), layout.tokens("newlines"));
        assertEquals(List.of(1, 2, 3, 4, 7), layout.tokens("other"));
        assertEquals("span 'tiles': the image has no such part", message(LAYOUT, "tiles"));
    }

    @Test
    void spansHaveTheirTokens() {
        assertEquals(List.of(0, 1, 2, 3), LAYOUT.tokens("image"));
        assertEquals(List.of(6, 7), LAYOUT.tokens("question"));
        assertEquals(List.of(8), LAYOUT.tokens("last"));
        assertEquals(List.of(9, 10), LAYOUT.tokens("generated"));
        assertEquals(List.of(1), LAYOUT.tokens("object"));
        assertEquals(List.of(0, 2, 3), LAYOUT.tokens("other"));
        assertEquals(List.of(4, 5), LAYOUT.tokens("4-5"));
        assertEquals(List.of(10), LAYOUT.tokens("10"));
    }

    @Test
    void errorsNameTheSpan() {
        TokenLayout bare = layout(4, 9, 9, List.of(), Optional.empty(), 0);
        assertEquals("span 'object': no box or mask marks the object", message(bare, "object"));
        assertEquals("span 'other': no box or mask marks the object", message(bare, "other"));
        assertEquals("span 'generated': nothing is generated before the token that counts", message(bare, "generated"));
        assertEquals("span 'question': the prompt has no question", message(bare, "question"));
        assertEquals("span '3-9': the last token is 8", message(bare, "3-9"));
        assertEquals("span '7-3' ends before it begins", message(bare, "7-3"));
        assertTrue(message(bare, "imgae").startsWith("'imgae' is no span: there are image, question, "));
        TokenLayout nowhere = layout(4, 9, 9, List.of(), Optional.of(List.of()), 0);
        assertEquals("span 'object': no patch shows the object", message(nowhere, "object"));
        assertEquals(List.of(0, 1, 2, 3), nowhere.tokens("other"));
        TokenLayout everywhere = layout(2, 9, 9, List.of(), Optional.of(List.of(0, 1)), 0);
        assertEquals("span 'other': the object is on every patch", message(everywhere, "other"));
    }

    private static String message(TokenLayout layout, String span) {
        return assertThrows(IllegalArgumentException.class, () -> layout.tokens(span)).getMessage();
    }

    @Test
    void aMaskHasQueriesInRowsAndKeysInColumns() {
        byte[] mask = LAYOUT.mask(Flow.ofEdges("image->last, 4->6-7"), TOKENS + 1);
        Set<List<Integer>> blocked =
                Set.of(List.of(8, 0), List.of(8, 1), List.of(8, 2), List.of(8, 3), List.of(6, 4), List.of(7, 4));
        for (int query = 0; query <= TOKENS; query++) {
            for (int key = 0; key <= TOKENS; key++) {
                assertEquals(
                        blocked.contains(List.of(query, key)) ? 1 : 0,
                        mask[query * (TOKENS + 1) + key],
                        query + ", " + key);
            }
        }
        assertArrayEquals(new byte[TOKENS * TOKENS], LAYOUT.mask(Flow.ofEdges(""), TOKENS));
    }

    @Test
    void everyPresetLeavesEveryTokenSomethingToSee() {
        for (Flow flow : Flow.PRESETS) {
            assertEquals(
                    OptionalInt.empty(),
                    LAYOUT.blind(LAYOUT.mask(flow, TOKENS), TOKENS, OptionalInt.empty()),
                    flow.name());
        }
    }

    @Test
    void findsTheTokenThatSeesNothing() {
        assertEquals(OptionalInt.of(8), blind(LAYOUT, "0-8->last", OptionalInt.empty()));
        // In the prefix a token sees those that follow it, so its past may go.
        assertEquals(OptionalInt.empty(), blind(LAYOUT, "0-6->6", OptionalInt.empty()));
        assertEquals(OptionalInt.of(0), blind(LAYOUT, "0-8->image", OptionalInt.empty()));
        // A generated token does not see what follows it.
        assertEquals(OptionalInt.of(9), blind(LAYOUT, "0-9->9", OptionalInt.empty()));
        assertEquals(OptionalInt.empty(), blind(LAYOUT, "0-8->9", OptionalInt.empty()));
        // Only a window makes these few keys all that there are.
        assertEquals(OptionalInt.empty(), blind(LAYOUT, "9-10->10", OptionalInt.empty()));
        assertEquals(OptionalInt.of(10), blind(LAYOUT, "9-10->10", OptionalInt.of(2)));
        TokenLayout causal = layout(4, 9, 0, List.of(6, 7), Optional.empty(), 0);
        assertEquals(OptionalInt.of(0), blind(causal, "0->0", OptionalInt.empty()));
        assertEquals(OptionalInt.of(6), blind(causal, "0-6->6", OptionalInt.empty()));
        assertEquals(OptionalInt.empty(), blind(causal, "last->last", OptionalInt.empty()));
    }

    private static OptionalInt blind(TokenLayout layout, String edges, OptionalInt window) {
        return layout.blind(layout.mask(Flow.ofEdges(edges), TOKENS), TOKENS, window);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "image",
                "image->",
                "->last",
                "image->last->last",
                "image=>last",
                "image->lost",
                "image->last,",
                "3-->last"
            })
    void refusesWhatIsNoEdge(String edges) {
        assertThrows(IllegalArgumentException.class, () -> Flow.ofEdges(edges));
    }

    @Test
    void namesOfFlowsAndGroupsAreUnique() {
        assertEquals(Flow.PRESETS.size(), Flow.PRESETS.stream().map(Flow::name).distinct().count());
        Flow.PRESETS.forEach(flow -> assertEquals(flow, Flow.preset(flow.name())));
        assertEquals(
                Set.copyOf(Flow.PRESETS),
                Set.copyOf(FlowGroup.PRESETS.stream()
                        .flatMap(group -> group.flows().stream())
                        .toList()));
        FlowGroup.PRESETS.forEach(group -> assertEquals(List.of(group), FlowGroup.preset(group.name())));
        assertThrows(IllegalArgumentException.class, () -> Flow.preset("to-last"));
        assertThrows(IllegalArgumentException.class, () -> FlowGroup.preset("image-to-last"));
    }
}

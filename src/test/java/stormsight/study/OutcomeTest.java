package stormsight.study;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import stormsight.backend.DeviceInfo;

class OutcomeTest {
    private static final DeviceInfo DEVICE =
            new DeviceInfo("0", "test", "a card", "", "", "", DeviceInfo.Kind.GPU, 0, 0, 0, 1, 1, Set.of());

    private static String summary(String... dropped) {
        List<KnockoutResult> results = Stream.concat(
                        Stream.of(Optional.<String>empty()), Stream.of(dropped).map(Optional::of))
                .map(reason -> new KnockoutResult(1, "a.png", "what?", reason, Optional.empty(), Optional.empty(),
                        Optional.empty(), 0, Map.of(), Map.of()))
                .toList();
        return new Outcome<>(true, List.of(), Map.of(), "model", DEVICE, results).summary();
    }

    @Test
    void reasonsAreCountedInWords() {
        assertEquals("kept 1 of 1", summary());
        assertEquals("kept 1 of 2: 1 wrong answer", summary("wrong answer"));
        for (ExampleResult.Reason reason : ExampleResult.Reason.values()) {
            assertEquals("kept 1 of 2: 1 " + reason.words, summary(reason.words));
        }
        assertEquals(
                "kept 1 of 6: 2 images cannot be read, 3 wrong answers",
                summary(IntStream.range(0, 5).mapToObj(i -> i < 3 ? "wrong answer" : "image cannot be read")
                        .toArray(String[]::new)));
    }
}

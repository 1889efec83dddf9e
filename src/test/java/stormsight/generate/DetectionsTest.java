package stormsight.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import stormsight.generate.Detections.Bins;
import stormsight.generate.Detections.Detection;
import stormsight.image.Box;

class DetectionsTest {
    /** Token i of an answer has the probability 1 / (i + 2). */
    private static Detections detections(String text, int width, int height, Bins bins) {
        List<Answer.Token> tokens = new ArrayList<>();
        Pattern.compile("<\\w+>|[^<]+").matcher(text).results().forEach(found -> tokens.add(
                new Answer.Token(tokens.size(), found.group(), -Math.log(tokens.size() + 2))));
        return Detections.of(
                new Answer(text, tokens, Answer.Stop.END, 1, new Answer.Timings(0, 0, 0, 0, 0), Map.of()),
                width,
                height,
                bins);
    }

    private static String codes(int count) {
        StringBuilder codes = new StringBuilder();
        IntStream.range(0, count).forEach(code -> codes.append("<seg%03d>".formatted(code)));
        return codes.toString();
    }

    @Test
    void findsSeveralObjects() {
        Detections found = detections(
                "<loc0256><loc0128><loc0512><loc1023> cat ; <loc0000><loc0000><loc0100><loc0200>" + codes(16)
                        + " black dog",
                640,
                480,
                Bins.B1024);
        assertEquals(List.of(), found.warnings());
        assertEquals(
                List.of("cat", "black dog"), found.found().stream().map(Detection::label).toList());
        // 1023 / 1024 of 640 is 639.4.
        assertEquals(new Box(80, 120, 559, 120), found.found().getFirst().box());
        assertEquals(new Box(0, 0, 125, 47), found.found().getLast().box());
        assertEquals(Math.pow(2 * 3 * 4 * 5, -0.25), found.found().getFirst().score(), 1e-12);
        // The label is a token, too.
        assertEquals(Math.pow(7 * 8 * 9 * 10, -0.25), found.found().getLast().score(), 1e-12);
        assertEquals(List.of(), found.found().getFirst().codes());
        assertEquals(IntStream.range(0, 16).boxed().toList(), found.found().getLast().codes());
    }

    @Test
    void theOtherReferenceCutsToPixels() {
        Box box = detections("<loc0256><loc0128><loc0512><loc1023> cat", 640, 480, Bins.B1023)
                .found()
                .getFirst()
                .box();
        assertEquals(new Box(80, 120, 560, 120), box);
    }

    @Test
    void saysWhatMarksNothing() {
        Detections found = detections(
                "<loc0001><loc0002><loc0003> a ; <loc0500><loc0000><loc0400><loc0100> b ;"
                        + " <loc0000><loc0000><loc0512><loc0512><seg001><seg002> c ; <seg003>"
                        + "<loc0000><loc0000><loc0002><loc0002>",
                100,
                100,
                Bins.B1024);
        assertEquals(
                List.of(
                        "'a': a box of 3 locations, 4 are needed",
                        "'b': a box that ends at or before where it begins, at y 500 .. 400, x 0 .. 100 in bins",
                        "'c': a mask of 2 codes, 16 are needed; the box stays",
                        "<seg003>: a mask without a box"),
                found.warnings());
        assertEquals(List.of("c", ""), found.found().stream().map(Detection::label).toList());
        // Less than a pixel.
        assertEquals(new Box(0, 0, 1, 1), found.found().getLast().box());
        assertEquals(List.of(), detections("nothing here", 10, 10, Bins.B1024).found());
    }

    @Test
    void boxesMayFollowEachOtherWithoutLabels() {
        Detections found = detections(
                "<loc0000><loc0000><loc0512><loc0512><loc0512><loc0512><loc1023><loc1023> shape", 64, 64, Bins.B1024);
        assertEquals(List.of("", "shape"), found.found().stream().map(Detection::label).toList());
        assertEquals(new Box(32, 32, 32, 32), found.found().getLast().box());
    }
}

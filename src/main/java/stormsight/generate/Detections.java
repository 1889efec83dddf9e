package stormsight.generate;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import stormsight.image.Box;
import stormsight.image.Mask;

/**
 * Objects that an answer of PaliGemma marks: {@code <locY1><locX1><locY2><locX2>}, perhaps 16 {@code <segNNN>}, and a
 * label, objects separated by {@code ;}.
 *
 * @param found in their order
 * @param warnings a line for each group of tokens that marks nothing
 */
public record Detections(List<Detection> found, List<String> warnings) {
    /** Codes of a mask. */
    public static final int CODES = 16;

    private static final int CORNERS = 4;
    private static final Pattern GROUP =
            Pattern.compile("((?:<loc\\d{4}>)+)\\s*((?:<seg\\d{3}>)*)([^;<]*)|((?:<seg\\d{3}>)+)");
    private static final Pattern CODE_RUN = Pattern.compile("(?:<seg\\d{3}>)+");
    private static final Pattern NUMBER = Pattern.compile("\\d+");
    private static final Pattern LOCATION = Pattern.compile("<loc\\d{4}>");

    /**
     * An object.
     *
     * @param label may be empty
     * @param box in pixels of the image
     * @param score geometric mean of the probabilities of the box's four tokens
     * @param codes of the mask, {@link #CODES} or none
     * @param mask in pixels of the image, where the answer's codes were decoded
     */
    public record Detection(String label, Box box, double score, List<Integer> codes, Optional<Mask> mask) {
        public Detection {
            codes = List.copyOf(codes);
        }
    }

    /** How a location becomes a pixel; references differ, by one pixel at most at usual sizes. */
    public enum Bins {
        /** A location is a 1024th of a side, rounded to a pixel: as Hugging Face's demonstration draws. */
        B1024 {
            @Override
            double pixel(int location, int side) {
                return Math.rint(location / 1024.0 * side);
            }
        },
        /** A location is a 1023rd of a side, cut to a pixel: as big_vision's evaluation measures. */
        B1023 {
            @Override
            double pixel(int location, int side) {
                return Math.floor(location / 1023.0 * side);
            }
        };

        abstract double pixel(int location, int side);
    }

    public Detections {
        found = List.copyOf(found);
        warnings = List.copyOf(warnings);
    }

    /** Reads an answer about an image of that size. */
    public static Detections of(Answer answer, int width, int height, Bins bins) {
        List<Detection> found = new ArrayList<>();
        List<String> warnings = new ArrayList<>();
        double[] logProbabilities = answer.tokens().stream()
                .filter(token -> LOCATION.matcher(token.text()).matches())
                .mapToDouble(Answer.Token::logProbability)
                .toArray();
        int seen = 0;
        Matcher group = GROUP.matcher(answer.text());
        while (group.find()) {
            if (group.group(4) != null) {
                warnings.add(group.group(4) + ": a mask without a box");
                continue;
            }
            List<Integer> locations = numbers(group.group(1));
            String label = group.group(3).strip();
            for (int from = 0; from < locations.size(); from += CORNERS) {
                int to = Math.min(from + CORNERS, locations.size());
                boolean last = to == locations.size();
                List<Integer> codes = last ? numbers(group.group(2)) : List.of();
                if (!codes.isEmpty() && codes.size() != CODES) {
                    warnings.add("'" + label + "': a mask of " + codes.size() + " codes, " + CODES
                            + " are needed; the box stays");
                    codes = List.of();
                }
                List<Integer> corners = locations.subList(from, to);
                if (corners.size() < CORNERS) {
                    warnings.add("'" + label + "': a box of " + corners.size() + " locations, " + CORNERS
                            + " are needed");
                } else if (corners.get(2) <= corners.get(0) || corners.get(3) <= corners.get(1)) {
                    warnings.add(String.format(Locale.ROOT, "'%s': a box that ends at or before where it begins,"
                            + " at y %d .. %d, x %d .. %d in bins", label, corners.get(0), corners.get(2),
                            corners.get(1), corners.get(3)));
                } else {
                    Box box = box(corners, width, height, bins);
                    found.add(new Detection(
                            last ? label : "",
                            box,
                            score(logProbabilities, seen + from),
                            codes,
                            Optional.ofNullable(answer.masks().get(codes))
                                    .map(mask -> mask.pasted(box, width, height))));
                }
            }
            seen += locations.size();
        }
        return new Detections(found, warnings);
    }

    /** The codes of all masks in a text. */
    static Set<List<Integer>> codes(String text) {
        return CODE_RUN.matcher(text).results()
                .map(run -> numbers(run.group()))
                .filter(codes -> codes.size() == CODES)
                .collect(Collectors.toSet());
    }

    private static List<Integer> numbers(String tokens) {
        return NUMBER.matcher(tokens).results().map(result -> Integer.valueOf(result.group())).toList();
    }

    /** At least a pixel wide and high: what is smaller than a pixel still is somewhere. */
    private static Box box(List<Integer> corners, int width, int height, Bins bins) {
        double top = bins.pixel(corners.get(0), height);
        double left = bins.pixel(corners.get(1), width);
        double bottom = bins.pixel(corners.get(2), height);
        double right = bins.pixel(corners.get(3), width);
        return new Box(left, top, Math.max(1, right - left), Math.max(1, bottom - top));
    }

    private static double score(double[] logProbabilities, int from) {
        return Math.exp(IntStream.range(from, from + CORNERS)
                .mapToDouble(i -> i < logProbabilities.length ? logProbabilities[i] : Double.NaN)
                .average()
                .orElseThrow());
    }
}

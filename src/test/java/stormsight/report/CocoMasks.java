package stormsight.report;

import stormsight.image.Mask;
import tools.jackson.databind.JsonNode;

/** Reads masks as COCO's tools do: the inverse of what is written, after {@code rleFrString} of its interface. */
public final class CocoMasks {
    private CocoMasks() {}

    /** @param segmentation an object with size and counts */
    public static Mask decode(JsonNode segmentation) {
        int height = segmentation.get("size").get(0).asInt();
        int width = segmentation.get("size").get(1).asInt();
        String text = segmentation.get("counts").asString();
        boolean[] inside = new boolean[width * height];
        long[] runs = new long[text.length()];
        int count = 0;
        int at = 0;
        int pixel = 0;
        boolean on = false;
        while (at < text.length()) {
            long value = 0;
            int shift = 0;
            boolean more = true;
            while (more) {
                int bits = text.charAt(at++) - 48;
                value |= (long) (bits & 0x1f) << shift;
                more = (bits & 0x20) != 0;
                shift += 5;
                if (!more && (bits & 0x10) != 0) {
                    value |= -1L << shift;
                }
            }
            runs[count] = count > 2 ? value + runs[count - 2] : value;
            for (long i = 0; i < runs[count]; i++, pixel++) {
                inside[pixel % height * width + pixel / height] = on;
            }
            on = !on;
            count++;
        }
        if (pixel != inside.length) {
            throw new IllegalArgumentException(pixel + " of " + inside.length + " pixels");
        }
        return new Mask(width, height, inside);
    }
}

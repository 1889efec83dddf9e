package stormsight.report;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import stormsight.image.Box;
import stormsight.image.Mask;
import stormsight.report.RegionFigure.Region;

/** Objects on an image as text, as JSON, and as a data set of COCO. */
public final class RegionFile {
    private RegionFile() {}

    /**
     * An object with how sure the model is of its place.
     *
     * @param score in 0 .. 1
     */
    public record Scored(Region region, double score) {
        private Map<String, Object> json() {
            Box box = region.box();
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("label", region.label());
            object.put("box", List.of(box.x(), box.y(), box.width(), box.height()));
            object.put("score", score);
            region.mask().ifPresent(mask -> object.put("segmentation", segmentation(mask)));
            return object;
        }
    }

    /** A line for each object: x, y, width and height in pixels, and the label. */
    public static String text(List<Scored> objects) {
        StringBuilder text = new StringBuilder();
        for (Scored object : objects) {
            Box box = object.region().box();
            text.append(String.format(
                    Locale.ROOT,
                    "%5.0f %5.0f %5.0f %5.0f  %s%n",
                    box.x(),
                    box.y(),
                    box.width(),
                    box.height(),
                    object.region().label()));
        }
        return text.toString();
    }

    /** Label, box as x, y, width and height in pixels, score and, if there is one, mask of each object. */
    public static List<Map<String, Object>> json(List<Scored> objects) {
        return objects.stream().map(Scored::json).toList();
    }

    /**
     * A mask as COCO's tools write it: size as height and width, and the lengths of its runs, column by column,
     * beginning with those outside, as differences to the run before the last in groups of five bits.
     */
    static Map<String, Object> segmentation(Mask mask) {
        List<Long> runs = new ArrayList<>();
        boolean inside = false;
        long run = 0;
        for (int x = 0; x < mask.width(); x++) {
            for (int y = 0; y < mask.height(); y++) {
                if (mask.at(x, y) != inside) {
                    runs.add(run);
                    run = 0;
                    inside = !inside;
                }
                run++;
            }
        }
        runs.add(run);
        StringBuilder counts = new StringBuilder();
        for (int i = 0; i < runs.size(); i++) {
            long rest = i > 2 ? runs.get(i) - runs.get(i - 2) : runs.get(i);
            boolean more = true;
            while (more) {
                long bits = rest & 0x1f;
                rest >>= 5;
                more = (bits & 0x10) != 0 ? rest != -1 : rest != 0;
                counts.append((char) ((more ? bits | 0x20 : bits) + 48));
            }
        }
        Map<String, Object> segmentation = new LinkedHashMap<>();
        segmentation.put("size", List.of(mask.height(), mask.width()));
        segmentation.put("counts", counts.toString());
        return segmentation;
    }

    /**
     * A data set of one image as COCO's tools read it; labels are its categories, in the order in which they come.
     *
     * @see <a href="https://cocodataset.org/#format-data">COCO's data format</a>
     */
    public static Map<String, Object> coco(String file, int width, int height, List<Scored> objects) {
        List<String> labels =
                objects.stream().map(object -> object.region().label()).distinct().toList();
        List<Map<String, Object>> annotations = new ArrayList<>();
        for (Scored object : objects) {
            Box box = object.region().box();
            Map<String, Object> annotation = new LinkedHashMap<>();
            annotation.put("id", annotations.size() + 1);
            annotation.put("image_id", 1);
            annotation.put("category_id", labels.indexOf(object.region().label()) + 1);
            annotation.put("bbox", List.of(box.x(), box.y(), box.width(), box.height()));
            annotation.put("area", object.region().mask().map(mask -> (double) mask.area())
                    .orElse(box.width() * box.height()));
            object.region().mask().ifPresent(mask -> annotation.put("segmentation", segmentation(mask)));
            annotation.put("iscrowd", 0);
            annotation.put("score", object.score());
            annotations.add(annotation);
        }
        List<Map<String, Object>> categories = new ArrayList<>();
        labels.forEach(label -> categories.add(Map.of("id", categories.size() + 1, "name", label)));
        Map<String, Object> image = new LinkedHashMap<>();
        image.put("id", 1);
        image.put("file_name", file);
        image.put("width", width);
        image.put("height", height);
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("images", List.of(image));
        object.put("annotations", annotations);
        object.put("categories", categories);
        return object;
    }
}

package stormsight.report;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import stormsight.image.Box;
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

    /** Label, box as x, y, width and height in pixels, and score of each object. */
    public static List<Map<String, Object>> json(List<Scored> objects) {
        return objects.stream().map(Scored::json).toList();
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
            annotation.put("area", box.width() * box.height());
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

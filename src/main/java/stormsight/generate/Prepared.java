package stormsight.generate;

import java.util.List;
import stormsight.model.Views;

/**
 * A request whose images are cut as the vision tower takes them.
 *
 * @param nanos that cutting took
 */
public record Prepared(Request request, List<Views> images, long nanos) {
    public Prepared {
        images = List.copyOf(images);
    }
}

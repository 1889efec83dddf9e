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

    /** The same with views in place of the images, which may be much larger: for requests that wait. */
    Prepared small() {
        return new Prepared(request.with(images.stream().map(views -> views.view(0)).toList()), images, nanos);
    }
}

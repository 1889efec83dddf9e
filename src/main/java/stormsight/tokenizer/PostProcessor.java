package stormsight.tokenizer;

import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * The ids that a model gets before and after those of a text.
 *
 * @param unlessThere leaves out those after the text where its last id is the last of them already
 */
record PostProcessor(int[] before, int[] after, boolean unlessThere) {
    static final PostProcessor NONE = new PostProcessor(new int[0], new int[0]);

    PostProcessor(int[] before, int[] after) {
        this(before, after, false);
    }

    int added() {
        return before.length + after.length;
    }

    int[] apply(int[] ids) {
        boolean there = unlessThere && ids.length > 0 && ids[ids.length - 1] == after[after.length - 1];
        return there ? joined(before, ids) : joined(joined(before, ids), after);
    }

    /** This one and then another one, which puts its ids around all. */
    PostProcessor then(PostProcessor next) {
        return new PostProcessor(joined(next.before, before), joined(after, next.after));
    }

    private static int[] joined(int[] first, int[] second) {
        return IntStream.concat(Arrays.stream(first), Arrays.stream(second)).toArray();
    }
}

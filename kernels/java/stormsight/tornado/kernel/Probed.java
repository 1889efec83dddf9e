package stormsight.tornado.kernel;

import java.util.ArrayList;
import java.util.List;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;

/** Chosen layers and heads, as kernels read them: how many of each there are, then the layers, then the heads. */
final class Probed {
    private static final int COUNTS = 2;

    private Probed() {}

    static List<Integer> list(List<Integer> layers, List<Integer> heads) {
        List<Integer> list = new ArrayList<>(List.of(layers.size(), heads.size()));
        list.addAll(layers);
        list.addAll(heads);
        return list;
    }

    /** How many heads are chosen. */
    static int heads(IntArray chosen) {
        return chosen.get(1);
    }

    /** The head at that place among the chosen ones. */
    static int head(IntArray chosen, int place) {
        return chosen.get(COUNTS + chosen.get(0) + place);
    }

    /** Place of a layer among the chosen ones, -1 if it is none of them. */
    static int place(IntArray chosen, int number) {
        int place = -1;
        for (int i = 0; i < chosen.get(0); i++) {
            if (chosen.get(COUNTS + i) == number) {
                place = i;
            }
        }
        return place;
    }
}

package stormsight.tornado.kernel;

import java.util.List;
import stormsight.backend.BackendException;

/** Chosen layers or heads as bits of an int, which is a literal in the code of a kernel. */
final class Probed {
    /** Layers that a probe's kernels can tell apart. */
    static final int MOST_LAYERS = 2 * Integer.SIZE;

    private Probed() {}

    /** One bit for each of the values from {@code first} to {@code first + 31}. */
    static int mask(List<Integer> values, int first) {
        if (values.getLast() >= MOST_LAYERS) {
            throw new BackendException("a probe of layer " + values.getLast() + ": kernels know " + MOST_LAYERS + " layers");
        }
        int mask = 0;
        for (int value : values) {
            if (value >= first && value < first + Integer.SIZE) {
                mask |= 1 << value - first;
            }
        }
        return mask;
    }

    /** How many of the first {@code bits} bits are set. */
    static int count(int mask, int bits) {
        int count = 0;
        for (int bit = 0; bit < bits; bit++) {
            count += (mask >> bit) & 1;
        }
        return count;
    }

    /** The bit that is set after {@code place} others. */
    static int member(int place, int mask, int bits) {
        int found = 0;
        int member = 0;
        for (int bit = 0; bit < bits; bit++) {
            if (((mask >> bit) & 1) == 1) {
                if (found == place) {
                    member = bit;
                }
                found++;
            }
        }
        return member;
    }

    /** Place of a layer among the chosen ones, -1 if it is none of them. */
    static int place(int number, int low, int high) {
        int place = -1;
        if (number < Integer.SIZE) {
            if (((low >> number) & 1) == 1) {
                place = count(low, number);
            }
        } else {
            if (((high >> (number - Integer.SIZE)) & 1) == 1) {
                place = count(low, Integer.SIZE) + count(high, number - Integer.SIZE);
            }
        }
        return place;
    }
}

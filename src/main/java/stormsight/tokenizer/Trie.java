package stormsight.tokenizer;

import java.util.Arrays;

/** Strings by their chars, to find all that a text begins with. Nodes are numbers, the root is 0. */
final class Trie {
    /** A node and the char that leads on from it, plus one so that 0 is free; at most half full. */
    private long[] keys = new long[1 << 8];

    private int[] children = new int[1 << 8];

    /** By node: what was put there, or -1. */
    private int[] values = new int[1 << 7];

    private int nodes = 1;

    Trie() {
        values[0] = -1;
    }

    /** @return what had been put for the string before, or -1 */
    int put(String string, int value) {
        int node = 0;
        for (int i = 0; i < string.length(); i++) {
            int child = child(node, string.charAt(i));
            node = child < 0 ? add(node, string.charAt(i)) : child;
        }
        int before = values[node];
        values[node] = value;
        return before;
    }

    /** The node that a char leads to, or -1. */
    int child(int node, char c) {
        long key = key(node, c);
        for (int at = slot(key, keys.length);; at = at + 1 & keys.length - 1) {
            if (keys[at] == key) {
                return children[at];
            }
            if (keys[at] == 0) {
                return -1;
            }
        }
    }

    /** What was put for the string that leads to the node, or -1. */
    int value(int node) {
        return values[node];
    }

    private int add(int node, char c) {
        if (2 * nodes >= keys.length) {
            long[] oldKeys = keys;
            int[] oldChildren = children;
            keys = new long[2 * oldKeys.length];
            children = new int[2 * oldKeys.length];
            for (int i = 0; i < oldKeys.length; i++) {
                if (oldKeys[i] != 0) {
                    link(oldKeys[i], oldChildren[i]);
                }
            }
        }
        if (nodes == values.length) {
            values = Arrays.copyOf(values, 2 * nodes);
        }
        values[nodes] = -1;
        link(key(node, c), nodes);
        return nodes++;
    }

    private void link(long key, int child) {
        int at = slot(key, keys.length);
        while (keys[at] != 0) {
            at = at + 1 & keys.length - 1;
        }
        keys[at] = key;
        children[at] = child;
    }

    private static long key(int node, char c) {
        return ((long) node << 16 | c) + 1;
    }

    private static int slot(long key, int slots) {
        long hash = (key ^ Vocabulary.SEED) * 0x9e3779b97f4a7c15L;
        return (int) ((hash ^ hash >>> 32) * 0xd6e8feb86659fd93L >>> 32) & slots - 1;
    }
}

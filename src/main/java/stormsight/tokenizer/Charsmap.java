package stormsight.tokenizer;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.BitSet;

/**
 * SentencePiece's table of what to replace by what (NFKC and a little more, as a rule): a double-array trie over UTF-8
 * whose leaves point at replacements that end with a zero byte.
 *
 * @see <a href="https://github.com/s-yata/darts-clone">Darts-clone</a>, which wrote the trie
 */
final class Charsmap {
    private final int[] units;
    private final byte[] replacements;
    private final int longest;

    /** A replacement and how many bytes of the text it is for. */
    record Match(String replacement, int bytes) {}

    /** @throws IllegalArgumentException if the table is cut short or points outside itself */
    Charsmap(byte[] blob) {
        if (blob.length < 4) {
            throw new IllegalArgumentException("empty map");
        }
        ByteBuffer in = ByteBuffer.wrap(blob).order(ByteOrder.LITTLE_ENDIAN);
        long bytes = Integer.toUnsignedLong(in.getInt());
        if (bytes == 0) {
            throw new IllegalArgumentException("empty map");
        }
        if (bytes % 4 != 0 || bytes > in.remaining()) {
            throw new IllegalArgumentException("a map of " + bytes + " bytes in " + in.remaining());
        }
        units = new int[(int) bytes / 4];
        in.asIntBuffer().get(units);
        in.position(4 + units.length * 4);
        replacements = new byte[in.remaining()];
        in.get(replacements);
        int most = 1;
        for (int i = 0, start = 0; i < replacements.length; i++) {
            start = replacements[i] == 0 ? i + 1 : start;
            most = Math.max(most, i + 1 - start);
        }
        longest = most;
        check();
    }

    /** Upper limit of the length of a replacement, at least 1. */
    int longest() {
        return longest;
    }

    /** Walks through all of the trie, so that no text can lead outside it later. */
    private void check() {
        BitSet seen = new BitSet(units.length);
        int[] waiting = new int[units.length];
        int count = 0;
        waiting[count++] = 0;
        seen.set(0);
        while (count > 0) {
            int node = waiting[--count];
            int base = node ^ offset(units[node]);
            // Children that would lie outside are no children, but a leaf is read without a look at its label.
            if (hasLeaf(units[node])) {
                if (base >= units.length) {
                    throw new IllegalArgumentException("a map that points outside itself");
                }
                if ((units[base] & Integer.MAX_VALUE) >= replacements.length) {
                    throw new IllegalArgumentException("a map that points outside its replacements");
                }
            }
            for (int label = 1; label < 256; label++) {
                int child = base ^ label;
                if (child < units.length && label(units[child]) == label && !seen.get(child)) {
                    seen.set(child);
                    waiting[count++] = child;
                }
            }
        }
    }

    private static boolean hasLeaf(int unit) {
        return (unit >>> 8 & 1) == 1;
    }

    private static int label(int unit) {
        return unit & (1 << 31 | 0xff);
    }

    private static int offset(int unit) {
        return unit >>> 10 << ((unit & 1 << 9) >>> 6);
    }

    /** The replacement of the longest or the shortest beginning of the bytes that has one, or null. */
    Match match(byte[] text, int from, boolean longest) {
        int node = offset(units[0]);
        int found = -1;
        int end = from;
        for (int i = from; i < text.length; i++) {
            int child = node ^ text[i] & 0xff;
            if (text[i] == 0 || child >= units.length || label(units[child]) != (text[i] & 0xff)) {
                break;
            }
            node = child ^ offset(units[child]);
            if (hasLeaf(units[child])) {
                found = units[node] & Integer.MAX_VALUE;
                end = i + 1;
                if (!longest) {
                    break;
                }
            }
        }
        return found < 0 ? null : new Match(replacement(found), end - from);
    }

    private String replacement(int from) {
        int to = from;
        while (to < replacements.length && replacements[to] != 0) {
            to++;
        }
        return new String(replacements, from, to - from, StandardCharsets.UTF_8);
    }
}

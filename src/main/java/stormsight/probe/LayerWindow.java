package stormsight.probe;

/**
 * Consecutive layers.
 *
 * @param from first layer
 * @param to one past the last
 */
public record LayerWindow(int from, int to) {
    /**
     * The {@code size} layers around a layer, truncated at both ends: from {@code layer - floor(size / 2)} to {@code
     * layer + ceil(size / 2) - 1}.
     *
     * @throws IllegalArgumentException if the size is not positive
     */
    public static LayerWindow around(int layer, int size, int layers) {
        if (size < 1) {
            throw new IllegalArgumentException("a window of " + size + " layers");
        }
        return new LayerWindow(Math.max(0, layer - size / 2), (int) Math.min(layers, (long) layer + size - size / 2));
    }

    public int layers() {
        return to - from;
    }

    @Override
    public String toString() {
        return layers() == 1 ? "layer " + from : "layers " + from + " to " + (to - 1);
    }
}

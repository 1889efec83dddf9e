package stormsight.backend.cpu;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import stormsight.program.Tensor;

/**
 * What lies packed in the shared scratch, as the next product may find it: products of one x, one after the other, pack
 * it once.
 */
final class Packs {
    private Tensor packed;
    private Packing packing;

    /** Layers of a model have few packings, and their orders are long. */
    private final Map<Packing, int[]> orders = new HashMap<>();

    /**
     * Called when the next kernel may find tensors and shared scratch changed by others: before a layer, after other
     * operations.
     */
    void forget() {
        packed = null;
    }

    List<Kernel> kernels(Product product, Tensor x, Tensor out, Scratch scratch) {
        Packing wanted = Packing.of(product);
        List<Kernel> kernels = new ArrayList<>();
        if (!x.equals(packed) || !wanted.equals(packing)) {
            kernels.add(new Pack(product.x(), wanted, orders.computeIfAbsent(wanted, Packing::order), scratch));
        }
        kernels.add(new MatMulVectors(product, wanted, scratch));
        packed = out.equals(x) ? null : x;
        packing = wanted;
        return kernels;
    }
}

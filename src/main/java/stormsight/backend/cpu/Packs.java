package stormsight.backend.cpu;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import stormsight.program.Op;
import stormsight.program.Tensor;

/**
 * What lies packed in the shared scratch, as the next product may find it: products of one x, one after the other, pack
 * it once.
 */
final class Packs {
    /** Null where all kernels are Java's. */
    private final NativeKernels natives;

    private Tensor packed;
    private Packing packing;
    private boolean narrowed;

    /** Layers of a model have few packings, and their orders are long. */
    private final Map<Packing, int[]> orders = new HashMap<>();

    /** @param natives for products with many tokens; null for none */
    Packs(NativeKernels natives) {
        this.natives = natives;
    }

    /**
     * Called when the next kernel may find tensors and shared scratch changed by others: before a layer, after other
     * operations.
     */
    void forget() {
        packed = null;
    }

    /** @param product what {@code op} is bound to */
    List<Kernel> kernels(Op op, Product product, Tensor x, Tensor out, Scratch scratch) {
        Packing wanted = Packing.of(product);
        boolean many = natives != null && natives.implementation(op).isPresent();
        List<Kernel> kernels = new ArrayList<>();
        if (!x.equals(packed) || !wanted.equals(packing) || many != narrowed) {
            Kernel pack = new Pack(product.x(), wanted, orders.computeIfAbsent(wanted, Packing::order), scratch);
            kernels.add(many ? new ByTokens(pack, new Narrow(product, scratch), product.capacity()) : pack);
        }
        Kernel vectors = new MatMulVectors(product, wanted, scratch);
        kernels.add(many
                ? new ByTokens(vectors, natives.kernel(op, product, scratch), product.capacity())
                : vectors);
        packed = out.equals(x) ? null : x;
        packing = wanted;
        narrowed = many;
        return kernels;
    }
}

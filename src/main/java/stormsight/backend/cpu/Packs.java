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

    private final boolean exact;

    private Tensor packed;
    private Packing packing;
    private Form form;

    /** What x becomes in steps with many rows, besides being packed in others. */
    private enum Form {
        PACKED,
        NARROWED,
        IN_PARTS
    }

    /** Layers of a model have few packings, and their orders are long. */
    private final Map<Packing, int[]> orders = new HashMap<>();

    /**
     * For the products of a program.
     *
     * @param natives for those with many tokens; null for none
     * @param exact whether the program has such products, see {@link NativeKernels#multiplies}
     */
    Packs(NativeKernels natives, boolean exact) {
        this.natives = natives;
        this.exact = exact;
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
        Form wantedForm = form(op);
        List<Kernel> kernels = new ArrayList<>();
        if (!x.equals(packed) || !wanted.equals(packing) || wantedForm != form) {
            Kernel pack = new Pack(product.x(), wanted, orders.computeIfAbsent(wanted, Packing::order), scratch);
            kernels.add(switch (wantedForm) {
                case PACKED -> pack;
                case NARROWED -> ByTokens.of(product, pack, new Narrow(product, natives, scratch));
                case IN_PARTS -> ByTokens.ofStep(pack, new NativeMatVec.Parts(product, scratch));
            });
        }
        Kernel vectors = new MatMulVectors(product, wanted, scratch);
        kernels.add(switch (wantedForm) {
            case PACKED -> vectors;
            case NARROWED -> ByTokens.of(product, vectors, natives.kernel(op, product, scratch));
            case IN_PARTS -> ByTokens.ofStep(vectors, natives.exactKernel(op, product, scratch));
        });
        packed = out.equals(x) ? null : x;
        packing = wanted;
        form = wantedForm;
        return kernels;
    }

    private Form form(Op op) {
        if (natives != null && natives.implementation(op).isPresent()) {
            return Form.NARROWED;
        }
        return exact && natives.exact(op).isPresent() ? Form.IN_PARTS : Form.PACKED;
    }
}

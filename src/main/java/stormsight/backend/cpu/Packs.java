package stormsight.backend.cpu;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import stormsight.program.Op;
import stormsight.program.Step;
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
        AS_IT_IS,
        NARROWED,
        IN_PARTS
    }

    /** In the place of a kernel that would change x. */
    private record AsItIs() implements Kernel {
        @Override
        public int pieces(Step step) {
            return 1;
        }

        @Override
        public void run(Step step, int piece, int worker) {}
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
        Form wantedForm = form(op, product);
        List<Kernel> kernels = new ArrayList<>();
        if (!x.equals(packed) || !wanted.equals(packing) || wantedForm != form) {
            Kernel pack = new Pack(product.x(), wanted, orders.computeIfAbsent(wanted, Packing::order), scratch);
            kernels.add(switch (wantedForm) {
                case PACKED -> pack;
                case AS_IT_IS -> ByTokens.of(product, pack, new AsItIs());
                case NARROWED -> ByTokens.of(product, pack, new Narrow(product, natives, scratch));
                case IN_PARTS -> ByTokens.ofStep(pack, new NativeMatVec.Parts(product, scratch));
            });
        }
        Kernel vectors = new MatMulVectors(product, wanted, scratch);
        kernels.add(switch (wantedForm) {
            case PACKED -> vectors;
            case AS_IT_IS, NARROWED -> ByTokens.of(product, vectors, natives.kernel(op, product, scratch));
            case IN_PARTS -> ByTokens.ofStep(vectors, natives.exactKernel(op, product, scratch));
        });
        packed = out.equals(x) ? null : x;
        packing = wanted;
        form = wantedForm;
        return kernels;
    }

    private Form form(Op op, Product product) {
        if (natives != null && natives.implementation(op).isPresent()) {
            return Narrow.narrows(product.dtype()) ? Form.NARROWED : Form.AS_IT_IS;
        }
        return exact && natives.exact(op).isPresent() ? Form.IN_PARTS : Form.PACKED;
    }
}

package stormsight.backend.cpu;

import org.apache.commons.numbers.gamma.Erfc;
import stormsight.program.Op;
import stormsight.program.Step;

/** A {@link Product} with sums in double precision. */
final class MatMulScalar implements Kernel {
    /** Columns of out that one piece makes. */
    private static final int PIECE = 16;

    private final Product product;
    private final Scratch scratch;

    MatMulScalar(Product product, Scratch scratch) {
        this.product = product;
        this.scratch = scratch;
        scratch.reserveOwn(2L * Float.BYTES * product.depth());
    }

    @Override
    public int pieces(Step step) {
        return (product.width() + PIECE - 1) / PIECE;
    }

    @Override
    public void run(Step step, int piece, int worker) {
        int depth = product.depth();
        int width = product.width();
        int tokens = product.tokens(step);
        long w = scratch.own(worker);
        long up = w + 4L * depth;
        for (int m = piece * PIECE; m < Math.min((piece + 1) * PIECE, width); m++) {
            product.w().decode(m, 1, w);
            if (product.up() != null) {
                product.up().decode(m, 1, up);
            }
            for (int t = 0; t < tokens; t++) {
                long x = product.x() + 4L * t * depth;
                double y = dot(x, w, depth);
                if (product.bias() != 0) {
                    y += Memory.f32(product.bias() + 4L * m);
                }
                y = activate(product.activation(), y);
                if (product.up() != null) {
                    y *= dot(x, up, depth);
                }
                long at = 4L * ((long) t * width + m);
                if (product.residual() != 0) {
                    y += Memory.f32(product.residual() + at);
                }
                Memory.f32(product.out() + at, (float) y);
            }
        }
    }

    private static double activate(Op.Activation activation, double x) {
        return switch (activation) {
            case NONE -> x;
            case GELU_TANH -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
            case GELU_ERF -> 0.5 * x * Erfc.value(-x / Math.sqrt(2));
            case QUICK_GELU -> x / (1 + Math.exp(-1.702 * x));
            case SILU -> x / (1 + Math.exp(-x));
            case RELU -> Math.max(x, 0);
        };
    }

    private static double dot(long a, long b, int count) {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += (double) Memory.f32(a + 4L * i) * Memory.f32(b + 4L * i);
        }
        return sum;
    }
}

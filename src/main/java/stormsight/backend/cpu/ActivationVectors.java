package stormsight.backend.cpu;

import static stormsight.backend.cpu.Memory.ALL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import stormsight.program.Op;

/** {@link Op.Activation} over vectors, in place. Whole vectors are handled: there must be room after the last value. */
final class ActivationVectors {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    /** The factor of x in the exponent that makes tanh-GELU x / (1 + exp(..)). */
    private static final float TANH = (float) (-2 * Math.sqrt(2 / Math.PI));

    /**
     * Abramowitz and Stegun 7.1.26: {@code erfc(z) = (A1 t + .. + A5 t^5) exp(-z^2)}, t = 1 / (1 + P z), to 1.5e-7 for
     * z from 0 on.
     */
    private static final float P = 0.3275911f;
    private static final float A1 = 0.254829592f;
    private static final float A2 = -0.284496736f;
    private static final float A3 = 1.421413741f;
    private static final float A4 = -1.453152027f;
    private static final float A5 = 1.061405429f;

    private ActivationVectors() {}

    static void apply(Op.Activation activation, long x, int count) {
        switch (activation) {
            case NONE -> { }
            case GELU_TANH -> gated(x, count, TANH, 0.044715f * TANH);
            case GELU_ERF -> geluErf(x, count);
            case QUICK_GELU -> gated(x, count, -1.702f, 0);
            case SILU -> gated(x, count, -1, 0);
            case RELU -> relu(x, count);
        }
    }

    /**
     * {@code x = x / (1 + exp(linear x + cubic x^3))}: tanh-GELU is of that form, as 0.5 (1 + tanh(u)) = 1 / (1 +
     * exp(-2 u)).
     */
    private static void gated(long x, int count, float linear, float cubic) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector y = FloatVector.fromMemorySegment(F, ALL, x + 4L * i, LE);
            FloatVector a = y.mul(y).mul(cubic).add(linear).mul(y).max(Exp.LOWEST).min(Exp.HIGHEST);
            FloatVector t = a.fma(FloatVector.broadcast(F, Exp.LOG2_E), FloatVector.broadcast(F, Exp.ROUND));
            FloatVector n = t.sub(Exp.ROUND);
            FloatVector r = n.fma(FloatVector.broadcast(F, -Exp.LN2_HIGH), a);
            r = n.fma(FloatVector.broadcast(F, -Exp.LN2_LOW), r);
            FloatVector p = r.fma(FloatVector.broadcast(F, Exp.C5), FloatVector.broadcast(F, Exp.C4));
            p = p.fma(r, FloatVector.broadcast(F, Exp.C3));
            p = p.fma(r, FloatVector.broadcast(F, Exp.C2));
            p = p.fma(r, FloatVector.broadcast(F, Exp.C1));
            p = p.fma(r, FloatVector.broadcast(F, Exp.C0));
            p = p.fma(r.mul(r), r.add(1f));
            FloatVector e = p.mul(t.reinterpretAsInts().lanewise(VectorOperators.LSHL,
                    23).add(Exp.ONE_BITS).reinterpretAsFloats());
            y.div(e.add(1f)).intoMemorySegment(ALL, x + 4L * i, LE);
        }
    }

    /** {@code x = max(x, 0) - |x| q} with q = erfc(|x| / sqrt(2)) / 2, which cancels nowhere. */
    private static void geluErf(long x, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector y = FloatVector.fromMemorySegment(F, ALL, x + 4L * i, LE);
            FloatVector size = y.abs();
            FloatVector a = y.mul(y).mul(-0.5f).max(Exp.LOWEST);
            FloatVector t = a.fma(FloatVector.broadcast(F, Exp.LOG2_E), FloatVector.broadcast(F, Exp.ROUND));
            FloatVector n = t.sub(Exp.ROUND);
            FloatVector r = n.fma(FloatVector.broadcast(F, -Exp.LN2_HIGH), a);
            r = n.fma(FloatVector.broadcast(F, -Exp.LN2_LOW), r);
            FloatVector p = r.fma(FloatVector.broadcast(F, Exp.C5), FloatVector.broadcast(F, Exp.C4));
            p = p.fma(r, FloatVector.broadcast(F, Exp.C3));
            p = p.fma(r, FloatVector.broadcast(F, Exp.C2));
            p = p.fma(r, FloatVector.broadcast(F, Exp.C1));
            p = p.fma(r, FloatVector.broadcast(F, Exp.C0));
            p = p.fma(r.mul(r), r.add(1f));
            FloatVector e = p.mul(t.reinterpretAsInts().lanewise(VectorOperators.LSHL,
                    23).add(Exp.ONE_BITS).reinterpretAsFloats());
            FloatVector s = FloatVector.broadcast(F, 1f).div(size.mul(P * (float) Math.sqrt(0.5)).add(1f));
            FloatVector q = s.fma(FloatVector.broadcast(F, A5), FloatVector.broadcast(F, A4));
            q = q.fma(s, FloatVector.broadcast(F, A3));
            q = q.fma(s, FloatVector.broadcast(F, A2));
            q = q.fma(s, FloatVector.broadcast(F, A1));
            q = q.mul(s).mul(e).mul(0.5f);
            y.max(0f).sub(size.mul(q)).intoMemorySegment(ALL, x + 4L * i, LE);
        }
    }

    private static void relu(long x, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector.fromMemorySegment(F, ALL, x + 4L * i, LE).max(0f).intoMemorySegment(ALL, x + 4L * i, LE);
        }
    }
}

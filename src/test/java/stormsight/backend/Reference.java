package stormsight.backend;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntUnaryOperator;
import org.apache.commons.statistics.distribution.NormalDistribution;
import stormsight.checkpoint.HostTensor;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;

/** Runs a case by the formulas alone, over arrays of double, sharing no code with any backend. */
final class Reference {
    private final Map<Tensor, double[][]> values = new HashMap<>();
    private int layer;

    private Reference() {}

    static Map<Tensor, MemorySegment> run(OpCase.Setup setup) {
        Reference reference = new Reference();
        setup.weights().forEach((tensor, value) -> reference.values.put(tensor, weights(value)));
        setup.inputs().forEach((tensor, data) -> {
            double[] array = reference.of(tensor);
            for (int i = 0; i < array.length; i++) {
                array[i] = switch (tensor.dtype()) {
                    case I32 -> data.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, i);
                    case U8 -> data.getAtIndex(ValueLayout.JAVA_BYTE, i);
                    default -> data.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
                };
            }
        });
        for (OpCase.Run run : setup.runs()) {
            for (Segment segment : run.program().segments()) {
                for (reference.layer = segment.firstLayer(); reference.layer < segment.firstLayer()
                        + segment.layers(); reference.layer++) {
                    segment.ops().forEach(op -> reference.run(op, run.step()));
                }
            }
        }
        Map<Tensor, MemorySegment> outputs = new LinkedHashMap<>();
        for (Tensor output : setup.outputs()) {
            MemorySegment data = MemorySegment.ofArray(new byte[Math.toIntExact(output.bytes())]);
            int at = 0;
            for (double[] array : reference.all(output)) {
                for (double value : array) {
                    if (output.dtype() == DType.I32) {
                        data.setAtIndex(ValueLayout.JAVA_INT_UNALIGNED, at++, (int) value);
                    } else {
                        data.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, at++, (float) value);
                    }
                }
            }
            outputs.put(output, data);
        }
        return outputs;
    }

    private static double[][] weights(HostTensor value) {
        double[][] layers = new double[value.layers().size()][];
        int columns = value.shape().columns();
        for (int l = 0; l < layers.length; l++) {
            MemorySegment data = value.layers().get(l);
            layers[l] = new double[Math.toIntExact(value.shape().elements())];
            for (int i = 0; i < layers[l].length; i++) {
                layers[l][i] = switch (value.dtype()) {
                    case F32 -> data.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
                    case BF16 -> Float.intBitsToFloat(data.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i) << 16);
                    case F16 -> {
                        int bits = data.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i);
                        int exponent = bits >> 10 & 31;
                        double mantissa = (bits & 1023) / 1024.0;
                        double size = exponent == 0 ? mantissa * 0x1p-14 : (1 + mantissa) * Math.scalb(1.0, exponent - 15);
                        yield bits < 0 ? -size : size;
                    }
                    case Q8 -> {
                        long scale = (long) i / columns * ((columns + 31) / 32) + i % columns / 32;
                        long scales = (value.shape().elements() + 3) / 4 * 4;
                        yield (double) data.get(ValueLayout.JAVA_BYTE, i)
                                * data.get(ValueLayout.JAVA_FLOAT_UNALIGNED, scales + 4 * scale);
                    }
                    case I32, U8 -> throw new IllegalStateException();
                };
            }
        }
        return layers;
    }

    private double[][] all(Tensor tensor) {
        return values.computeIfAbsent(tensor,
                t -> new double[t.layers()][Math.toIntExact(t.shape().elements())]);
    }

    private double[] of(Tensor tensor) {
        return all(tensor)[tensor.layers() > 1 ? layer : 0];
    }

    private void run(Op op, Step step) {
        switch (op) {
            case Op.Embed o -> {
                int d = o.out().columns();
                for (int i = 0; i < Math.min(step.rows(), o.out().rows()); i++) {
                    int id = (int) of(o.ids())[i];
                    for (int c = 0; c < d; c++) {
                        of(o.out())[i * d + c] = id >= 0 ? o.scale() * of(o.table())[id * d + c]
                                : of(o.features().orElseThrow())[(-1 - id) * d + c];
                        if (o.positions().isPresent()) {
                            of(o.out())[i * d + c] += of(o.positions().get())[(step.position() + i) * d + c];
                        }
                    }
                }
            }
            case Op.MatMul o -> {
                int m = o.out().columns();
                double[] bias = o.bias().map(this::of).orElse(new double[m]);
                double[] residual = o.residual().map(this::of).orElse(new double[of(o.out()).length]);
                double[] y = product(o.x(), o.w(), Math.min(step.rows(), o.out().rows()));
                for (int i = 0; i < y.length; i++) {
                    y[i] += bias[i % m];
                    y[i] = activate(o.activation(), y[i]);
                    y[i] += residual[i];
                }
                System.arraycopy(y, 0, of(o.out()), 0, y.length);
            }
            case Op.GatedMatMul o -> {
                int rows = Math.min(step.rows(), o.out().rows());
                double[] gate = product(o.x(), o.gate(), rows);
                double[] up = product(o.x(), o.up(), rows);
                double[] out = of(o.out());
                for (int i = 0; i < gate.length; i++) {
                    out[i] = activate(o.activation(), gate[i]) * up[i];
                }
            }
            case Op.LayerNorm o -> norm(of(o.x()), of(o.w()), of(o.bias()), new double[of(o.out()).length], o.epsilon(), true,
                    Math.min(step.rows(), o.out().rows()), of(o.out()));
            case Op.RmsNorm o -> norm(of(o.x()), of(o.w()), new double[o.w().columns()],
                    o.residual().map(this::of).orElse(new double[of(o.out()).length]).clone(), o.epsilon(), false,
                    Math.min(step.rows(), o.out().rows()), of(o.out()));
            case Op.Rope o -> {
                int d = o.headDim();
                for (int i = 0; i < Math.min(step.rows(), o.x().rows()) * o.heads(); i++) {
                    int angles = (step.position() + i / o.heads()) * d;
                    for (int c = 0; c < d / 2; c++) {
                        double a = of(o.x())[i * d + c];
                        double b = of(o.x())[i * d + c + d / 2];
                        double cosine = of(o.table())[angles + c];
                        double sine = of(o.table())[angles + c + d / 2];
                        of(o.x())[i * d + c] = a * cosine - b * sine;
                        of(o.x())[i * d + c + d / 2] = b * cosine + a * sine;
                    }
                }
            }
            case Op.Store o -> System.arraycopy(of(o.x()), 0, of(o.cache()), step.position() * o.x().columns(),
                    step.rows() * o.x().columns());
            case Op.Copy o -> System.arraycopy(of(o.x()), 0, of(o.out()), 0,
                    Math.min(step.rows(), o.out().rows()) * o.x().columns());
            case Op.LastRow o -> System.arraycopy(of(o.x()), (step.rows() - 1) * o.x().columns(), of(o.out()), 0, o.x().columns());
            case Op.MeanRows o -> {
                int rows = Math.min(step.rows(), o.x().rows());
                for (int c = 0; c < o.x().columns(); c++) {
                    of(o.out())[c] = 0;
                    for (int i = 0; i < rows; i++) {
                        of(o.out())[c] += of(o.x())[i * o.x().columns() + c] / rows;
                    }
                }
            }
            case Op.SoftCap o -> {
                double[] x = of(o.x());
                for (int i = 0; i < step.rows() * o.x().columns(); i++) {
                    x[i] = o.cap() * Math.tanh(x[i] / o.cap());
                }
            }
            case Op.Attention o -> attend(o, step, Math.min(step.rows(), o.out().rows()), (_, _, _) -> false, of(o.out()), (_, _, _, _) -> {});
            case Op.BlockedAttention o -> {
                int tokens = o.blocked().columns();
                double[] flags = of(o.flags());
                attend(o.attention(), step, Math.min(step.rows(), o.attention().out().rows()),
                        (h, i, j) -> flags[layer * o.flags().columns() + h] != 0 && i < tokens && j < tokens && of(o.blocked())[i * tokens + j] != 0,
                        of(o.attention().out()), (_, _, _, _) -> {});
            }
            case Op.AttentionWeights o -> {
                int place = o.part().place(layer);
                int heads = o.part().heads().size();
                int keys = o.out().columns();
                int planes = o.headMean() ? 1 : heads;
                if (place == 0 || place > 0 && o.kept() != Op.Kept.SUM) {
                    tapped(o.attention(), o.part(), step, o.rows(), keys, (_, h, row, key) -> of(o.out())[at(o, place, planes, h, row) + key] = 0);
                }
                if (place >= 0) {
                    attend(o.attention(), step, Math.min(step.rows(), o.attention().q().rows()), (_, _, _) -> false, null, (head, i, j, weight) -> {
                        int h = o.part().heads().indexOf(head);
                        int row = i - o.part().firstRow();
                        int key = j - o.part().firstKey();
                        if (h >= 0 && row >= 0 && row < o.rows() && key >= 0 && key < keys) {
                            of(o.out())[at(o, place, planes, h, row) + key] += weight / (o.headMean() ? heads : 1);
                        }
                    });
                }
            }
            case Op.AttentionPeak o -> {
                int place = o.part().place(layer);
                if (place >= 0) {
                    double[] out = of(o.out());
                    int rows = o.out().columns();
                    int heads = o.part().heads().size();
                    tapped(o.attention(), o.part(), step, rows, 1, (_, h, row, _) -> out[(place * heads + h) * rows + row] = 0);
                    attend(o.attention(), step, Math.min(step.rows(), o.attention().q().rows()), (_, _, _) -> false, null, (head, i, j, weight) -> {
                        int h = o.part().heads().indexOf(head);
                        int row = i - o.part().firstRow();
                        int key = j - o.part().firstKey();
                        if (h >= 0 && row >= 0 && row < rows && key >= 0 && key < o.keys()) {
                            int at = (place * heads + h) * rows + row;
                            out[at] = Math.max(out[at], weight);
                        }
                    });
                }
            }
            case Op.RowMax o -> {
                if (o.layers().contains(layer)) {
                    for (int i = 0; i < Math.min(step.rows(), o.x().rows()); i++) {
                        double largest = Double.NEGATIVE_INFINITY;
                        for (int c = 0; c < o.x().columns(); c++) {
                            largest = Math.max(largest, of(o.x())[i * o.x().columns() + c]);
                        }
                        of(o.out())[o.layers().indexOf(layer) * o.x().rows() + i] = largest;
                    }
                }
            }
            case Op.Sample o -> sample(o, step);
        }
    }

    private static int at(Op.AttentionWeights o, int place, int planes, int h, int row) {
        int plane = (o.kept() == Op.Kept.EACH ? place * planes : 0) + (o.headMean() ? 0 : h);
        return (plane * o.rows() + row) * o.out().columns();
    }

    private interface Tapped {
        void at(int head, int h, int row, int key);
    }

    /** Visits what a probe writes, without its value. */
    private static void tapped(Op.Attention attention, Op.Part part, Step step, int rows, int keys, Tapped visitor) {
        for (int h = 0; h < part.heads().size(); h++) {
            for (int row = 0; row < rows && part.firstRow() + row < Math.min(step.rows(), attention.q().rows()); row++) {
                for (int key = 0; key < keys && part.firstKey() + key < attention.keys().count(step); key++) {
                    visitor.at(part.heads().get(h), h, row, key);
                }
            }
        }
    }

    private double[] product(Tensor x, Tensor w, int rows) {
        int k = w.columns();
        int m = w.rows();
        double[] a = of(x);
        double[] b = of(w);
        double[] y = new double[rows * m];
        for (int i = 0; i < y.length; i++) {
            for (int c = 0; c < k; c++) {
                y[i] += a[i / m * k + c] * b[i % m * k + c];
            }
        }
        return y;
    }

    private static double activate(Op.Activation activation, double x) {
        return switch (activation) {
            case NONE -> x;
            case GELU_TANH -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
            case GELU_ERF -> x * NormalDistribution.of(0, 1).cumulativeProbability(x);
            case QUICK_GELU -> x / (1 + Math.exp(-1.702 * x));
            case SILU -> x / (1 + Math.exp(-x));
            case RELU -> x < 0 ? 0 : x;
        };
    }

    private static void norm(double[] x, double[] w, double[] bias, double[] residual, double epsilon, boolean centred, int rows,
            double[] out) {
        int d = w.length;
        for (int i = 0; i < rows; i++) {
            double mean = 0;
            double variance = 0;
            for (int c = 0; c < d; c++) {
                mean += centred ? x[i * d + c] / d : 0;
            }
            for (int c = 0; c < d; c++) {
                variance += (x[i * d + c] - mean) * (x[i * d + c] - mean) / d;
            }
            for (int c = 0; c < d; c++) {
                out[i * d + c] = residual[i * d + c] + (x[i * d + c] - mean) / Math.sqrt(variance + epsilon) * w[c] + bias[c];
            }
        }
    }

    private interface Blocked {
        boolean test(int head, int token, int key);
    }

    private interface Weight {
        void put(int head, int row, int key, double weight);
    }

    private void attend(Op.Attention o, Step step, int rows, Blocked blocked, double[] out, Weight listener) {
        int d = o.heads().headDim();
        int group = o.heads().queryHeads() / o.heads().keyValueHeads();
        int keys = o.keys().fixed() > 0 ? o.keys().fixed() : step.position() + step.rows();
        double[] queries = of(o.q());
        double[] k = of(o.k());
        double[] v = of(o.v());
        for (int i = 0; i < rows; i++) {
            int token = step.position() + i;
            for (int h = 0; h < o.heads().queryHeads(); h++) {
                int q = i * o.heads().queryColumns() + h * d;
                int head = h / group * d;
                IntUnaryOperator row = j -> j * o.heads().keyValueColumns() + head;
                double[] weights = new double[keys];
                double sum = 0;
                for (int j = 0; j < keys; j++) {
                    boolean slides = o.window().isPresent() && layer % o.window().get().period() == 0;
                    boolean visible = o.keys().fixed() > 0 || (token < step.prefixLength() ? j < step.prefixLength()
                            : j <= token && (!slides || token - j < o.window().get().size()));
                    double score = 0;
                    for (int c = 0; c < d; c++) {
                        score += o.scale() * queries[q + c] * k[row.applyAsInt(j) + c];
                    }
                    score = o.softCap() == 0 ? score : o.softCap() * Math.tanh(score / o.softCap());
                    weights[j] = visible && !blocked.test(h, token, j) ? Math.exp(score) : 0;
                    sum += weights[j];
                }
                for (int j = 0; j < keys; j++) {
                    weights[j] /= sum == 0 ? 1 : sum;
                    listener.put(h, i, j, weights[j]);
                }
                for (int c = 0; c < d && out != null; c++) {
                    out[q + c] = 0;
                    for (int j = 0; j < keys; j++) {
                        out[q + c] += weights[j] * v[row.applyAsInt(j) + c];
                    }
                }
            }
        }
    }

    /** By a full sort. */
    private void sample(Op.Sample o, Step step) {
        double[] z = new double[o.logits().columns()];
        System.arraycopy(of(o.logits()), (Math.min(step.rows(), o.logits().rows()) - 1) * z.length, z, 0, z.length);
        double[] parts = of(o.parts());
        double max = Double.NEGATIVE_INFINITY;
        double sum = 0;
        boolean numbers = true;
        for (int i = 0; i < z.length; i++) {
            numbers &= parts[i] == Op.Sample.PADDING || !Double.isNaN(z[i]);
            max = parts[i] == Op.Sample.DRAWN && z[i] > max ? z[i] : max;
        }
        if (!numbers) {
            of(o.token())[0] = -1;
            of(o.logProbability())[0] = Double.NaN;
            return;
        }
        List<Integer> order = new ArrayList<>();
        for (int i = 0; i < z.length; i++) {
            sum += parts[i] == Op.Sample.PADDING ? 0 : Math.exp(z[i] - max);
            if (parts[i] == Op.Sample.DRAWN) {
                order.add(i);
            }
        }
        Sampling sampling = step.sampling();
        // A stable sort leaves equal ones in order of ids; adding 0 makes a negative zero equal to a positive one.
        order.sort((a, b) -> Double.compare(z[b] + 0.0, z[a] + 0.0));
        int token = order.get(0);
        if (!sampling.greedy()) {
            int kept = sampling.topK() == 0 ? order.size() : Math.min(sampling.topK(), order.size());
            double[] p = new double[z.length];
            double keptSum = 0;
            for (int i : order.subList(0, kept)) {
                p[i] = Math.exp((z[i] - max) / sampling.temperature());
                keptSum += p[i];
            }
            double cumulated = 0;
            if (sampling.topP() < 1) {
                int shortest = 0;
                while (shortest < kept && cumulated < sampling.topP() * keptSum) {
                    cumulated += p[order.get(shortest++)];
                }
                kept = shortest;
                keptSum = cumulated;
            }
            List<Integer> ids = new ArrayList<>(order.subList(0, kept));
            ids.sort(null);
            cumulated = 0;
            for (int id : ids) {
                cumulated += p[id];
                if (cumulated > step.coin() * keptSum) {
                    token = id;
                    break;
                }
            }
        }
        of(o.token())[0] = token;
        of(o.logProbability())[0] = z[token] - max - Math.log(sum);
    }
}

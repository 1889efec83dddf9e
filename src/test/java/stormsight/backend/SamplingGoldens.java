package stormsight.backend;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import stormsight.program.DType;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Shape;
import stormsight.program.Step;
import stormsight.program.Tensor;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/**
 * Recorded sets of tokens that top-p keeps, and their probabilities. A backend shows its set by what it draws for coins
 * inside the interval of each kept token, near both ends and in the middle: a token too many or too few moves those of
 * the others.
 */
public final class SamplingGoldens {
    private static final String FOLDER = "/goldens/sampling/";

    /** A coin has 24 bits: intervals much longer than that can be aimed at. */
    private static final double SHORTEST_INTERVAL = 1e-5;

    /** Recorded probabilities are F32 softmaxes. */
    private static final double PROBABILITY_TOLERANCE = 1e-6;

    private static final double[] WITHIN = {0.02, 0.5, 0.98};

    private SamplingGoldens() {}

    /** @throws AssertionError naming case and token */
    public static int check(Backend backend) {
        Map<String, float[]> tensors = tensors();
        int checked = 0;
        for (JsonNode golden : new ObjectMapper().readTree(bytes("expected.json")).get("cases")) {
            String id = golden.get("id").asString();
            float[] logits = tensors.get(golden.get("logits").asString());
            double temperature = golden.get("temperature").asDouble();
            List<Integer> kept = kept(golden, logits);
            double[] weights = new double[logits.length];
            double sum = 0;
            double max = IntStream.range(0, logits.length).mapToDouble(i -> logits[i]).max().orElseThrow();
            for (int token : kept) {
                weights[token] = Math.exp((logits[token] - max) / temperature);
                sum += weights[token];
            }
            checkProbabilities(id, golden.get("cut_inside_ties").asBoolean(), tensors.get("probs." + id), weights, sum);
            draw(backend, id, logits, new Sampling((float) temperature, 0, (float) golden.get("top_p").asDouble()),
                    kept, weights, sum);
            checked++;
        }
        return checked;
    }

    /** The recorded ids, or where the cut goes through equal logits as many of the lowest ids as were recorded. */
    private static List<Integer> kept(JsonNode golden, float[] logits) {
        List<Integer> kept = new ArrayList<>();
        if (golden.get("cut_inside_ties").asBoolean()) {
            IntStream.range(0, logits.length).boxed().sorted(Comparator.comparingDouble(i -> -logits[i]))
                    .limit(golden.get("kept_count").asInt()).sorted().forEach(kept::add);
        } else {
            golden.get("kept_ids").forEach(id -> kept.add(id.asInt()));
        }
        return kept;
    }

    private static void checkProbabilities(String id, boolean sorted, float[] recorded, double[] weights, double sum) {
        double[] expected = IntStream.range(0, recorded.length).mapToDouble(i -> recorded[i]).toArray();
        double[] actual = IntStream.range(0, weights.length).mapToDouble(i -> weights[i] / sum).toArray();
        if (sorted) {
            Arrays.sort(expected);
            Arrays.sort(actual);
        }
        for (int i = 0; i < expected.length; i++) {
            if (Math.abs(expected[i] - actual[i]) > PROBABILITY_TOLERANCE) {
                throw new AssertionError(id + ": probability " + actual[i] + " of token " + i + ", recorded "
                        + expected[i]);
            }
        }
    }

    private static void draw(Backend backend, String id, float[] logits, Sampling sampling, List<Integer> kept,
            double[] weights, double sum) {
        Tensor input = new Tensor("logits", DType.F32, Shape.of(1, logits.length), Tensor.Kind.INPUT, 1);
        Tensor parts = new Tensor("parts", DType.U8, Shape.of(logits.length), Tensor.Kind.INPUT, 1);
        Tensor token = new Tensor("token", DType.I32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
        Tensor logProbability = new Tensor("logProbability", DType.F32, Shape.of(1), Tensor.Kind.OUTPUT, 1);
        Program program = new Program("draw",
                List.of(Segment.once("sample", List.of(new Op.Sample(input, parts, token, logProbability)))));
        MemorySegment drawn = MemorySegment.ofArray(new int[1]);
        try (Executor executor = backend.prepare(Map.of(), List.of(program), RunListener.NONE)) {
            executor.write(input, MemorySegment.ofArray(logits));
            executor.write(parts, MemorySegment.ofArray(new byte[logits.length]));
            double start = 0;
            for (int expected : kept) {
                double length = weights[expected] / sum;
                for (double within : WITHIN) {
                    float coin = (float) (start + within * length);
                    if (length < SHORTEST_INTERVAL || coin >= 1) {
                        continue;
                    }
                    executor.run(program, new Step(0, 1, 0, coin, sampling));
                    executor.read(token, drawn);
                    int actual = drawn.getAtIndex(ValueLayout.JAVA_INT, 0);
                    if (actual != expected) {
                        throw new AssertionError(id + ": coin " + coin + " drew token " + actual + ", expected "
                                + expected);
                    }
                }
                start += length;
            }
        }
    }

    /** The F32 tensors of the recorded safetensors file: eight bytes of header length, a JSON header, the data. */
    private static Map<String, float[]> tensors() {
        ByteBuffer file = ByteBuffer.wrap(bytes("expected.safetensors")).order(ByteOrder.LITTLE_ENDIAN);
        int length = (int) file.getLong(0);
        JsonNode header = new ObjectMapper().readTree(new String(file.array(), 8, length, StandardCharsets.UTF_8));
        Map<String, float[]> tensors = new HashMap<>();
        header.propertyStream().filter(entry -> entry.getValue().has("data_offsets")).forEach(entry -> {
            int from = entry.getValue().get("data_offsets").get(0).asInt();
            int to = entry.getValue().get("data_offsets").get(1).asInt();
            float[] values = new float[(to - from) / 4];
            file.slice(8 + length + from, to - from).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
            tensors.put(entry.getKey(), values);
        });
        return tensors;
    }

    private static byte[] bytes(String name) {
        try (InputStream in = SamplingGoldens.class.getResourceAsStream(FOLDER + name)) {
            return in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}

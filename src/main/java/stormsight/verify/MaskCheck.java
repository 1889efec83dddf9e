package stormsight.verify;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import stormsight.backend.Backend;
import stormsight.checkpoint.Checkpoint;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.JsonRecord;
import stormsight.generate.MaskDecoder;
import stormsight.generate.MaskMap;
import stormsight.model.ModelDirectory;

/**
 * Compares masks with recorded ones: {@code codes} in the record, {@code masks} [n, 64, 64] and {@code mask_box.i}
 * [height, width]. Values of the encoder, which models do not have, are left alone.
 */
final class MaskCheck {
    /** A second form of the same file, as {@code numpy.savez_compressed} writes it. */
    private static final String COMPRESSED = "vae-oid-compressed.npz";

    /** F32 sums of up to 1152 products, a dozen of them one behind the other, of values up to 3. */
    private static final double MASKS = 1e-4;

    private final Path folder;
    private final Backend backend;
    private final Recorded recorded;
    private final List<List<Integer>> codes = new ArrayList<>();
    private boolean failed;

    private MaskCheck(Path folder, Backend backend, Checkpoint values, JsonRecord expected,
            Consumer<GoldenCheck.Result> listener) {
        this.folder = folder;
        this.backend = backend;
        recorded = new Recorded(folder.resolve("expected.safetensors"), values, "", (name, error, tolerance) -> {
            GoldenCheck.Result result = new GoldenCheck.Result(name, error, tolerance);
            failed |= !result.passed();
            listener.accept(result);
        });
        for (JsonRecord each : expected.get("codes").elements()) {
            codes.add(Arrays.stream(each.indices(Integer.MAX_VALUE)).boxed().toList());
        }
    }

    /** As {@link GoldenCheck#run}, of a folder with a mask decoder. */
    static boolean run(Path folder, Backend backend, boolean stopAtFailure, Consumer<GoldenCheck.Result> listener) {
        Path json = folder.resolve("expected.json");
        try (Checkpoint values = Checkpoint.openFile(folder.resolve("expected.safetensors"))) {
            MaskCheck check = new MaskCheck(folder, backend, values, JsonRecord.read(json), listener);
            check.compare(stopAtFailure);
            return !check.failed;
        } catch (IOException e) {
            throw new CheckpointException(json, "cannot be read: " + e.getMessage(), e);
        } catch (JsonRecord.WrongShapeException e) {
            throw new CheckpointException(json, e.problem(), e);
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(json, "codes that are none: " + e.getMessage(), e);
        }
    }

    private void compare(boolean stopAtFailure) {
        List<MaskMap> masks = masks(ModelDirectory.MASK_DECODER);
        recorded.compare("masks", joined(masks), recorded.values("masks"), MASKS);
        for (int i = 0; i < masks.size() && !(failed && stopAtFailure); i++) {
            String name = "mask_box." + i;
            int height = recorded.info(name).shape().dimension(0);
            float[] resized = masks.get(i).resized(recorded.info(name).shape().columns(), height);
            recorded.compare(name, resized, recorded.values(name), MASKS);
        }
        if (!(failed && stopAtFailure)) {
            recorded.compare("masks, compressed file", joined(masks(COMPRESSED)), recorded.values("masks"), MASKS);
        }
    }

    private List<MaskMap> masks(String file) {
        try (MaskDecoder decoder = MaskDecoder.open(folder.resolve(file), backend)) {
            return codes.stream().map(decoder::decode).toList();
        }
    }

    private static float[] joined(List<MaskMap> masks) {
        return GoldenCheck.joined(masks.stream().map(MaskMap::values).toList());
    }
}

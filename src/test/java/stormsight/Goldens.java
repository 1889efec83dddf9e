package stormsight;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import stormsight.checkpoint.Checkpoint;

/** Folders of values that transformers computed; see their expected.json. */
public final class Goldens {
    /** The checkpoints of models that answer. */
    public static final List<String> MODELS = List.of(
            "paligemma-mqa",
            "paligemma-gqa",
            "paligemma-bf16",
            "paligemma-sharded",
            "paligemma2",
            "paligemma2-window",
            "paligemma-multi",
            "paligemma-lora",
            "llava",
            "llava-chat",
            "llava-chat-gqa",
            "llava-next",
            "llava-next-mistral",
            "blip2-opt",
            "blip2-opt-old");

    /** The checkpoints of models that compare images with texts, or name what is on them. */
    public static final List<String> ENCODERS =
            List.of("siglip", "siglip2", "clip", "clip-eos", "vit", "zeroshot-clip", "zeroshot-siglip", "blip2-itm",
                    "shapes-dual");

    /** Values of the decoder of masks. */
    public static final String MASKS = "segmentation";

    private Goldens() {}

    /** Copies a folder, so that it can be changed. */
    public static void copy(String name, Path target) throws IOException {
        try (Stream<Path> files = Files.list(folder(name))) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, target.resolve(file.getFileName().toString()), StandardCopyOption.REPLACE_EXISTING);
            }
        }
    }

    /** Overwrites the first number of an F32 tensor of a copied checkpoint. */
    public static void change(Path folder, String tensor, float value) throws IOException {
        long offset;
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            offset = checkpoint.info(tensor).offset();
        }
        Path weights = folder.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putFloat(Math.toIntExact(offset), value);
        Files.write(weights, bytes);
    }

    public static Path folder(String name) {
        try {
            URI uri = Objects.requireNonNull(Goldens.class.getResource("/goldens/" + name), name).toURI();
            return Path.of(uri);
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }
}

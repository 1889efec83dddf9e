package stormsight.checkpoint;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * The files beside a model's weights: config.json, preprocessor_config.json, tokenizer.json. Where one of them is
 * missing and the weights are GGUF, it is made from what these say of themselves, except for a
 * preprocessor_config.json where processor_config.json, as transformers 5 writes it, stands for it.
 *
 * <p>A folder may hold several decoders in GGUF. Where one of them is named in place of the folder, files are asked for
 * as if they lay within it: {@code model-q4.gguf/config.json} is the config.json beside that file, or made of it.
 */
public final class ModelFiles {
    /** How big_vision calls the mask decoder of PaliGemma. */
    public static final String MASK_DECODER = "vae-oid.npz";

    private ModelFiles() {}

    /** Whether the file is there or can be made. */
    public static boolean exists(Path file) {
        return Files.exists(located(file)) || maker(file).isPresent();
    }

    /** Where a file is to lie: beside a decoder in GGUF that was named in place of the folder, else where it says. */
    public static Path located(Path file) {
        Path model = file.getParent();
        return model != null && Gguf.isNamed(model) && Files.isRegularFile(model)
                ? model.resolveSibling(file.getFileName())
                : file;
    }

    /**
     * Opens a file that is there, or what is made in its place.
     *
     * @param most bytes that a file may have
     * @throws CheckpointException if there is neither, the file is larger, or what it is made from does not do
     * @throws IOException if it cannot be read
     */
    public static InputStream open(Path file, long most) throws IOException {
        Optional<GgufBesides> maker = maker(file);
        if (maker.isPresent()) {
            return new ByteArrayInputStream(maker.get().file(name(file)));
        }
        Path there = located(file);
        StrictJson.requireFile(there);
        InputStream in = Files.newInputStream(there);
        long bytes = Files.size(there);
        if (bytes > most) {
            in.close();
            throw new CheckpointException(there, bytes + " bytes, at most " + most + " expected");
        }
        return in;
    }

    /** The content of a file, see {@link #open}. */
    public static byte[] bytes(Path file) throws IOException {
        try (InputStream in = open(file, Long.MAX_VALUE)) {
            return in.readAllBytes();
        }
    }

    /** What messages call a file: nobody is to look for one that is not there. */
    public static Path shown(Path file) {
        Path there = located(file);
        return maker(file).isPresent() ? there.resolveSibling(name(file) + " (made of GGUF)") : there;
    }

    private static Optional<GgufBesides> maker(Path file) {
        Path there = located(file);
        return Files.exists(there)
                        || !GgufBesides.NAMES.contains(name(file))
                        || name(file).equals(GgufBesides.PREPROCESSOR)
                                && Files.exists(there.resolveSibling("processor_config.json"))
                ? Optional.empty()
                : GgufBesides.of(file.toAbsolutePath().getParent());
    }

    private static String name(Path file) {
        return file.getFileName().toString();
    }
}

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
 */
public final class ModelFiles {
    private ModelFiles() {}

    /** Whether the file is there or can be made. */
    public static boolean exists(Path file) {
        return Files.exists(file) || maker(file).isPresent();
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
        StrictJson.requireFile(file);
        InputStream in = Files.newInputStream(file);
        long bytes = Files.size(file);
        if (bytes > most) {
            in.close();
            throw new CheckpointException(file, bytes + " bytes, at most " + most + " expected");
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
        return maker(file).isPresent() ? file.resolveSibling(name(file) + " (made of GGUF)") : file;
    }

    private static Optional<GgufBesides> maker(Path file) {
        return Files.exists(file)
                        || !GgufBesides.NAMES.contains(name(file))
                        || name(file).equals(GgufBesides.PREPROCESSOR)
                                && Files.exists(file.resolveSibling("processor_config.json"))
                ? Optional.empty()
                : GgufBesides.of(file.toAbsolutePath().getParent());
    }

    private static String name(Path file) {
        return file.getFileName().toString();
    }
}

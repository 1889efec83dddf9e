package stormsight.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a user named as a model, recognised by its name and its first bytes before anything is parsed: a message then
 * says what the user has and what to do next, and not what a parser stumbled over.
 */
public final class ModelPath {
    private static final String CONFIG = "config.json";
    static final String ADAPTER = "adapter_config.json";
    static final String ADAPTER_WEIGHTS = "adapter_model.safetensors";
    private static final String TOKENIZER = "tokenizer.json";

    /** A repository, as people copy its name or its address. */
    private static final Pattern REPOSITORY = Pattern.compile(
            "(?:(?:https?:/+)?(?:www\\.)?(?:huggingface\\.co|hf\\.co)/|hf:/+)?"
                    + "([A-Za-z0-9][\\w.-]*/[A-Za-z0-9][\\w.-]*?)(?:/(?:tree|blob|resolve)/.*|/)?");

    private static final Pattern URL = Pattern.compile("[A-Za-z][A-Za-z0-9+.-]+:/.*", Pattern.DOTALL);

    /** Of a Git LFS pointer, which stands in place of a large file. */
    private static final String LFS = "version https://git-lfs";
    /** A pointer takes some 130 bytes. */
    private static final int LFS_BYTES = 1024;

    static final String CONVERTED = "download the model as transformers has it, with model.safetensors";
    private static final String CONVERT =
            CONVERTED + ", or convert it with transformers: from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)";
    /** What GGUF is read. */
    private static final String GGUF = "weights in llama.cpp's format GGUF, which are read of a PaliGemma: a file of "
            + "its decoder and one of its vision tower, named .gguf";

    private static final int SHOWN = 200;
    /** Names of files that a message lists. */
    private static final int LISTED = 3;

    private ModelPath() {}

    /**
     * The folder of the checkpoint that was named: the folder itself, the snapshot in a folder of Hugging Face's cache,
     * or that of a {@code file:} URL. Where a decoder's file in GGUF was named, that file: its folder may hold others,
     * see {@link ModelFiles}.
     *
     * @throws CheckpointException if there is none, or it holds what cannot be run; the message says what it is and
     *     what to do
     */
    public static Path resolve(Path named) {
        if (named.toString().isEmpty()) {
            throw refused(Path.of("''"), "is an empty name; name the folder of a model");
        }
        Path path = local(named);
        if (!Files.exists(path)) {
            throw absent(path);
        }
        if (Gguf.isNamed(path) && start(path).startsWith(GgufHeader.MAGIC)) {
            requireDecoder(path);
            return path;
        }
        if (!Files.isDirectory(path)) {
            throw refused(path, "is a file: " + file(path));
        }
        Path folder = snapshot(path, CONFIG);
        refusePointers(folder, _ -> true);
        refuseStrangers(folder, ".*\\.(safetensors|json)");
        refuseWithoutConfig(folder);
        refuseQuantized(folder);
        return folder;
    }

    /**
     * The folder of the adapter that was named, see {@link #resolve}.
     *
     * @throws CheckpointException if there is none, or it holds no adapter that can be read; the message says what it
     *     is and what to do
     */
    static Path resolveAdapter(Path named) {
        Path path = local(named);
        if (!Files.exists(path)) {
            throw absent(path);
        }
        if (!Files.isDirectory(path)) {
            throw refused(path, "is a file: an adapter is a folder with " + ADAPTER + " and " + ADAPTER_WEIGHTS);
        }
        Path folder = snapshot(path, ADAPTER);
        refusePointers(folder, _ -> true);
        refuseStrangers(folder, ".*\\.(safetensors|json)");
        if (!Files.exists(folder.resolve(ADAPTER))) {
            List<Path> inner = list(folder, inside -> Files.exists(inside.resolve(ADAPTER)));
            throw refused(folder, inner.isEmpty()
                    ? "is no adapter as PEFT saves it: " + ADAPTER + " is missing"
                            + (Files.exists(folder.resolve(CONFIG)) ? "; a model is named with --model" : "")
                    : "no " + ADAPTER + " in this directory, but in " + names(inner) + ": name that folder");
        }
        if (!Files.exists(folder.resolve(ADAPTER_WEIGHTS))) {
            throw refused(folder, Files.exists(folder.resolve("adapter_model.bin"))
                    ? "holds adapter_model.bin: weights of PyTorch, which are programs and not read; save the adapter "
                            + "anew with peft: save_pretrained(NEW_FOLDER, safe_serialization=True)"
                    : ADAPTER_WEIGHTS + " is missing; download it, too");
        }
        return folder;
    }

    private static CheckpointException refused(Path path, String problem) {
        String shown = path.toString();
        return new CheckpointException(
                shown.length() <= SHOWN ? path : Path.of(shown.substring(0, SHOWN) + "..."), problem);
    }

    private static String download(String repository) {
        return "hf download " + repository + " --local-dir " + repository.substring(repository.indexOf('/') + 1);
    }

    private static Path local(Path named) {
        String text = named.toString();
        if (text.startsWith("file:/")) {
            try {
                return Path.of(URI.create(text.replaceFirst("^file:/+", "file:///")));
            } catch (IllegalArgumentException e) {
                throw refused(
                        named, "is not a URL of a folder on this machine: " + StrictJson.printable(e.getMessage()));
            }
        }
        if (URL.matcher(text).matches()) {
            Matcher repository = REPOSITORY.matcher(text);
            throw refused(
                    named,
                    "is a URL, and nothing is downloaded here: "
                            + (repository.matches()
                                    ? "run `" + download(repository.group(1)) + "` and name the folder that it makes"
                                    : "download the model's files into a folder and name that"));
        }
        return named;
    }

    /** Looks at a file in GGUF that was named, and at those beside it that belong to it. Others may be anything. */
    private static void requireDecoder(Path file) {
        Path folder = folder(file);
        refusePointers(folder, path -> name(path).endsWith(".json") || name(path).contains("mmproj"));
        refuseStrangers(folder, ".*\\.json");
        if (!isTower(file)) {
            return;
        }
        List<Path> decoders = list(folder, path -> Gguf.isNamed(path)
                && GgufHeader.architecture(path).filter(name -> !name.equals(Gguf.TOWER)).isPresent());
        throw refused(file, "is the vision tower of a model in GGUF; " + (decoders.isEmpty()
                ? "download its decoder, too, and name that"
                : "name its decoder, such as " + file.resolveSibling(decoders.getFirst().getFileName())));
    }

    private static boolean isTower(Path file) {
        return GgufHeader.architecture(file).equals(Optional.of(Gguf.TOWER));
    }

    private static Path folder(Path file) {
        return file.toAbsolutePath().getParent();
    }

    private static CheckpointException absent(Path path) {
        if (Gguf.isNamed(path)) {
            return refused(path, "no such file");
        }
        Matcher repository = REPOSITORY.matcher(path.toString());
        if (repository.matches() && !path.isAbsolute()) {
            return refused(
                    path,
                    "no such directory; if that is a repository of Hugging Face, download it first: run `"
                            + download(repository.group(1)) + "` and name the folder that it makes");
        }
        return refused(path, "no such directory");
    }

    /** What a file is that was named in place of its folder. */
    private static String file(Path file) {
        String name = name(file);
        String start = start(file);
        String folder = "name the folder of the model" + (folder(file) == null ? "" : ", " + folder(file));
        if (start.startsWith(GgufHeader.MAGIC)) {
            return GGUF + "; let its name end so";
        }
        if (start.startsWith(LFS)) {
            return "a pointer of Git LFS in place of the weights; run `git lfs pull` in its folder, or download the "
                    + "model anew, and name the folder";
        }
        if (Gguf.isNamed(file)) {
            return "it has the name of GGUF, but does not begin with " + GgufHeader.MAGIC + "; download it anew";
        }
        if (name.endsWith(".safetensors") || name.endsWith(".json")) {
            return "one of a model's; " + folder;
        }
        if (name.endsWith(".bin") || name.endsWith(".pt") || name.endsWith(".pth") || name.endsWith(".ckpt")) {
            return "weights of PyTorch, which are programs and not read; " + CONVERT;
        }
        return name.endsWith(".npz")
                ? "weights of big_vision; " + CONVERTED
                : "a model is a folder with config.json, weights and tokenizer.json";
    }

    /**
     * The snapshot of a model in Hugging Face's cache; the folder itself if it is no such cache.
     *
     * @param config the file that is in the folder of a model
     */
    private static Path snapshot(Path folder, String config) {
        if (Files.exists(folder.resolve(config))) {
            return folder;
        }
        Path snapshots = folder.resolve("snapshots");
        if (Files.isDirectory(snapshots)) {
            Optional<Path> main = reference(folder.resolve("refs").resolve("main"))
                    .map(snapshots::resolve)
                    .filter(Files::isDirectory);
            List<Path> all = list(snapshots, Files::isDirectory);
            if (main.isEmpty() && all.size() != 1) {
                throw refused(
                        folder,
                        "is a model in the cache of Hugging Face with " + all.size() + " snapshots"
                                + (all.isEmpty()
                                        ? ": its download did not end, start it anew"
                                        : ": name one of them, such as " + all.getFirst()));
            }
            return main.orElseGet(all::getFirst);
        }
        Path hub = Files.isDirectory(folder.resolve("hub")) ? folder.resolve("hub") : folder;
        List<Path> models =
                list(hub, path -> name(path).startsWith("models--") && Files.isDirectory(path.resolve("snapshots")));
        if (models.size() == 1) {
            return snapshot(models.getFirst(), config);
        }
        if (!models.isEmpty()) {
            throw refused(folder, "is the cache of Hugging Face: name a model in it, such as " + models.getFirst());
        }
        return folder;
    }

    private static Optional<String> reference(Path file) {
        String hash = start(file).strip();
        return hash.matches("[0-9A-Za-z]+") ? Optional.of(hash) : Optional.empty();
    }

    private static void refusePointers(Path folder, Predicate<Path> looked) {
        List<Path> pointers = list(
                folder,
                path -> looked.test(path)
                        && Files.isRegularFile(path)
                        && size(path) <= LFS_BYTES
                        && start(path).startsWith(LFS));
        if (!pointers.isEmpty()) {
            throw refused(pointers.getFirst(), "is a pointer of Git LFS, not the file itself"
                    + (pointers.size() == 1 ? "" : " (as are " + (pointers.size() - 1) + " more)")
                    + "; run `git lfs install` and `git lfs pull` in this folder, or download the model anew");
        }
    }

    /** Files under the names of a model's that are something else. */
    private static void refuseStrangers(Path folder, String names) {
        for (Path file : list(folder, path -> name(path).matches(names))) {
            if (Files.isSymbolicLink(file) && !Files.exists(file)) {
                throw refused(
                        file,
                        "is a link to a file that is not there; copy the model with the files that its links lead to, "
                                + "as cp -rL does, or download it anew");
            }
            stranger(start(file), name(file).endsWith(".json")).ifPresent(what -> {
                throw refused(file, "is " + what);
            });
        }
    }

    /**
     * What a file is that is neither weights nor JSON, by its first bytes; empty if it may be what its name says.
     *
     * @param start as Latin-1
     */
    private static Optional<String> stranger(String start, boolean json) {
        // The length of a header of at most 100 MB, then the header.
        if (!json && start.startsWith("\0\0\0\0{", 4)) {
            return Optional.empty();
        }
        String text = start.strip().toLowerCase(Locale.ROOT);
        String instead = ", as servers send in place of a file that is not there or asks for a login; download the "
                + "file anew";
        if (text.startsWith("<!doctype html") || text.startsWith("<html") || text.startsWith("<?xml")) {
            return Optional.of("a web page (HTML or XML)" + instead);
        }
        if (start.startsWith(GgufHeader.MAGIC)) {
            return Optional.of(GGUF);
        }
        if (start.startsWith("PK\3\4") || start.startsWith("\u0080\2")) {
            return Optional.of("a ZIP archive or weights of PyTorch under another name; " + CONVERT);
        }
        return !json && text.matches("(?s)(\\{\\s*\"|invalid |not found|access to ).*")
                ? Optional.of("text" + instead)
                : Optional.empty();
    }

    private static void refuseWithoutConfig(Path folder) {
        if (ModelFiles.exists(folder.resolve(CONFIG))) {
            return;
        }
        Path adapter = folder.resolve(ADAPTER);
        if (Files.exists(adapter)) {
            String base = text(adapter, "base_model_name_or_path").map(name -> " for " + name).orElse("");
            throw refused(
                    folder,
                    "is an adapter (PEFT, such as LoRA)" + base
                            + " without the model that it adapts; name it with --adapter, and the folder of that model "
                            + "with --model");
        }
        Optional<CheckpointException> other = otherWeights(folder);
        if (other.isPresent()) {
            throw other.get();
        }
        if (Files.exists(folder.resolve("model_index.json"))) {
            throw refused(folder, "is a pipeline of diffusers, not a vision-language model");
        }
        List<Path> inner =
                list(folder, path -> Files.exists(path.resolve(CONFIG)) || Checkpoint.isGguf(path));
        if (!inner.isEmpty()) {
            throw refused(folder, "no config.json in this directory, but in " + names(inner) + ": name that folder");
        }
        throw refused(
                folder,
                "no config.json in this directory; a model is a folder with config.json, weights and tokenizer.json");
    }

    /** Weights in a format that is not read. */
    private static Optional<CheckpointException> otherWeights(Path folder) {
        List<Path> pickled = list(
                folder,
                path -> name(path).matches(".*\\.(bin|bin\\.index\\.json|pt|pth|ckpt)")
                        && !name(path).startsWith("training_args"));
        if (!pickled.isEmpty()) {
            return Optional.of(refused(
                    folder,
                    "holds " + names(pickled) + ": weights of PyTorch, which are programs and not read; " + CONVERT));
        }
        List<Path> others = list(folder, path -> name(path).matches(".*\\.(h5|msgpack|npz|onnx|mlmodel|tflite)"));
        if (!others.isEmpty()) {
            return Optional.of(refused(folder, "holds " + names(others) + " and no model.safetensors; " + CONVERTED));
        }
        return Optional.empty();
    }

    private static void refuseQuantized(Path folder) {
        ConfigFile config = ConfigFile.read(folder.resolve(CONFIG));
        // As MLX has it.
        if (config.hasObject("quantization") && config.has("quantization.bits")) {
            throw quantized(folder, "MLX" + bits(config, "quantization"));
        }
        for (String key : Quantization.KEYS) {
            if (config.has(key)
                    && !text(config, key + ".quant_method").equals(Optional.of(Quantization.METHOD))) {
                throw quantized(folder, method(config, key));
            }
        }
    }

    private static CheckpointException quantized(Path folder, String method) {
        return refused(
                folder.resolve(CONFIG),
                "the weights are quantized with " + method + ", which is not read here; download the model as it was "
                        + "before (--weights q8 makes it as small)");
    }

    private static String method(ConfigFile config, String key) {
        String method = text(config, key + ".quant_method").orElse("an unknown method");
        return StrictJson.printable(method) + bits(config, key);
    }

    private static String bits(ConfigFile config, String key) {
        String bits = config.isTrue(key + ".load_in_4bit") ? "4 bits" : config.isTrue(key + ".load_in_8bit") ? "8 bits"
                : config.scalar(key + ".bits").map(number -> number + " bits").orElse("");
        return bits.isEmpty() ? "" : " (" + StrictJson.printable(bits) + ")";
    }

    /** Bytes of a file, or of those in a folder, that seem to hold weights; 0 if there are none. No file is opened. */
    public static long weightBytes(Path model) {
        if (Gguf.isNamed(model) && Files.isRegularFile(model)) {
            return size(model);
        }
        long bytes = 0;
        try (DirectoryStream<Path> files = Files.newDirectoryStream(model)) {
            for (Path file : files) {
                if (name(file).endsWith(".safetensors") || Gguf.isNamed(file)) {
                    bytes += Files.size(file);
                }
            }
        } catch (IOException | DirectoryIteratorException e) {
            return 0;
        }
        return bytes;
    }

    /**
     * The GGUF files of a model: all of its folder or, where the decoder's file stands for the folder, that one and the
     * vision towers beside it.
     */
    static List<Path> gguf(Path model) {
        if (!Files.isRegularFile(model)) {
            return list(model, path -> Gguf.isNamed(path) && !Files.isDirectory(path));
        }
        List<Path> files = new ArrayList<>(List.of(model));
        files.addAll(list(
                folder(model), path -> Gguf.isNamed(path) && !name(path).equals(name(model)) && isTower(path)));
        return files;
    }

    /** Why there are no weights to open in a folder. */
    static CheckpointException withoutWeights(Path folder) {
        List<Path> safetensors = list(folder, path -> name(path).endsWith(".safetensors"));
        List<Path> variants = safetensors.stream()
                .filter(path -> name(path).matches("(model|diffusion_pytorch_model)[.-].*"))
                .toList();
        if (variants.size() == 1 && !name(variants.getFirst()).matches(".*-\\d+-of-\\d+.*")) {
            return refused(
                    folder,
                    "holds " + names(variants) + ", weights of a variant; rename it to " + Checkpoint.SINGLE_FILE
                            + ", or download the model without a variant");
        }
        if (!variants.isEmpty()) {
            return refused(
                    folder,
                    "holds " + names(variants) + " and no " + Checkpoint.INDEX_FILE
                            + ", which tells the shards of a model; download that, too"
                            + " (the one of a variant is to be renamed)");
        }
        if (safetensors.stream().anyMatch(path -> name(path).startsWith("adapter_"))) {
            return refused(
                    folder,
                    "holds an adapter (PEFT, such as LoRA), but not the weights of the model that it adapts; download "
                            + "those, too, name their folder with --model and this one with --adapter");
        }
        Optional<CheckpointException> other = otherWeights(folder);
        if (other.isPresent()) {
            return other.get();
        }
        if (!safetensors.isEmpty()) {
            return refused(
                    folder,
                    "holds " + names(safetensors) + ", but neither " + Checkpoint.SINGLE_FILE + " nor "
                            + Checkpoint.INDEX_FILE + "; rename the weights or download the model anew");
        }
        List<Path> half =
                list(folder, path -> name(path).matches(".*\\.(incomplete|part|partial|crdownload|aria2|download)"));
        return refused(
                folder,
                "neither " + Checkpoint.SINGLE_FILE + " nor " + Checkpoint.INDEX_FILE + " is there"
                        + (half.isEmpty()
                                ? "; download the weights, too"
                                : ": the download of " + names(half) + " did not end, start it anew"));
    }

    /** @throws CheckpointException if the folder has no tokenizer that can be read */
    public static void requireTokenizer(Path folder) {
        if (ModelFiles.exists(folder.resolve(TOKENIZER))) {
            return;
        }
        List<Path> other = list(folder, path -> name(path)
                .matches("tokenizer\\.model|spiece\\.model|sentencepiece.*\\.model|vocab\\.(json|txt)|merges\\.txt"));
        throw refused(
                folder.resolve(TOKENIZER),
                "no such file"
                        + (other.isEmpty()
                                ? "; download the tokenizer's files, too"
                                : ", only " + names(other) + ", which is not read here; download " + TOKENIZER
                                        + ", too, or make it with transformers: "
                                        + "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"));
    }

    private static Optional<String> text(Path file, String key) {
        try {
            return text(ConfigFile.read(file), key);
        } catch (CheckpointException e) {
            // Only said in passing.
            return Optional.empty();
        }
    }

    private static Optional<String> text(ConfigFile config, String key) {
        return config.scalar(key).map(StrictJson::printable);
    }

    private static String name(Path path) {
        return path.getFileName() == null ? "" : path.getFileName().toString();
    }

    private static String names(List<Path> paths) {
        List<String> names = paths.stream().limit(LISTED).map(path -> StrictJson.printable(name(path))).toList();
        return String.join(", ", names) + (paths.size() > LISTED ? " and " + (paths.size() - LISTED) + " more" : "");
    }

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            return Long.MAX_VALUE;
        }
    }

    /** The first bytes of a file as Latin-1, or nothing if it cannot be read. */
    private static String start(Path file) {
        if (!Files.isRegularFile(file)) {
            return "";
        }
        try (InputStream in = Files.newInputStream(file)) {
            return new String(in.readNBytes(64), StandardCharsets.ISO_8859_1);
        } catch (IOException e) {
            return "";
        }
    }

    private static List<Path> list(Path folder, Predicate<Path> wanted) {
        List<Path> paths = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
            for (Path entry : entries) {
                if (wanted.test(entry)) {
                    paths.add(entry);
                }
            }
        } catch (IOException e) {
            throw StrictJson.unreadable(folder, e);
        }
        paths.sort(null);
        return paths;
    }
}

package stormsight.cli;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.Option;
import stormsight.checkpoint.JsonRecord;

/** Options that name many images and texts. */
final class ItemsMixin {
    private static final Path STANDARD_INPUT = Path.of(ImageArgument.STANDARD_INPUT);
    private static final List<String> ENDINGS = List.of(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp");

    @Option(
            names = {"-i", "--image"},
            paramLabel = "FILE",
            converter = ImageArgument.class,
            description =
                    "An image, a folder of images, or a pattern such as 'photos/*.jpg'; - reads an image from "
                            + "standard input. May be repeated.")
    private List<Path> images = new ArrayList<>();

    @Option(names = {"-p", "--prompt"}, paramLabel = "TEXT", description = "A text. May be repeated.")
    private List<String> texts = new ArrayList<>();

    @Option(names = "--texts", paramLabel = "FILE", description = "Texts, one a line; - reads standard input.")
    private Path textFile;

    @Option(names = "--pairs", paramLabel = "FILE",
            description = "Lines of JSON with \"image\", a path from the file's folder, or \"text\", or both.")
    private Path pairs;

    /** What was named, in order. */
    record Items(List<Path> images, List<String> texts) {}

    /** @throws UsageException if there is nothing, or something cannot be found */
    Items read() {
        if (STANDARD_INPUT.equals(textFile) && images.contains(textFile)) {
            throw new UsageException("--image - and --texts - both read standard input, which can be read once");
        }
        List<Path> allImages = new ArrayList<>();
        images.forEach(image -> allImages.addAll(expanded(image)));
        List<String> allTexts = new ArrayList<>(texts);
        if (textFile != null) {
            allTexts.addAll(lines());
        }
        if (pairs != null) {
            readPairs(allImages, allTexts);
        }
        return new Items(allImages, allTexts);
    }

    private List<String> lines() {
        try {
            String all = textFile.equals(STANDARD_INPUT)
                    ? StandardInput.text("--texts")
                    : PromptText.of(JsonRecord.textOf(textFile));
            List<String> found =
                    all.lines().map(String::strip).filter(line -> !line.isEmpty()).toList();
            if (found.isEmpty()) {
                throw new UsageException("--texts " + textFile + ": no line with a text");
            }
            return found;
        } catch (JsonRecord.WrongShapeException e) {
            throw new UsageException("--texts " + e.getMessage());
        } catch (IOException e) {
            throw new UsageException("--texts " + textFile + " cannot be read: " + e.getMessage());
        }
    }

    /** Images of a folder, whatever is in its folders too, in order of their names. */
    static List<Path> folder(Path folder) {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(Files::isRegularFile).filter(ItemsMixin::isImage).sorted().toList();
        } catch (IOException e) {
            throw new UsageException(folder + " cannot be read: " + e.getMessage());
        }
    }

    private static boolean isImage(Path file) {
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        return !name.startsWith(".") && ENDINGS.stream().anyMatch(name::endsWith);
    }

    /** What one --image names: itself, the images of a folder, or those that fit a pattern. */
    static List<Path> expanded(Path image) {
        if (Files.isDirectory(image)) {
            List<Path> found = folder(image);
            if (found.isEmpty()) {
                throw new UsageException("--image " + image + ": no images in this folder");
            }
            return found;
        }
        if (!Files.exists(image)
                && image.getFileName() != null
                && image.getFileName().toString().matches(".*[*?\\[{].*")) {
            Path parent = image.getParent() == null ? Path.of("") : image.getParent();
            List<Path> found = new ArrayList<>();
            try (DirectoryStream<Path> files = Files.newDirectoryStream(parent, image.getFileName().toString())) {
                files.forEach(file -> found.add(image.getParent() == null ? file.getFileName() : file));
            } catch (IOException | IllegalArgumentException e) {
                throw new UsageException("--image " + image + ": " + e.getMessage());
            }
            if (found.isEmpty()) {
                throw new UsageException("--image " + image + ": no file has such a name");
            }
            return found.stream().sorted().toList();
        }
        return List.of(ImageArgument.file(image));
    }

    private void readPairs(List<Path> allImages, List<String> allTexts) {
        List<String> lines;
        try {
            lines = JsonRecord.textOf(pairs).lines().toList();
        } catch (JsonRecord.WrongShapeException e) {
            throw new UsageException("--pairs " + e.getMessage());
        } catch (IOException e) {
            throw new UsageException("--pairs " + pairs + " cannot be read: " + e.getMessage());
        }
        for (int i = 0; i < lines.size(); i++) {
            if (lines.get(i).isBlank()) {
                continue;
            }
            try {
                JsonRecord pair = JsonRecord.parse(pairs + ", line " + (i + 1), lines.get(i));
                Optional<String> image = pair.find("image").map(JsonRecord::text);
                Optional<String> text = pair.find("text").map(JsonRecord::text);
                if (image.isEmpty() && text.isEmpty()) {
                    throw pair.invalid("neither \"image\" nor \"text\"");
                }
                image.map(pairs::resolveSibling).ifPresent(allImages::add);
                text.ifPresent(allTexts::add);
            } catch (JsonRecord.WrongShapeException e) {
                throw new UsageException("--pairs " + e.getMessage());
            } catch (InvalidPathException e) {
                throw new UsageException("--pairs " + pairs + ", line " + (i + 1) + ": image: not the name of a file: "
                        + e.getReason());
            }
        }
    }
}

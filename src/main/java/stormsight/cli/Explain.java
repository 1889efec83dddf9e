package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.model.VisionLanguageModel;
import stormsight.report.HtmlReport;
import stormsight.report.ReportData;
import stormsight.study.AttentionFiles;
import stormsight.study.Explained;
import stormsight.study.Explainer;
import stormsight.study.Explanation;

/** Shows step by step what a model's vision tower makes of an image, and who may read whom. */
@Command(
        name = "explain",
        description = {
            "Shows step by step what a model makes of an image: its patches in order, the first numbers of their "
                    + "embeddings, how alike positions are, how long vectors become, and what a pooling head or a "
                    + "class token reads.",
            "With a prompt also who may read whom: image, prompt and answer. Of BLIP-2, which patches each query "
                    + "reads, and which queries each word.",
            "Takes every model with a vision tower. The directory gets a picture and the numbers of each step, "
                    + "explain.json, which names them, and index.html, which shows all of it."
        })
final class Explain extends PromptCommand implements Runnable {
    private static final String PAGE = "index.html";

    @Mixin
    private MapStyleMixin style;

    @Mixin
    private JsonMixin json;

    @Option(
            names = {"-i", "--image"},
            paramLabel = "FILE",
            required = true,
            converter = ImageArgument.class,
            description = "PNG, JPEG, GIF, BMP or WebP.")
    private Path image;

    @Option(
            names = {"-p", "--prompt"},
            paramLabel = "TEXT",
            description =
                    "What to ask about the image, or a text of a model that compares. Default: none, which explains "
                            + "the vision tower alone; BLIP-2 then writes a caption.")
    private Optional<String> prompt = Optional.empty();

    @Option(
            names = "--encoder",
            description = "Without --model: the embedded model that compares images with texts, not the one that "
                    + "answers.")
    private boolean encoder;

    @Option(
            names = {"-n", "--max-new-tokens", "--max-tokens"},
            paramLabel = "N",
            defaultValue = "12",
            description = "The longest answer, in tokens. Default: ${DEFAULT-VALUE}.")
    private int maxTokens;

    @Option(
            names = {"-o", "--out"},
            paramLabel = "DIR",
            required = true,
            description =
                    "Where to write; made if it does not exist. Files of the same name are replaced, others stay.")
    private Path out;

    @Override
    ModelDirectory opened() {
        return encoder ? model.openEncoder() : super.opened();
    }

    @Override
    public void run() {
        if (maxTokens < 1) {
            throw new UsageException("--max-tokens " + maxTokens + " is not positive");
        }
        if (encoder && model.chosen()) {
            throw new UsageException("--encoder chooses an embedded model, --model another one");
        }
        OutputOption.requireFolder("--out", out);
        OutputOption.requireWritable("--out", out.resolve(PAGE));
        RgbImage pixels = new ImageDecoder().decode(ImageArgument.file(image));
        withModel((directory, backend, progress) -> {
            Optional<String> text = text(directory);
            Explained explained;
            try {
                explained = new Explainer(directory, backend, model.options(), progress)
                        .explain(pixels, text, maxTokens);
            } catch (IllegalArgumentException e) {
                throw new UsageException("--prompt: " + e.getMessage());
            }
            progress.clear();
            String name = encoder ? model.encoderName() : model.name();
            AttentionFiles files = new AttentionFiles(out, style.style(), name);
            Explanation explanation = new Explanation(explained, files);
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("model", name);
            object.put("image", image.toString());
            object.put("prompt", text.orElse(null));
            object.putAll(explanation.write());
            object.put("page", PAGE);
            files.json("explain.json", object);
            List<ReportData.Fact> asked = new ArrayList<>(List.of(new ReportData.Fact("Image", image.toString())));
            text.ifPresent(words ->
                    asked.add(new ReportData.Fact("Prompt", words.isEmpty() ? "(none: a caption)" : words)));
            HtmlReport.write(
                    out.resolve(PAGE),
                    explanation.page(asked).with(ReportMixin.facts(spec, name, backend.device())),
                    style.style());
            if (json.isWanted()) {
                JsonMixin.print(out(), object);
            } else {
                print(explanation, explained, files.count() + 1);
            }
        });
    }

    /** @throws UsageException if the model that answers takes no such prompt */
    private Optional<String> text(ModelDirectory directory) {
        Optional<String> text = prompt.map(PromptText::of);
        if (directory.anyModel() instanceof VisionLanguageModel answering) {
            text.ifPresent(words -> model.requirePrompt(directory, words, "--prompt"));
            if (text.isEmpty() && answering.processor().captions()) {
                return Optional.of("");
            }
        }
        return text;
    }

    private void print(Explanation explanation, Explained explained, int files) {
        PrintWriter stdout = out();
        stdout.println("image   " + image);
        stdout.println("tower   " + explanation.towerLine());
        explained.answer().ifPresent(answer -> stdout.println("answer  " + answer));
        stdout.println();
        stdout.println(String.format(Locale.ROOT, "%-6s %9s  first numbers of the embedding", "patch", "length"));
        for (Map<String, Object> row : explanation.firstNumbers()) {
            float[] numbers = (float[]) row.get("numbers");
            stdout.println(String.format(Locale.ROOT, "%-6s %9.4f ", row.get("row"), (Float) row.get("norm"))
                    + IntStream.range(0, numbers.length)
                            .mapToObj(i -> String.format(Locale.ROOT, "%9.4f", numbers[i]))
                            .collect(Collectors.joining()));
        }
        stdout.println();
        stdout.println(files + " files in " + out + "; open " + out.resolve(PAGE));
        stdout.flush();
    }
}

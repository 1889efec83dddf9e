package stormsight.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.backend.DeviceInfo;
import stormsight.backend.RunListener;
import stormsight.bench.Machine;
import stormsight.generate.Batch;
import stormsight.generate.BatchItem;
import stormsight.generate.FeatureCache;
import stormsight.generate.Generator;
import stormsight.generate.MaskDecoder;
import stormsight.image.ImageDecoder;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Stamp;
import stormsight.report.Count;
import stormsight.report.OutputFile;

/** Answers many prompts about many images. */
@Command(
        name = "batch",
        description = {
            "Answers prompts about many images, several at a time, into a file with one JSON object a line: index, "
                    + "image, prompt, other fields of the input, answer, tokens with log-probabilities, the objects "
                    + "that it marks with boxes and masks, timings; or the error.",
            "Lines about one image follow each other. What was interrupted goes on with --resume."
        })
final class BatchCommand extends PromptCommand implements Runnable {
    private static final Pattern SIZE = Pattern.compile("(\\d{1,9})([KMGTkmgt]?)");

    @Option(
            names = {"-i", "--image"},
            paramLabel = "FILE",
            converter = ImageArgument.class,
            description = "An image, a folder of images, or a pattern such as 'photos/*.jpg'. May be repeated.")
    private List<Path> images = new ArrayList<>();

    @Option(
            names = "--dataset",
            paramLabel = "FILE",
            description =
                    "Lines of JSON with \"image\", a path from the file's folder, and \"prompt\" or \"question\"; "
                            + "other fields are carried through.")
    private Path dataset;

    @Option(
            names = {"-p", "--prompt"},
            paramLabel = "TEXT",
            description = "What to do with each image. May be repeated: each image is asked all of them.")
    private List<String> prompts = new ArrayList<>();

    @Option(
            names = {"-o", "--out"},
            paramLabel = "FILE",
            required = true,
            description = "Gets a line for each image and prompt.")
    private Path file;

    @Option(names = "--resume", description = "Go on with a file that an earlier run began, as far as it came.")
    private boolean resume;

    @Option(
            names = "--shard",
            paramLabel = "I/N",
            description = "Take every N-th image from the I-th on, 1/N to N/N, to share the work among processes.")
    private String shard;

    @Option(
            names = {"-b", Parallel.OPTION},
            paramLabel = "N",
            defaultValue = "8",
            description = "Answers " + Parallel.RANGE + " Default: ${DEFAULT-VALUE}.")
    private int parallel;

    @Option(
            names = "--feature-cache",
            paramLabel = "DIR",
            description =
                    "Keep the features of images there, and take them from there in later runs with the same model on "
                            + "the same device. Several runs may share it.")
    private Path featureCache;

    @Option(
            names = "--feature-cache-size",
            paramLabel = "SIZE",
            defaultValue = "4G",
            description =
                    "Most bytes to keep, such as 500M or 4G; what was not used for the longest time goes first. "
                            + "Default: ${DEFAULT-VALUE}.")
    private String featureCacheSize;

    @Option(names = "--ignore-orientation", description = "Do not turn images as their EXIF data says.")
    private boolean ignoreOrientation;

    @Mixin
    private SamplingMixin sampling;

    @Mixin
    private ObjectsMixin objects;

    @Override
    public void run() {
        sampling.check();
        objects.check();
        Parallel.check(parallel);
        if (images.isEmpty() && dataset == null) {
            throw new UsageException("--image or --dataset is missing: there is nothing to ask about");
        }
        if (!images.isEmpty() && prompts.isEmpty()) {
            throw new UsageException("--prompt is missing: what is to be done with the images?");
        }
        OutputOption.requireWritable("--out", file);
        if (featureCache != null) {
            OutputOption.requireFolder("--feature-cache", featureCache);
        }
        long keptBytes = bytes();
        int[] part = shard();
        withModel((directory, backend, progress) -> {
            objects.choose(directory);
            List<BatchItem> items = BatchItem.ordered(items(directory), part[0], part[1]);
            try {
                answer(directory, backend, items, keptBytes, progress);
            } catch (IOException e) {
                throw OutputFile.unwritable(file, e);
            }
        });
    }

    private long bytes() {
        Matcher size = SIZE.matcher(featureCacheSize);
        if (!size.matches()) {
            throw new UsageException(
                    "--feature-cache-size " + featureCacheSize + " is not a number of bytes such as 500M or 4G");
        }
        int unit = size.group(2).isEmpty() ? 0 : 1 + "KMGT".indexOf(Character.toUpperCase(size.group(2).charAt(0)));
        return Long.parseLong(size.group(1)) << 10 * unit;
    }

    private int[] shard() {
        if (shard == null) {
            return new int[] {1, 1};
        }
        if (shard.matches("\\d{1,6}/\\d{1,6}")) {
            int part = Integer.parseInt(shard.substring(0, shard.indexOf('/')));
            int parts = Integer.parseInt(shard.substring(shard.indexOf('/') + 1));
            if (part >= 1 && part <= parts) {
                return new int[] {part, parts};
            }
        }
        throw new UsageException("--shard " + shard + " is not a part of all, such as 1/4 or 4/4");
    }

    private List<BatchItem> items(ModelDirectory directory) {
        List<String> texts = prompts.stream().map(PromptText::of).toList();
        List<BatchItem> items = new ArrayList<>();
        for (Path named : images) {
            for (Path image : ItemsMixin.expanded(named)) {
                texts.forEach(text ->
                        items.add(new BatchItem(items.size(), image.toString(), image, text, Optional.empty())));
            }
        }
        if (dataset != null) {
            try {
                items.addAll(BatchItem.read(dataset, texts, directory.processor()::questionPrompt, items.size()));
            } catch (IllegalArgumentException e) {
                throw new UsageException("--dataset " + e.getMessage());
            } catch (NoSuchFileException e) {
                throw new UsageException("--dataset " + dataset + ": no such file");
            } catch (IOException e) {
                throw new UsageException("--dataset " + dataset + " cannot be read: " + e.getMessage());
            }
        }
        return items;
    }

    private void answer(
            ModelDirectory directory, Backend backend, List<BatchItem> items, long keptBytes, Progress progress)
            throws IOException {
        long start = System.nanoTime();
        // Broken files end the run here, not each answer.
        directory.tokenizer();
        directory.maskDecoder().ifPresent(MaskDecoder::check);
        Batch.Outcome outcome;
        Optional<FeatureCache> cache = Optional.ofNullable(featureCache)
                .map(folder -> new FeatureCache(folder, keptBytes, producer(directory, backend)));
        try (Generator generator = open(directory, backend, limits(directory, items), cache)) {
            Batch.Settings settings = new Batch.Settings(
                    new ImageDecoder(
                            !ignoreOrientation, ImageDecoder.DEFAULT_MAX_PIXELS, ImageDecoder.DEFAULT_MAX_BYTES),
                    sampling::request,
                    objects::json,
                    run(directory, generator.roundsActivations()));
            outcome = Batch.run(
                    generator, items, settings, file, resume, done -> progress.item(done + 1, items.size() + 1));
        } catch (IllegalArgumentException e) {
            throw new UsageException(e.getMessage());
        } finally {
            progress.clear();
        }
        cache.flatMap(FeatureCache::failure).ifPresent(reason ->
                err().println("stormsight: warning: not all features were kept: " + reason));
        outcome.unknown().ifPresent(unknown -> err().println(begunEarlier(file, unknown)));
        double seconds = (System.nanoTime() - start) / 1e9;
        err().println(String.format(
                Locale.ROOT,
                "%s and %s about %s in %.1f s, %.2f a second, %.1f tokens a second%s%s: %s",
                Count.text(outcome.answered(), "answer"),
                Count.text(outcome.failed(), "error"),
                Count.text(outcome.images(), "image"),
                seconds,
                (outcome.answered() + outcome.failed()) / seconds,
                outcome.tokens() / seconds,
                cache.map(used -> ", features of " + Count.text(used.found(), "image") + " found in the cache, of "
                        + used.kept() + " added").orElse(""),
                outcome.before() == 0
                        ? ""
                        : "; " + outcome.before() + (outcome.before() == 1 ? " was" : " were") + " there already",
                file));
    }

    private Generator open(
            ModelDirectory directory, Backend backend, Limits limits, Optional<FeatureCache> cache) {
        return cache.map(used -> Generator.open(directory, backend, limits, model.options(), used))
                .orElseGet(() -> Generator.open(
                        directory, backend, limits, model.options(), RunListener.NONE, List.of()));
    }

    /**
     * All that features depend on beside the image: another build may round otherwise, and so may another device, its
     * runtime and its settings.
     */
    private String producer(ModelDirectory directory, Backend backend) {
        Machine machine = Environment.machine();
        DeviceInfo device = backend.device();
        return String.join(
                "\n",
                machine.version(),
                machine.commit().orElse(""),
                machine.cpu(),
                directory.fingerprint(),
                model.json().toString(),
                device.backend(),
                device.name(),
                device.runtime(),
                device.driver(),
                Environment.deviceSettings());
    }

    /** For the longest prompt that the model has room for; longer ones become errors. */
    private Limits limits(ModelDirectory directory, List<BatchItem> items) {
        int longest = items.stream()
                .mapToInt(item -> directory.promptTokensAtMost(item.prompt()))
                .max()
                .orElse(directory.processor().imageTokens() + 1);
        return sampling.limits(directory, longest)
                .withSequences(Math.min(parallel, Math.max(items.size(), 1)));
    }

    /**
     * What answers depend on beside the items: a checksum of the settings.
     *
     * @param rounded whether the model was prepared with rounded activations
     */
    private Stamp run(ModelDirectory directory, boolean rounded) {
        Map<String, Object> inputs = new LinkedHashMap<>();
        inputs.put("model", directory.fingerprint());
        inputs.put("ignore_orientation", ignoreOrientation);
        inputs.put("raw_prompt", rawPrompt());
        inputs.putAll(sampling.json());
        inputs.putAll(model.json());
        inputs.putAll(objects.chosen(directory));
        String settings = checksum(inputs);
        inputs.put("strict_math", true);
        return new Stamp(settings, checksum(inputs), rounded, directory.besides());
    }

    private static String checksum(Map<String, Object> inputs) {
        CRC32 sum = new CRC32();
        sum.update(inputs.toString().getBytes(StandardCharsets.UTF_8));
        return Long.toHexString(sum.getValue());
    }
}

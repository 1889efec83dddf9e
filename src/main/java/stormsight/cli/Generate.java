package stormsight.cli;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.backend.DeviceInfo;
import stormsight.backend.StartUp;
import stormsight.generate.Answer;
import stormsight.generate.Generator;
import stormsight.generate.Prepared;
import stormsight.generate.Request;
import stormsight.image.DataUrl;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Views;
import stormsight.model.family.EmbeddedModel;
import stormsight.report.Bytes;
import stormsight.report.OutputFile;
import stormsight.report.RegionFile;

/** Answers one prompt about an image, or several. */
@Command(
        name = "generate",
        description = {
            "Answers a prompt about an image. The answer goes to standard output, everything else to standard error.",
            "Prompts that PaliGemma knows: 'caption en', 'answer en QUESTION', 'detect THING ; THING', 'segment "
                    + "THING', 'ocr'."
        })
final class Generate extends PromptCommand implements Runnable {
    @Option(names = {"-i", "--image"}, paramLabel = "FILE", required = true, converter = ImageArgument.class,
            description = "PNG, JPEG, GIF, BMP or WebP; - reads standard input. A data: or file: URL will do. Several "
                    + "are asked about together, in their order; <image> in the prompt says where each stands.")
    private List<Path> images;

    @Option(names = "--ignore-orientation", description = "Do not turn the image as its EXIF data says.")
    private boolean ignoreOrientation;

    @Option(
            names = {"-p", "--prompt"},
            paramLabel = "TEXT",
            description =
                    "What to do with the image; - reads standard input. A text that begins with a dash is written "
                            + "--prompt=TEXT. BLIP-2 writes a caption without one.")
    private String prompt;

    @Mixin
    private SamplingMixin sampling;

    @Option(
            names = {"-o", "--out"},
            paramLabel = "FILE",
            description = "Write the answer, or the object of --json, into a file and not to standard output.")
    private Path file;

    @Mixin
    private BoxesMixin boxes;

    @Option(names = "--warm", description = "Report where the time of starting a device went.")
    private boolean warm;

    @Option(names = "--json", description = "Print one JSON object with answer, tokens, log-probabilities and timings.")
    private boolean json;

    @Override
    public void run() {
        sampling.check();
        if (file != null) {
            OutputOption.requireWritable("--out", file);
        }
        boxes.check(json);
        long readers = images.stream()
                .filter(image -> image.toString().equals(ImageArgument.STANDARD_INPUT))
                .count();
        if (readers > 0 && ImageArgument.STANDARD_INPUT.equals(prompt)) {
            throw new UsageException("--image - and --prompt - both want standard input");
        }
        if (readers > 1) {
            throw new UsageException("--image - is given " + readers + " times: standard input is one image");
        }
        if (boxes.wanted() && images.size() > 1) {
            throw new UsageException("--boxes, --draw and --masks are for one image: an answer does not say which "
                    + "it marks");
        }
        withProgress((progress, interruption) -> answer(progress, interruption));
    }

    private void answer(Progress progress, Interruption interruption) {
        PrintWriter err = err();
        long start = System.nanoTime();
        String text = text();
        long opening = System.nanoTime();
        // Beside opening the model, which takes longer.
        CompletableFuture<Decoded> decoding = CompletableFuture.supplyAsync(this::decodeImage);
        try (ModelDirectory directory = open()) {
            boxes.choose(directory);
            if (prompt == null && !directory.processor().captions()) {
                throw new UsageException("--prompt is missing: this model does nothing without one");
            }
            model.requirePrompt(directory, text, images.size(), "--prompt");
            Decoded decoded = joined(decoding);
            Request request = sampling.request(decoded.images(), text);
            CompletableFuture<Prepared> cutting =
                    CompletableFuture.supplyAsync(() -> Generator.prepare(directory, request));
            try (Backend backend = backendOptions.open();
                    Generator generator = Generator.open(
                            directory,
                            backend,
                            limits(directory, decoded.images(), text),
                            model.options(),
                            progress,
                            List.of())) {
                long loaded = System.nanoTime();
                StringWriter kept = new StringWriter();
                PrintWriter out = file == null ? out() : new PrintWriter(kept);
                Answer answer =
                        generator.answer(() -> joined(cutting), piece -> {
                            if (!json && !boxes.printed()) {
                                if (file == null) {
                                    interruption.streaming();
                                }
                                out.print(piece);
                                // Nobody reads on: the rest of the answer need not be computed.
                                if (out.checkError()) {
                                    throw OutputException.ofStandardOutput();
                                }
                            }
                        });
                PromptText.warnOfUnknownTask(err, model, directory, text);
                if (answer.text().isBlank()) {
                    err.println("The answer is empty: the model ended it "
                            + (answer.tokens().size() <= 1 ? "at once." : "without a visible character."));
                }
                Report report = new Report(
                        model.name(),
                        directory.describe().family(),
                        backend.device(),
                        answer,
                        loaded - opening,
                        decoded.nanos(),
                        loaded - start,
                        generator.allocatedBytes());
                RgbImage first = decoded.images().getFirst();
                List<RegionFile.Scored> objects =
                        images.size() > 1 ? List.of() : boxes.objects(err, answer, first);
                boxes.tell(out, DataUrl.shown(writtenImages().getFirst()), first, objects);
                if (json) {
                    JsonMixin.print(out, report.json(inputs(text), objects));
                    write(kept);
                } else {
                    if (!boxes.printed()) {
                        out.println();
                    }
                    out.flush();
                    write(kept);
                    report.print(err);
                    if (warm) {
                        printStartUp(err, generator.startUp(), answer.timings().encode());
                    }
                }
            }
        }
    }

    /** Writes what was printed for the file, if there is one. */
    private void write(StringWriter kept) {
        if (file != null) {
            OutputFile.write(file, kept.toString());
        }
    }

    /** What was asked, so that an answer can be had again from what was printed. */
    private Map<String, Object> inputs(String text) {
        Map<String, Object> inputs = new LinkedHashMap<>();
        List<String> shown = writtenImages().stream().map(DataUrl::shown).toList();
        if (shown.size() == 1) {
            inputs.put("image", shown.getFirst());
        } else {
            inputs.put("images", shown);
        }
        inputs.put("ignore_orientation", ignoreOrientation);
        inputs.put("prompt", text);
        inputs.put("raw_prompt", rawPrompt());
        inputs.putAll(sampling.json());
        inputs.putAll(model.json());
        return inputs;
    }

    private static void printStartUp(PrintWriter err, Optional<StartUp> startUp, long firstEncode) {
        if (startUp.isEmpty()) {
            Report.line(err, "start-up", "nothing is compiled or sent on this backend");
            return;
        }
        StartUp parts = startUp.get();
        Report.line(err, "runtime", Report.seconds(parts.runtime()));
        Report.line(err, "lowering", Report.seconds(parts.lowering()));
        Report.line(
                err,
                "upload",
                Report.seconds(parts.upload()) + ", beside compiling " + Report.seconds(parts.read())
                        + " of reading weights");
        Report.line(
                err,
                "compile",
                Report.seconds(parts.compile()) + ", of it and the upload JIT " + Report.seconds(parts.jit())
                        + ", driver " + Report.seconds(parts.driver()) + ", " + parts.kernels() + " kernels");
        Report.line(err, "first encode", Report.seconds(firstEncode));
    }

    private String text() {
        if (prompt == null) {
            return "";
        }
        return prompt.equals(ImageArgument.STANDARD_INPUT) ? standardInputText() : PromptText.of(prompt);
    }

    private List<String> writtenImages() {
        return spec.commandLine().getParseResult().matchedOption("--image").originalStringValues();
    }

    /**
     * What the prompt can need at most, so that reading the tokenizer need not be waited for; exactly that where it
     * would not fit, or there are several images.
     */
    private Limits limits(ModelDirectory directory, List<RgbImage> pixels, String text) {
        if (pixels.size() > 1) {
            List<Views> views = directory.views(pixels);
            return new Limits(
                    directory.prompt(text, views).length(),
                    sampling.maxTokens(),
                    views.stream().mapToInt(Views::count).sum());
        }
        int atMost = directory.promptTokensAtMost(text);
        if ((long) atMost + sampling.maxTokens() > directory.describe().decoder().positions()) {
            Views views = directory.views(pixels.getFirst(), "the image");
            atMost = directory.prompt(text, List.of(views)).length();
        }
        return directory.processor().limits(atMost, sampling.maxTokens());
    }

    /** @param nanos that decoding took */
    private record Decoded(List<RgbImage> images, long nanos) {}

    private Decoded decodeImage() {
        long start = System.nanoTime();
        ImageDecoder decoder =
                new ImageDecoder(!ignoreOrientation, ImageDecoder.DEFAULT_MAX_PIXELS, ImageDecoder.DEFAULT_MAX_BYTES);
        List<RgbImage> decoded =
                images.stream().map(ImageArgument::file).map(decoder::decode).toList();
        return new Decoded(decoded, System.nanoTime() - start);
    }

    /** Waits for what another thread does, and throws what that threw. */
    private static <T> T joined(CompletableFuture<T> working) {
        try {
            return working.join();
        } catch (CompletionException e) {
            switch (e.getCause()) {
                case RuntimeException problem -> throw problem;
                case Error error -> throw error;
                case null, default -> throw e;
            }
        }
    }

    private static String standardInputText() {
        String text = StandardInput.text("--prompt");
        if (text.isBlank()) {
            throw new UsageException(
                    "--prompt -: standard input is empty; write the prompt into it, such as: echo 'caption en' | "
                            + "stormsight ...");
        }
        return text.replace("\r\n", "\n");
    }

    /** What is told about an answer. */
    private record Report(
            String model,
            String family,
            DeviceInfo device,
            Answer answer,
            long loadNanos,
            long imageNanos,
            long beforeAnswerNanos,
            long allocatedBytes) {
        /** Tokens that decode ran for: all but the first. */
        private int decoded() {
            return answer.tokens().size() - 1;
        }

        private long imageTotal() {
            return imageNanos + answer.timings().image();
        }

        /** From the start of the command. */
        private long firstToken() {
            return beforeAnswerNanos + answer.timings().firstToken();
        }

        void print(PrintWriter err) {
            Answer.Timings timings = answer.timings();
            line(
                    err,
                    "model",
                    model + ", " + family
                            + (model.equals(EmbeddedModel.NAME) ? ", which knows drawn shapes only" : ""));
            line(err, "device", device.backend() + " " + device.id() + ", " + device.title());
            line(err, "load", seconds(loadNanos));
            line(err, "image", seconds(imageTotal()));
            line(err, "encode", seconds(timings.encode()));
            line(err, "prefill", seconds(timings.prefill()) + rate(answer.promptTokens(), timings.prefill()));
            line(err, "first token", seconds(firstToken()));
            line(err, "decode", seconds(timings.decode()) + rate(decoded(), timings.decode()));
            OptionalLong resident = Memory.peakResident();
            line(
                    err,
                    "peak memory",
                    "heap " + Bytes.text(Memory.peakHeap()) + ", buffers " + Bytes.text(allocatedBytes)
                            + (resident.isPresent()
                                    ? ", resident " + Bytes.text(resident.getAsLong()) + " with mapped weights"
                                    : ""));
            if (answer.stop() == Answer.Stop.LENGTH) {
                line(err, "stopped", "after " + answer.tokens().size() + " tokens (--max-tokens)");
            }
            err.flush();
        }

        private static void line(PrintWriter err, String name, String value) {
            err.println(String.format(Locale.ROOT, "%-12s %s", name, value));
        }

        private static String seconds(long nanos) {
            return String.format(Locale.ROOT, "%.3f s", nanos / 1e9);
        }

        private static String rate(int tokens, long nanos) {
            return tokens == 0
                    ? ""
                    : String.format(Locale.ROOT, "  %d tokens, %.1f tok/s", tokens, tokens * 1e9 / nanos);
        }

        Map<String, Object> json(Map<String, Object> inputs, List<RegionFile.Scored> objects) {
            Answer.Timings timings = answer.timings();
            Map<String, Object> seconds = new LinkedHashMap<>();
            seconds.put("load", loadNanos / 1e9);
            seconds.put("image", imageTotal() / 1e9);
            seconds.put("encode", timings.encode() / 1e9);
            seconds.put("prefill", timings.prefill() / 1e9);
            seconds.put("first_token", firstToken() / 1e9);
            seconds.put("decode", timings.decode() / 1e9);
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("inputs", inputs);
            object.putAll(answer.json());
            if (!objects.isEmpty()) {
                object.put("objects", RegionFile.json(objects));
            }
            object.put("seconds", seconds);
            object.put("peak_heap_bytes", Memory.peakHeap());
            object.put("buffer_bytes", allocatedBytes);
            Memory.peakResident().ifPresent(bytes -> object.put("peak_resident_bytes", bytes));
            object.put("model", model);
            object.put("family", family);
            object.put("backend", device.backend());
            object.put("device", device.title());
            object.put("version", Version.text());
            return object;
        }
    }
}

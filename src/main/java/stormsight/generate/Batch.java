package stormsight.generate;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.BiFunction;
import java.util.function.IntConsumer;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageFile;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.model.Stamp;
import stormsight.model.Views;

/**
 * Answers many prompts about many images into a file. Images are decoded and cut ahead, each is encoded once, and lines
 * come in the order of the items, whatever answer is complete first. What is wrong with one item becomes its line.
 */
public final class Batch {
    /** Images that are decoded ahead. */
    private static final int AHEAD = 4;

    /**
     * How all items are answered.
     *
     * @param asked makes a request of an image and a prompt
     * @param told what a line says of an answer about an image beside the answer itself
     * @param run what answers depend on beside the items
     */
    public record Settings(
            ImageDecoder decoder,
            BiFunction<RgbImage, String, Request> asked,
            BiFunction<Answer, RgbImage, Map<String, Object>> told,
            Stamp run) {}

    /**
     * What was done.
     *
     * @param before items that had a line already
     * @param unknown what an earlier version did not write down of how these were made
     * @param answered items that got an answer
     * @param failed items that got an error
     * @param images that were read
     * @param tokens of all answers
     */
    public record Outcome(
            int before, Optional<String> unknown, int answered, int failed, int images, long tokens) {}

    private final Generator generator;
    private final List<BatchItem> items;
    private final Settings settings;
    private final IntConsumer progress;
    private final ExecutorService decoders = Executors.newSingleThreadExecutor(
            Thread.ofPlatform().daemon().name("images").factory());
    /** Of the first item about each image, by its place. */
    private final Map<Integer, CompletableFuture<Cut>> cuts = new HashMap<>();
    /** Results that wait for an earlier one, by their place. */
    private final Map<Integer, Result> waiting = new HashMap<>();
    private AnswerLog log;
    private int written;
    private int answered;
    private int failed;
    private int images;
    private long tokens;

    /** An image, ready to be encoded. */
    private record Cut(RgbImage image, Optional<String> hash, List<Views> views, long nanos) {}

    /** What becomes a line. */
    private record Result(Optional<String> hash, Map<String, Object> fields) {}

    private Batch(Generator generator, List<BatchItem> items, Settings settings, IntConsumer progress) {
        this.generator = generator;
        this.items = items;
        this.settings = settings;
        this.progress = progress;
    }

    /**
     * Answers all items that have no line yet.
     *
     * @param items those about one image next to each other, see {@link BatchItem#ordered}
     * @param file gets a line for each
     * @param resume whether the file may have lines already, which are then kept
     * @param progress is told how many lines there are, after each
     * @throws IllegalArgumentException if the file has lines of other items or of another run, or has some and must not
     * @throws IOException if the file cannot be read or written
     * @throws stormsight.backend.BackendException if the device fails or computes something that is not a number
     */
    public static Outcome run(
            Generator generator,
            List<BatchItem> items,
            Settings settings,
            Path file,
            boolean resume,
            IntConsumer progress)
            throws IOException {
        Batch batch = new Batch(generator, items, settings, progress);
        try (AnswerLog log = AnswerLog.open(file, settings.run(), items, resume)) {
            batch.log = log;
            batch.written = log.written();
            progress.accept(batch.written);
            generator.answer(batch.questions());
            return new Outcome(
                    log.written(), log.unknown(), batch.answered, batch.failed, batch.images, batch.tokens);
        } catch (UncheckedIOException e) {
            throw e.getCause();
        } finally {
            batch.decoders.shutdownNow();
        }
    }

    private Iterator<Item> questions() {
        return new Iterator<>() {
            private int next = written;
            private int first = written;

            @Override
            public boolean hasNext() {
                return next < items.size();
            }

            @Override
            public Item next() {
                if (next == written || !items.get(next).sharesImage(items.get(next - 1))) {
                    cuts.remove(first);
                    first = next;
                }
                readAhead(first);
                return new Item(next++, first);
            }
        };
    }

    /** Has the images of the next items read, beginning with that of an item. */
    private void readAhead(int first) {
        int place = first;
        for (int i = 0; i < AHEAD && place < items.size(); i++) {
            Path file = items.get(place).file();
            cuts.computeIfAbsent(place, _ -> {
                images++;
                return CompletableFuture.supplyAsync(() -> cut(file), decoders);
            });
            BatchItem item = items.get(place);
            while (place < items.size() && items.get(place).sharesImage(item)) {
                place++;
            }
        }
    }

    private Cut cut(Path file) {
        long start = System.nanoTime();
        RgbImage image = settings.decoder().decode(file);
        Views views = generator.directory().views(image, file.toString());
        long nanos = System.nanoTime() - start;
        return new Cut(image, ImageFile.hash(file), List.of(views), nanos);
    }

    private void put(int place, Result result) {
        waiting.put(place, result);
        try {
            for (Result next = waiting.remove(written); next != null; next = waiting.remove(written)) {
                log.add(items.get(written), next.hash, next.fields);
                written++;
                progress.accept(written);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** One item, and its line. */
    private final class Item implements Question {
        private final int place;
        private final int first;
        private RgbImage image;
        private Optional<String> hash = Optional.empty();

        Item(int place, int first) {
            this.place = place;
            this.first = first;
        }

        @Override
        public Prepared prepared() {
            Cut cut;
            try {
                cut = cuts.get(first).join();
            } catch (CompletionException e) {
                switch (e.getCause()) {
                    case RuntimeException problem -> throw problem;
                    case Error error -> throw error;
                    case null, default -> throw e;
                }
            }
            image = cut.image;
            hash = cut.hash;
            Request request = settings.asked().apply(cut.image, items.get(place).prompt());
            ModelDirectory directory = generator.directory();
            directory.processor().check(request.prompt(), request.images().size());
            return new Prepared(request, cut.views, place == first ? cut.nanos : 0);
        }

        @Override
        public void answered(Answer answer) {
            answered++;
            tokens += answer.tokens().size();
            Answer.Timings timings = answer.timings();
            Map<String, Object> seconds = new LinkedHashMap<>();
            seconds.put("image", timings.image() / 1e9);
            seconds.put("encode", timings.encode() / 1e9);
            seconds.put("prefill", timings.prefill() / 1e9);
            seconds.put("decode", timings.decode() / 1e9);
            Map<String, Object> result = new LinkedHashMap<>(answer.json());
            result.putAll(settings.told().apply(answer, image));
            result.put("seconds", seconds);
            put(place, new Result(hash, result));
        }

        @Override
        public void refused(RuntimeException why) {
            failed++;
            put(place, new Result(hash,
                    Map.of("error", String.valueOf(why.getMessage()).strip().replaceAll("\\s*\\R\\s*", " "))));
        }
    }
}

package stormsight;

import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.Precision;
import stormsight.backend.RunListener;
import stormsight.checkpoint.CheckpointException;
import stormsight.generate.AnswerListener;
import stormsight.generate.Detections;
import stormsight.generate.Generator;
import stormsight.generate.LimitException;
import stormsight.generate.MaskDecoder;
import stormsight.generate.Request;
import stormsight.generate.Scheduler;
import stormsight.image.ImageException;
import stormsight.image.Mask;
import stormsight.match.Embedder;
import stormsight.model.Description;
import stormsight.model.DualEncoder;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Views;
import stormsight.model.VisionLanguageModel;
import stormsight.model.family.EmbeddedModel;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.program.Sampling;
import stormsight.program.Step;

/**
 * An open model, for programs that ask about images. It takes memory until it is closed, and seconds to open: open it
 * once and keep it.
 *
 * <pre>{@code
 * try (Stormsight model = Stormsight.model(Path.of("paligemma-3b-mix-224")).open()) {
 *     System.out.println(model.ask(Image.read(Path.of("cat.jpg")), "caption en").text());
 * }
 * }</pre>
 *
 * <p><b>Threads.</b> All methods may be called by any thread at any time. Questions of several threads wait in line for
 * the device and begin in the order in which they came, on a processor several at a time; the same question gets the
 * same answer, whoever else asks, but for rounding where {@link Builder#parallel} has another device answer several at
 * a time. Closing ends all calls that are under way with a {@link CancellationException}.
 *
 * <p><b>Java.</b> JDK 25 or newer. On the class path, Java needs {@code --add-modules jdk.incubator.vector}; on the
 * module path, the module {@code stormsight} brings it along. {@code --enable-native-access} with {@code ALL-UNNAMED}
 * or {@code stormsight} keeps Java from warning.
 */
public final class Stormsight implements AutoCloseable {
    private static final String VECTORS = "jdk.incubator.vector";
    private static final String PROCESSOR = "cpu";
    private static final int DEFAULT_TOKENS = 256;
    /** Questions that a processor answers at a time where nobody says how many, and memory for keys and values. */
    private static final int TOGETHER = 8;
    private static final long CACHE_BYTES = 1L << 30;
    /** Questions of {@link #askAll} that are under way: more than are answered at a time, so that none has to wait. */
    private static final int AHEAD = 2 * Step.MOST_SEQUENCES;

    private final ModelDirectory directory;
    private final Backend backend;
    /** Of a model that answers. */
    private final Optional<Scheduler> scheduler;
    /** Of a model that compares; guarded by itself. */
    private final Optional<Embedder> embedder;
    private volatile boolean closed;

    private Stormsight(
            ModelDirectory directory, Backend backend, Optional<Scheduler> scheduler, Optional<Embedder> embedder) {
        this.directory = directory;
        this.backend = backend;
        this.scheduler = scheduler;
        this.embedder = embedder;
    }

    /** Chooses how a model is opened. */
    public static final class Builder {
        private final Supplier<ModelDirectory> opening;
        private String backend = Backends.AUTO;
        private Optional<String> device = Optional.empty();
        private int threads;
        private Options options = Options.DEFAULT;
        private Precision precision = Precision.FAST;
        /** 0 until somebody chooses. */
        private int parallel;
        private Optional<Path> adapter = Optional.empty();
        private Optional<Path> maskDecoder = Optional.empty();
        /** Of the text of a prompt, 0 until somebody chooses. */
        private int promptTokens;
        private int answerTokens;

        private Builder(Supplier<ModelDirectory> opening) {
            this.opening = opening;
        }

        /**
         * Where to run: {@code cpu}, {@code scalar} (the slow reference), {@code tornado}, or {@code auto}, the
         * default: a GPU if there is one, else {@code cpu}.
         */
        public Builder backend(String name) {
            backend = name;
            return this;
        }

        /** A device of the backend, as the command {@code devices} lists it; otherwise its first one. */
        public Builder device(String id) {
            device = Optional.of(id);
            return this;
        }

        /** Threads of a backend on the processor; otherwise one per core. */
        public Builder threads(int count) {
            threads = count;
            return this;
        }

        /** Turns matrices into 8 bits while they are loaded: half the memory, answers that may differ a little. */
        public Builder quantized() {
            options = options.withWeights(Optional.of(DType.Q8));
            return this;
        }

        /**
         * Answers so many questions at a time, 1 to 16: more take more memory, and less time together. Otherwise, on a
         * processor, up to 8, as many as need no more than a gigabyte for what they have read; on another device 1, as
         * answers may differ there by rounding with what else is answered.
         */
        public Builder parallel(int questions) {
            if (questions < 1 || questions > Step.MOST_SEQUENCES) {
                throw new IllegalArgumentException(questions + " questions at a time are not in 1 .. "
                        + Step.MOST_SEQUENCES);
            }
            parallel = questions;
            return this;
        }

        /**
         * Merges a LoRA adapter into the weights while they are loaded; the matrices that it changes are copied.
         *
         * @param directory as PEFT saves it, trained for this model
         */
        public Builder adapter(Path directory) {
            adapter = Optional.of(directory);
            return this;
        }

        /**
         * Computes products in 32 bits even where the device has faster units for 16, AVX-512 BF16, AMX or tensor
         * cores: slower, with answers that differ less from one machine to another.
         */
        public Builder strictMath() {
            return precision(Precision.STRICT);
        }

        /** How precise products are; {@link Precision#BF16} is for devices with tensor cores. */
        public Builder precision(Precision chosen) {
            precision = chosen;
            return this;
        }

        /**
         * Decodes the masks of PaliGemma's answers with a file; otherwise {@code vae-oid.npz} beside the checkpoint
         * does, if it is there.
         *
         * @param file {@code vae-oid.npz} as big_vision publishes it
         */
        public Builder maskDecoder(Path file) {
            maskDecoder = Optional.of(file);
            return this;
        }

        /**
         * What memory is set aside for; otherwise 256 tokens each, or what the model has positions for.
         *
         * @param prompt most tokens of a prompt's text, what the model's family puts around it included
         * @param answer most tokens of an answer
         */
        public Builder longest(int prompt, int answer) {
            if (prompt < 1 || answer < 1) {
                throw new IllegalArgumentException("a prompt of " + prompt + " and an answer of " + answer + " tokens");
            }
            promptTokens = prompt;
            answerTokens = answer;
            return this;
        }

        /**
         * Opens the model.
         *
         * @throws StormsightException of kind MODEL, BACKEND or TOO_LONG
         */
        public Stormsight open() {
            return translated(() -> {
                Backend device = openBackend();
                try {
                    ModelDirectory base = opening.get();
                    ModelDirectory directory = adapter.map(base::withAdapter).orElse(base);
                    try {
                        maskDecoder.ifPresent(file -> {
                            MaskDecoder.check(file);
                            directory.decodeMasksWith(file);
                        });
                        return open(directory, device);
                    } catch (RuntimeException | Error e) {
                        directory.close();
                        throw e;
                    }
                } catch (RuntimeException | Error e) {
                    device.close();
                    throw e;
                }
            });
        }

        private Backend openBackend() {
            String chosen = Backends.provider(backend).name();
            if (chosen.equals(PROCESSOR) && ModuleLayer.boot().findModule(VECTORS).isEmpty()) {
                throw new BackendException("Java runs without its Vector API, which the backend 'cpu' needs to be fast:"
                        + " start it with --add-modules " + VECTORS
                        + ", or choose backend(\"scalar\"), the slow reference");
            }
            return Backends.open(chosen, new BackendOptions(threads, device, precision));
        }

        private static int together(Description.Decoder decoder, Limits each) {
            long bytes = 2L * decoder.layers() * decoder.heads().keyValueColumns() * Float.BYTES * each.capacity();
            return (int) Math.clamp(CACHE_BYTES / bytes, 1, TOGETHER);
        }

        private Stormsight open(ModelDirectory directory, Backend device) {
            return switch (directory.anyModel()) {
                case VisionLanguageModel model -> {
                    Limits longest = promptTokens == 0
                            ? directory.limitsWithin(DEFAULT_TOKENS, DEFAULT_TOKENS)
                            : model.processor().limits(
                                    Math.addExact(model.processor().imageTokens(), promptTokens), answerTokens);
                    Limits limits = longest.withSequences(
                            parallel > 0 ? parallel
                                    : device.keepsSequencesApart() ? together(model.describe().decoder(), longest)
                                    : 1);
                    yield new Stormsight(
                            directory,
                            device,
                            Optional.of(Scheduler.open(
                                    () -> Generator.open(
                                            directory, device, limits, options, RunListener.NONE, List.of()),
                                    Integer.MAX_VALUE)),
                            Optional.empty());
                }
                case DualEncoder _ -> new Stormsight(
                        directory,
                        device,
                        Optional.empty(),
                        Optional.of(Embedder.open(directory, device, options, RunListener.NONE)));
                default -> throw new CheckpointException(
                        directory.path(), "is a model that neither answers questions nor embeds images and texts");
            };
        }
    }

    /**
     * A checkpoint directory as Hugging Face publishes it: {@link #ask} a PaliGemma or LLaVA, {@link #embed} with a
     * SigLIP or CLIP.
     */
    public static Builder model(Path directory) {
        return new Builder(() -> Families.open(directory, Optional.empty()));
    }

    /** The small model in the jar, which knows drawn shapes only: good for a first try and for tests. */
    public static Builder embedded() {
        return new Builder(() -> EmbeddedModel.open(Optional.empty()));
    }

    /**
     * Answers with the most probable tokens, at most {@link Question#DEFAULT_MAX_TOKENS}; see {@link #ask(Question)}.
     */
    public Answer ask(Image image, String prompt) {
        return ask(Question.of(image, prompt));
    }

    /**
     * Answers a question.
     *
     * @throws StormsightException of kind MODEL if the model does not answer, IMAGE if it cannot take an image's shape,
     *     TOO_LONG if question and answer pass what the model was opened for, BACKEND if the device fails
     * @throws IllegalArgumentException if the text cannot be a prompt of the model
     * @throws CancellationException if the model is closed, or the thread is interrupted, which stays interrupted
     */
    public Answer ask(Question question) {
        return ask(question, _ -> {});
    }

    /**
     * Answers a question and tells the text while it forms.
     *
     * @param text hears each piece, on the calling thread, never empty, never half a character; if it throws, the
     *     answer is given up
     * @throws StormsightException see {@link #ask(Question)}
     */
    public Answer ask(Question question, Consumer<String> text) {
        return translated(() -> await(scheduler().submit(request(question)).orElseThrow(), question, text::accept));
    }

    /**
     * Answers many questions, several at a time as {@link Builder#parallel} says; each gets the answer that {@link
     * #ask(Question)} gives it, on a device but for rounding. Images of questions that follow each other are encoded
     * once if they are the same objects. May be called by several threads at once, which share what is answered at a
     * time.
     *
     * @return the answers in the order of the questions
     * @throws StormsightException of the first question that fails, see {@link #ask(Question)}; the others are given up
     * @throws IllegalArgumentException if one of the texts cannot be a prompt of the model; then none is answered
     * @throws CancellationException if the model is closed, or the thread is interrupted, which stays interrupted; no
     *     question is answered on
     */
    public List<Answer> askAll(List<Question> questions) {
        return translated(() -> {
            Scheduler answering = scheduler();
            questions.forEach(question ->
                    directory.processor().check(question.prompt(), question.images().size()));
            Deque<Scheduler.Pending> pending = new ArrayDeque<>();
            List<Answer> answers = new ArrayList<>();
            try {
                int next = 0;
                // Of an image that cannot be cut: an earlier question may fail yet.
                Optional<ImageException> uncut = Optional.empty();
                while (answers.size() < questions.size()) {
                    while (uncut.isEmpty() && next < questions.size() && pending.size() < AHEAD) {
                        Question question = questions.get(next);
                        boolean same = !pending.isEmpty() && sameImages(questions.get(next - 1), question);
                        try {
                            pending.add((same
                                            ? answering.submit(request(question), pending.getLast())
                                            : answering.submit(request(question)))
                                    .orElseThrow());
                        } catch (ImageException e) {
                            uncut = Optional.of(new ImageException("question " + (next + 1), e.getMessage(), e));
                        }
                        next++;
                    }
                    if (pending.isEmpty()) {
                        throw uncut.orElseThrow();
                    }
                    answers.add(await(pending.remove(), questions.get(answers.size()), AnswerListener.NONE));
                }
                return List.copyOf(answers);
            } finally {
                pending.forEach(Scheduler.Pending::cancel);
            }
        });
    }

    private static boolean sameImages(Question first, Question second) {
        return first.images().size() == second.images().size()
                && IntStream.range(0, first.images().size())
                        .allMatch(i -> first.images().get(i) == second.images().get(i));
    }

    private Scheduler scheduler() {
        return scheduler.orElseThrow(() -> new CheckpointException(
                directory.path(), "does not answer questions; it makes embeddings of images and texts"));
    }

    private static Request request(Question question) {
        return new Request(
                question.images().stream().map(Image::pixels).toList(),
                question.prompt(),
                question.maxTokens(),
                new Sampling(question.temperature(), question.topK(), question.topP()),
                question.seed(),
                List.of(),
                question.repeatPenalty());
    }

    private static Answer await(Scheduler.Pending pending, Question question, AnswerListener listener) {
        try {
            stormsight.generate.Answer answer = pending.await(listener);
            return new Answer(
                    answer.text(),
                    answer.tokens().stream()
                            .map(token -> new Answer.Token(token.id(), token.text(), token.logProbability()))
                            .toList(),
                    answer.stop() == stormsight.generate.Answer.Stop.END,
                    answer.promptTokens(),
                    question.images().size() > 1 ? List.of() : marked(answer, question.images().getFirst()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CancellationException("interrupted");
        }
    }

    private static List<Answer.Marked> marked(stormsight.generate.Answer answer, Image image) {
        return Detections.of(answer, image.width(), image.height(), Detections.Bins.B1024).found().stream()
                .map(found -> new Answer.Marked(
                        found.label(),
                        (int) found.box().x(),
                        (int) found.box().y(),
                        (int) found.box().width(),
                        (int) found.box().height(),
                        found.score(),
                        found.mask().map(Stormsight::mask)))
                .toList();
    }

    private static Answer.Mask mask(Mask mask) {
        BitSet inside = new BitSet(mask.inside().length);
        IntStream.range(0, mask.inside().length).filter(i -> mask.inside()[i]).forEach(inside::set);
        return new Answer.Mask(mask.width(), mask.height(), inside);
    }

    /**
     * The embedding of an image, of length 1: the product of two is the cosine of their angle.
     *
     * @throws StormsightException of kind MODEL if the model does not embed, BACKEND if the device fails
     */
    public float[] embed(Image image) {
        return embedImages(List.of(image)).getFirst();
    }

    /**
     * The embeddings of images, in their order, see {@link #embed(Image)}. A processor takes several at a time; each
     * embedding is that of the image alone, but for rounding.
     *
     * @throws StormsightException of kind MODEL if the model does not embed, BACKEND if the device fails
     */
    public List<float[]> embedImages(List<Image> images) {
        return embeddings(used -> used.images(
                Views.of(used.model()::views, images.stream().map(Image::pixels).toList())));
    }

    /**
     * The embedding of a text, see {@link #embed(Image)}.
     *
     * @throws StormsightException of kind MODEL if the model does not embed, BACKEND if the device fails
     */
    public float[] embed(String text) {
        return embedTexts(List.of(text)).getFirst();
    }

    /**
     * The embeddings of texts, in their order, see {@link #embedImages}.
     *
     * @throws StormsightException of kind MODEL if the model does not embed, BACKEND if the device fails
     */
    public List<float[]> embedTexts(List<String> texts) {
        return embeddings(used -> used.texts(texts));
    }

    private List<float[]> embeddings(Function<Embedder, float[][]> embedding) {
        return translated(() -> {
            synchronized (embedder()) {
                requireOpen();
                return Stream.of(embedding.apply(embedder())).map(Embedder::normalized).toList();
            }
        });
    }

    private Embedder embedder() {
        return embedder.orElseThrow(() ->
                new CheckpointException(directory.path(), "makes no embeddings; it answers questions about images"));
    }

    private void requireOpen() {
        if (closed) {
            throw new CancellationException("the model is closed");
        }
    }

    /** Turns what parts of ours throw into what programs can catch. */
    private static <T> T translated(Supplier<T> call) {
        try {
            return call.get();
        } catch (CheckpointException e) {
            throw new StormsightException(StormsightException.Kind.MODEL, e);
        } catch (ImageException e) {
            throw new StormsightException(StormsightException.Kind.IMAGE, e);
        } catch (BackendException e) {
            throw new StormsightException(StormsightException.Kind.BACKEND, e);
        } catch (LimitException e) {
            throw new StormsightException(StormsightException.Kind.TOO_LONG, e);
        }
    }

    /**
     * Frees the model and its device. Closing again does nothing.
     *
     * @throws StormsightException of kind MODEL if the files were changed while the model was open, so that nobody
     *     knows what it answered with
     */
    @Override
    public void close() {
        translated(() -> {
            synchronized (this) {
                if (closed) {
                    return null;
                }
                scheduler.ifPresent(Scheduler::close);
                embedder.ifPresent(used -> {
                    synchronized (used) {
                        closed = true;
                        used.close();
                    }
                });
                closed = true;
            }
            try (directory; backend) {
                return null;
            }
        });
    }
}

package stormsight.generate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import stormsight.backend.Backend;
import stormsight.backend.BackendException;
import stormsight.backend.Executor;
import stormsight.backend.RunListener;
import stormsight.backend.RunProfile;
import stormsight.backend.StartUp;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.HostTensor;
import stormsight.image.ImageException;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Options.PromptRows;
import stormsight.model.Passes;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.probe.Probe;
import stormsight.program.Op;
import stormsight.program.Program;
import stormsight.program.Sampling;
import stormsight.program.Segment;
import stormsight.program.Step;
import stormsight.program.Tensor;
import stormsight.tokenizer.StreamingDetokenizer;

/**
 * A model prepared on a backend: the only loop of encode, prefill and decode. Whole answers, and the same steps one by
 * one for those who look into a model or time it. Probes, if there are some, read what each step made. Requests come
 * one at a time, or many that are answered side by side; each starts with an empty cache. Used by one thread. Closing
 * it frees the executor, not the model's files and not the backend.
 */
public final class Generator implements Probe.Outputs, AutoCloseable {
    private final ModelDirectory directory;
    private final Backend backend;
    private final Passes passes;
    private final long parameters;
    private final Map<Tensor, HostTensor> weights;
    private final Executor executor;
    private final Arena arena;
    private final List<Probe> probes;
    private final MemorySegment patches;
    private final MemorySegment ids;
    /** The token before, of each sequence of the next decode. */
    private final MemorySegment lastIds;
    /** What the last run drew, an element for each sequence. */
    private final MemorySegment drawn;
    private final MemorySegment logProbabilities;
    private final Set<Integer> endIds;
    private String drawnBy = "";
    /** The images whose features are on the device, if {@link #answer(Iterator)} put them there. */
    private List<Views> encoded = List.of();
    /** Where features of images may be found, and are kept. */
    private Optional<KeptFeatures> keptFeatures = Optional.empty();
    /** Whether the executor knows which ids may be answered. */
    private boolean answerPartsWritten;
    /** Opened for the first request that has one. */
    private Optional<RepeatPenalty> repeatPenalty = Optional.empty();
    /** Opened for the first mask. */
    private Optional<MaskDecoder> maskDecoder = Optional.empty();

    private Generator(
            ModelDirectory directory,
            Backend backend,
            ModelDirectory.Bound bound,
            Passes passes,
            Executor executor,
            Arena arena,
            List<Probe> probes) {
        this.directory = directory;
        this.backend = backend;
        this.passes = passes;
        this.executor = executor;
        this.arena = arena;
        this.probes = probes;
        parameters = bound.parameters();
        weights = bound.weights();
        patches = arena.allocate(passes.encode().input().bytes(), 64);
        ids = arena.allocate(passes.prefill().input().bytes(), 64);
        lastIds = arena.allocate(passes.decode().input().bytes(), 64);
        drawn = arena.allocate(passes.token().bytes(), 64);
        logProbabilities = arena.allocate(passes.logProbability().bytes(), 64);
        endIds = directory.describe().endIds();
    }

    /** How programs are given to a backend. */
    @FunctionalInterface
    private interface Preparing {
        Executor prepare(Map<Tensor, HostTensor> weights, List<Program> programs);
    }

    /**
     * Prepares a model.
     *
     * @param limits longest prompt and answer of the requests to come
     * @param probes in the order in which they rewrite the programs
     * @throws LimitException if the limits pass the positions that the model knows
     * @throws BackendException if the device cannot hold or compile the model with its probes
     * @throws IllegalArgumentException if a probe asks for what the model does not have
     */
    public static Generator open(
            ModelDirectory directory,
            Backend backend,
            Limits limits,
            Options options,
            RunListener listener,
            List<? extends Probe> probes) {
        return open(directory, backend, limits, options, listener, probes, _ -> List.of());
    }

    /**
     * The same with further programs beside those of the passes, for comparisons that run several variants of a pass.
     *
     * @param more makes them of the passes as the probes left them
     */
    public static Generator open(
            ModelDirectory directory,
            Backend backend,
            Limits limits,
            Options options,
            RunListener listener,
            List<? extends Probe> probes,
            Function<Passes, List<Program>> more) {
        return open(directory, backend, limits, options, List.copyOf(probes), more,
                (weights, programs) -> backend.prepare(weights, programs, listener));
    }

    /** A generator that looks for an image's features in a folder before it makes them, and keeps them there. */
    public static Generator open(
            ModelDirectory directory, Backend backend, Limits limits, Options options, FeatureCache cache) {
        Generator generator = open(directory, backend, limits, options, RunListener.NONE, List.of(),
                passes -> KeptFeatures.programs(passes.encode().output()));
        generator.keptFeatures = Optional.of(generator.new KeptFeatures(cache));
        return generator;
    }

    /** A generator whose steps can be {@link #profile profiled}. */
    public static Generator openToProfile(ModelDirectory directory, Backend backend, Limits limits, Options options) {
        return open(directory, backend, limits, options, List.of(), _ -> List.of(), backend::prepareToProfile);
    }

    private static Generator open(
            ModelDirectory directory,
            Backend backend,
            Limits limits,
            Options options,
            List<Probe> probes,
            Function<Passes, List<Program>> more,
            Preparing preparing) {
        directory.readTokenizer();
        PromptRows rows = probes.stream().map(Probe::promptRows).reduce(options.promptRows(), PromptRows::or);
        Options wanted = options.withPromptRows(rows);
        backend.expect(fitting(directory, backend, limits, wanted));
        Arena arena = Arena.ofShared();
        try {
            ModelDirectory.Bound bound = directory.bind(arena, limits, wanted);
            Passes passes = bound.passes();
            for (Probe probe : probes) {
                passes = passes.with(probe.add(Probe.Pass.ENCODE, passes.encode().program(), passes),
                        probe.add(Probe.Pass.PREFILL, passes.prefill().program(), passes),
                        probe.add(Probe.Pass.DECODE, passes.decode().program(), passes));
            }
            List<Program> programs = new ArrayList<>(passes.programs());
            programs.addAll(more.apply(passes));
            return new Generator(
                    directory, backend, bound, passes, preparing.prepare(bound.weights(), programs), arena, probes);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Whether model and device have room, before anything is computed; the backend looks again, at what it really
     * allocates.
     *
     * @throws LimitException if the limits pass the positions that the model knows
     * @throws BackendException if the device has too little memory
     */
    public static void requireFits(ModelDirectory directory, Backend backend, Limits limits, Options options) {
        fitting(directory, backend, limits, options);
    }

    /** The programs of which {@link #requireFits} is known, without values. */
    private static List<Program> fitting(ModelDirectory directory, Backend backend, Limits limits, Options options) {
        int positions = directory.describe().decoder().positions();
        long tokens = (long) limits.promptTokens() + limits.newTokens();
        if (tokens > positions) {
            throw new LimitException("a prompt of " + limits.promptTokens() + " tokens and an answer of up to "
                    + limits.newTokens() + " need " + tokens + " positions, the model has " + positions);
        }
        // Weights that are used in place need not be in memory all at once.
        List<Program> programs = directory.unbound(limits, options).programs();
        long needed = programs.stream()
                .flatMap(program -> program.tensors().stream())
                .distinct()
                .filter(tensor -> tensor.kind() != Tensor.Kind.WEIGHT || options.weights().isPresent())
                .mapToLong(Tensor::bytes)
                .sum();
        needed += options.weights().isPresent() ? 0 : directory.checkpoint().copiedBytes();
        long memory = backend.device().memoryBytes();
        if (needed > memory) {
            throw new BackendException("the model needs " + needed + " bytes for " + limits.capacity() + " tokens"
                    + options.weights().map(type -> " and weights in " + type).orElse("") + ", "
                    + backend.device().name() + " has " + memory);
        }
        return programs;
    }

    public ModelDirectory directory() {
        return directory;
    }

    /** The programs that run, with what probes added. */
    public Passes passes() {
        return passes;
    }

    /** All weights, as they are held. */
    public Map<Tensor, HostTensor> weights() {
        return weights;
    }

    /** Numbers in all weights. */
    public long parameters() {
        return parameters;
    }

    /** Bytes that the backend holds beside the weights that it uses in place. */
    public long allocatedBytes() {
        return executor.allocatedBytes();
    }

    /** As {@link Executor#roundsActivations}. */
    public boolean roundsActivations() {
        return executor.roundsActivations();
    }

    /** Where the time of preparing the backend went, if it says so. */
    public Optional<StartUp> startUp() {
        return executor.startUp();
    }

    /**
     * Cuts the images of a request, which takes neither the model nor this thread: others can do so ahead.
     *
     * @throws IllegalArgumentException if the text cannot be a prompt
     * @throws stormsight.image.ImageException if an image has a shape that the model cannot take
     */
    public static Prepared prepare(ModelDirectory directory, Request request) {
        long start = System.nanoTime();
        directory.processor().check(request.prompt(), request.images().size());
        return new Prepared(request, directory.views(request.images()), System.nanoTime() - start);
    }

    /**
     * Answers a request.
     *
     * @throws LimitException if prompt and answer do not fit what the generator was opened for
     * @throws IllegalArgumentException if the text cannot be a prompt
     * @throws BackendException if the device fails or computes something that is not a number
     */
    public Answer answer(Request request, AnswerListener listener) {
        return answer(() -> prepare(directory, request), listener);
    }

    /** The same of a request whose images are cut ahead, or by another thread that is waited for. */
    public Answer answer(Supplier<Prepared> prepared, AnswerListener listener) {
        Answer[] answer = new Answer[1];
        answer(List.of(new Question() {
            @Override
            public Prepared prepared() {
                return prepared.get();
            }

            @Override
            public void text(String piece) {
                listener.text(piece);
            }

            @Override
            public void answered(Answer given) {
                answer[0] = given;
            }

            @Override
            public void refused(RuntimeException why) {
                throw why;
            }
        }).iterator());
        return answer[0];
    }

    /**
     * Answers any number of requests, as many at a time as the limits have sequences: one that is done makes room for
     * the next at once. Each answer is what it is alone: on a processor to the bit, on a device but for rounding.
     * Images that are the very ones of the question before are not encoded again.
     *
     * @param questions asked for the next one whenever there is room
     * @throws BackendException if the device fails or computes something that is not a number
     * @throws CheckpointException in its place if the model's files were changed meanwhile
     */
    public void answer(Iterator<? extends Question> questions) {
        try {
            loop(slot -> {
                Optional<Course> begun = Optional.empty();
                while (begun.isEmpty() && questions.hasNext()) {
                    begun = begin(questions.next(), slot);
                }
                return begun;
            });
        } catch (BackendException e) {
            throw directory.checkpoint().explained(e);
        }
    }

    /**
     * The loop: reads prompts and then token after token, as many sequences at a time as there are slots. One that ends
     * makes room for the next at once.
     *
     * @param next what comes into a slot; empty if there is nothing now
     */
    private void loop(IntFunction<Optional<Course>> next) {
        Course[] slots = new Course[passes.limits().sequences()];
        List<Course> live = new ArrayList<>();
        while (true) {
            live.clear();
            for (int slot = 0; slot < slots.length; slot++) {
                while (slots[slot] == null || !slots[slot].goesOn()) {
                    Optional<Course> begun = next.apply(slot);
                    if (begun.isEmpty()) {
                        break;
                    }
                    slots[slot] = begun.get();
                    prefill(slots[slot]);
                }
                if (slots[slot] != null && slots[slot].goesOn()) {
                    live.add(slots[slot]);
                }
            }
            if (live.isEmpty()) {
                return;
            }
            decode(live);
        }
    }

    /**
     * Encodes what a question is about.
     *
     * @return empty if the question was refused
     */
    private Optional<Course> begin(Question question, int slot) {
        long start = System.nanoTime();
        try {
            Prepared prepared = question.prepared();
            requireViews(prepared.images());
            boolean known = isEncoded(prepared.images());
            if (!known) {
                load(prepared.images().getFirst(), 0);
            }
            long imageDone = System.nanoTime();
            if (!known && keptFeatures.isPresent()) {
                keptFeatures.get().encode(prepared.images());
            } else if (!known) {
                encodeLoaded(prepared.images());
            }
            encoded = prepared.images();
            long encodeDone = System.nanoTime();
            Prompt prompt = directory.prompt(prepared.request().prompt(), prepared.images());
            // The last token of an answer is never read, so it needs no place.
            requireFits(prompt, prepared.request().maxTokens(), prepared.request().maxTokens() - 1);
            return Optional.of(new Sequence(question, prepared, prompt, slot, start, imageDone, encodeDone));
        } catch (LimitException | IllegalArgumentException | CheckpointException | ImageException e) {
            question.refused(e);
            return Optional.empty();
        }
    }

    /** The first token behind a prompt. */
    private void prefill(Course course) {
        prefill(passes.prefill().program(), course.prompt, course.slot, course.nextCoin(), course.sampling());
        Tensor logits = passes.prefill().output();
        take(List.of(course), logits, logits.rows() == 1 ? 0 : course.prompt.length() - 1);
    }

    /** One token more of each. */
    private void decode(List<Course> live) {
        List<Step.Sequence> steps = new ArrayList<>();
        for (int i = 0; i < live.size(); i++) {
            lastIds.setAtIndex(ValueLayout.JAVA_INT, i, live.get(i).next.getAsInt());
            steps.add(live.get(i).step());
        }
        decode(new Step(steps));
        take(live, passes.decode().output(), 0);
    }

    /**
     * Gives each sequence of the last run what was drawn for it.
     *
     * @param first row of logits
     */
    private void take(List<Course> courses, Tensor logits, int first) {
        executor.read(passes.token(), drawn.asSlice(0, (long) Integer.BYTES * courses.size()));
        executor.read(passes.logProbability(), logProbabilities.asSlice(0, (long) Float.BYTES * courses.size()));
        penalise(courses, logits, first);
        for (int i = 0; i < courses.size(); i++) {
            courses.get(i).take(drawn.getAtIndex(ValueLayout.JAVA_INT, i),
                    logProbabilities.getAtIndex(ValueLayout.JAVA_FLOAT, i), logits);
        }
    }

    /** Whether the features on the device are those of exactly these images. */
    private boolean isEncoded(List<Views> images) {
        boolean same = images.size() == encoded.size();
        for (int i = 0; same && i < images.size(); i++) {
            same = images.get(i) == encoded.get(i);
        }
        return same;
    }

    /**
     * Draws again where tokens are to repeat less.
     *
     * @param drawing the sequences that were drawn for, in the order of their rows of logits
     * @param first row of logits
     */
    private void penalise(List<Course> drawing, Tensor logits, int first) {
        List<Integer> places = IntStream.range(0, drawing.size())
                .filter(i -> drawing.get(i).repeatPenalty() != 1)
                // What is not a number is told of by whoever takes it.
                .filter(i -> drawn.getAtIndex(ValueLayout.JAVA_INT, i) >= 0)
                .boxed()
                .toList();
        if (places.isEmpty()) {
            return;
        }
        int columns = logits.columns();
        List<RepeatPenalty.Draw> draws = new ArrayList<>();
        try (Arena local = Arena.ofConfined()) {
            long rowBytes = (long) columns * Float.BYTES;
            MemorySegment rows = local.allocate((first + drawing.size()) * rowBytes);
            executor.read(logits, rows);
            places.forEach(i -> draws.add(drawing.get(i)
                    .draw(rows.asSlice((first + i) * rowBytes, rowBytes).toArray(ValueLayout.JAVA_FLOAT))));
        }
        if (repeatPenalty.isEmpty()) {
            repeatPenalty = Optional.of(
                    new RepeatPenalty(backend, passes.limits().sequences(), directory.answerParts()));
        }
        int[] ids = repeatPenalty.get().draw(draws);
        int counted = directory.counted();
        for (int i = 0; i < ids.length; i++) {
            drawn.setAtIndex(ValueLayout.JAVA_INT, places.get(i), ids[i]);
            logProbabilities.setAtIndex(
                    ValueLayout.JAVA_FLOAT,
                    places.get(i),
                    (float) Probability.logOf(draws.get(i).logits(), 0, counted, ids[i]));
        }
    }

    private void requireViews(List<Views> images) {
        int views = images.stream().mapToInt(Views::count).sum();
        if (views > passes.limits().views()) {
            throw new LimitException("the images have " + views + " views, the session takes "
                    + passes.limits().views());
        }
    }

    /** @throws LimitException if a prompt and an answer of which every token is read do not fit what was prepared */
    public void requireFits(Prompt prompt, int maxTokens) {
        requireFits(prompt, maxTokens, maxTokens);
    }

    private void requireFits(Prompt prompt, int maxTokens, int read) {
        if (prompt.length() > passes.limits().promptTokens()) {
            throw new LimitException("the prompt has " + prompt.length() + " tokens with its image, the session takes "
                    + passes.limits().promptTokens());
        }
        if ((long) prompt.length() + read > passes.limits().capacity()) {
            throw new LimitException("a prompt of " + prompt.length() + " tokens and an answer of up to " + maxTokens
                    + " pass the cache of " + passes.limits().capacity());
        }
    }

    /** Makes the features of images, which stay for the prompts to come. */
    public List<Views> encode(List<RgbImage> images) {
        List<Views> cut = directory.views(images);
        encodeViews(cut);
        return cut;
    }

    /** The same for images that are cut already. */
    public void encodeViews(List<Views> images) {
        requireViews(images);
        load(images.getFirst(), 0);
        encodeLoaded(images);
    }

    /** Cuts a view into the buffer that {@link #encodeLoaded(int)} sends. */
    public void load(Views image, int view) {
        image.write(view, patches);
    }

    /** What was {@link #load loaded}, as F32. */
    public float[] loaded() {
        return patches.toArray(ValueLayout.JAVA_FLOAT);
    }

    /** Encodes all views of images, of which the first is {@link #load loaded} already. */
    public void encodeLoaded(List<Views> images) {
        int done = 0;
        for (Views image : images) {
            for (int view = 0; view < image.count(); view++) {
                if (done > 0) {
                    load(image, view);
                }
                encodeLoaded(done++);
            }
        }
    }

    /** Encodes the view that is loaded, as the view of that number of all images. */
    public void encodeLoaded(int view) {
        encoded = List.of();
        executor.write(passes.encode().input(), patches);
        executor.run(passes.encode().program(), passes.encodeStep(view));
        probes.forEach(probe -> probe.read(Probe.Pass.ENCODE, this));
    }

    /** Reads a prompt. The token that follows is drawn greedily. */
    public void prefill(Prompt prompt) {
        prefill(passes.prefill().program(), prompt);
    }

    /** The same into a slot of several. */
    public void prefill(Prompt prompt, int slot) {
        prefill(passes.prefill().program(), prompt, slot, 0, Sampling.GREEDY);
    }

    /** The same by a variant of prefill. */
    public void prefill(Program variant, Prompt prompt) {
        prefill(variant, prompt, 0, 0, Sampling.GREEDY);
    }

    private void prefill(Program program, Prompt prompt, int slot, float coin, Sampling sampling) {
        MemorySegment used = ids.asSlice(0, (long) prompt.length() * Integer.BYTES);
        MemorySegment.copy(prompt.ids(), 0, used, ValueLayout.JAVA_INT, 0, prompt.length());
        executor.write(passes.prefill().input(), used);
        if (!answerPartsWritten) {
            executor.write(passes.answerParts(), directory.answerParts());
            answerPartsWritten = true;
        }
        drawnBy = program.name();
        executor.run(program, new Step(List.of(
                new Step.Sequence(slot, 0, prompt.length(), prompt.prefixLength(), coin, sampling))));
        probes.forEach(probe -> probe.read(Probe.Pass.PREFILL, this));
    }

    /**
     * Reads one token more. The one that follows is drawn greedily.
     *
     * @param position places before it
     * @param prefixLength as the prompt has it
     */
    public void decode(int id, int position, int prefixLength) {
        lastIds.set(ValueLayout.JAVA_INT, 0, id);
        decode(passes.decodeStep(position, prefixLength));
    }

    /**
     * Reads one token more of each sequence of a step.
     *
     * @param ids one for each, in their order
     */
    public void decode(int[] ids, Step step) {
        MemorySegment.copy(ids, 0, lastIds, ValueLayout.JAVA_INT, 0, step.rows());
        decode(step);
    }

    /** Reads the next token of each sequence of a step, as they stand in {@link #lastIds}. */
    private void decode(Step step) {
        executor.write(passes.decode().input(), lastIds.asSlice(0, (long) Integer.BYTES * step.rows()));
        drawnBy = passes.decode().program().name();
        executor.run(passes.decode().program(), step);
        probes.forEach(probe -> probe.read(Probe.Pass.DECODE, this));
    }

    /** Runs a program that was prepared beside the passes. */
    public void run(Program program, Step step) {
        executor.run(program, step);
    }

    /** Runs a program with each of its operations timed; only if it was opened {@link #openToProfile to profile}. */
    public RunProfile profile(Program program, Step step) {
        return executor.profile(program, step);
    }

    /** Says how the reading of a prompt goes on. */
    @FunctionalInterface
    public interface Continuation {
        /**
         * Called behind the prompt and behind each token.
         *
         * @param place tokens behind the prompt that were read
         * @param drawn the most probable token
         * @param logits it was drawn from, which can be read now
         * @return the token that is read next, the one that was drawn or another; empty to end
         */
        OptionalInt next(int place, int drawn, Tensor logits);
    }

    /**
     * Reads a prompt about the images that were encoded last, and token after token behind it.
     *
     * @throws BackendException if logits are not numbers
     */
    public void follow(Prompt prompt, Continuation continuation) {
        followAnyhow(prompt, (place, id, logits) -> continuation.next(place, checked(id), logits));
    }

    /** The same for those who look for what a device computes wrongly: -1 is drawn where logits are not numbers. */
    public void followAnyhow(Prompt prompt, Continuation continuation) {
        Iterator<Course> one = List.<Course>of(new Course(prompt, 0) {
            @Override
            OptionalInt taken(int id, float logProbability, Tensor logits) {
                return continuation.next(read(), id, logits);
            }
        }).iterator();
        loop(_ -> one.hasNext() ? Optional.of(one.next()) : Optional.empty());
    }

    /**
     * Reads a prompt about the images that were encoded last, and given tokens behind it but for the last one.
     *
     * @param tokens at least one
     * @param listener hears each of the tokens, with the logits that the model has for its place
     * @throws BackendException if logits are not numbers
     */
    public void force(Prompt prompt, List<Integer> tokens, BiConsumer<Tensor, Integer> listener) {
        follow(prompt, (place, _, logits) -> {
            listener.accept(logits, tokens.get(place));
            return place + 1 < tokens.size() ? OptionalInt.of(tokens.get(place)) : OptionalInt.empty();
        });
    }

    /**
     * Draws the most probable token after each other, about the images that were encoded last. Every token is read by
     * decode, the last one too, so that probes see all of them.
     *
     * @param maxTokens most tokens of the answer
     * @param listener hears each token as it is drawn, the one that ended the answer too, with the logits it was drawn
     *     from, which can be read then
     * @throws BackendException if logits are not numbers
     */
    public void draw(Prompt prompt, int maxTokens, BiConsumer<Tensor, Integer> listener) {
        followAnyhow(prompt, (place, id, logits) -> {
            if (place == maxTokens) {
                return OptionalInt.empty();
            }
            listener.accept(logits, checked(id));
            return endIds.contains(id) ? OptionalInt.empty() : OptionalInt.of(id);
        });
    }

    /** As {@link #draw}: the tokens without the one that ended the answer. */
    public List<Integer> greedy(Prompt prompt, int maxTokens) {
        List<Integer> answer = new ArrayList<>();
        draw(prompt, maxTokens, (_, id) -> {
            if (!endIds.contains(id)) {
                answer.add(id);
            }
        });
        return answer;
    }

    /**
     * The token that the last prefill or decode drew.
     *
     * @throws BackendException if the logits were not numbers
     */
    public int token() {
        return checked(drawn());
    }

    /** The tokens that the last decode drew for so many sequences, each as {@link #token()} has it. */
    public int[] tokens(int sequences) {
        MemorySegment tokens = drawn.asSlice(0, (long) Integer.BYTES * sequences);
        executor.read(passes.token(), tokens);
        return Arrays.stream(tokens.toArray(ValueLayout.JAVA_INT)).map(this::checked).toArray();
    }

    private int checked(int id) {
        if (id < 0) {
            throw new BackendException(drawnBy
                    + " made logits that are not numbers: the weights are damaged or the device computes wrongly");
        }
        return id;
    }

    /** The token that the last prefill or decode drew, -1 if the logits were not numbers. */
    public int drawn() {
        executor.read(passes.token(), drawn.asSlice(0, Integer.BYTES));
        return drawn.get(ValueLayout.JAVA_INT, 0);
    }

    @Override
    public float[] read(Tensor output) {
        try (Arena local = Arena.ofConfined()) {
            MemorySegment data = local.allocate(output.bytes());
            executor.read(output, data);
            return data.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    /** Writes an I32 input that a probe added. */
    public void write(Tensor input, int[] values) {
        try (Arena local = Arena.ofConfined()) {
            executor.write(input, local.allocateFrom(ValueLayout.JAVA_INT, values));
        }
    }

    /** Writes a U8 input that a probe added. */
    public void write(Tensor input, byte[] values) {
        try (Arena local = Arena.ofConfined()) {
            executor.write(input, local.allocateFrom(ValueLayout.JAVA_BYTE, values));
        }
    }

    @Override
    public void close() {
        try (arena; executor) {
            maskDecoder.ifPresent(MaskDecoder::close);
            repeatPenalty.ifPresent(RepeatPenalty::close);
        }
    }

    /** What the mask decoder makes of codes in a text, if there is a decoder. */
    private Map<List<Integer>, MaskMap> masks(String text) {
        Map<List<Integer>, MaskMap> masks = new HashMap<>();
        Set<List<Integer>> codes = Detections.codes(text);
        if (!codes.isEmpty() && maskDecoder.isEmpty()) {
            maskDecoder = directory.maskDecoder().map(file -> MaskDecoder.open(file, backend));
        }
        maskDecoder.ifPresent(decoder -> codes.forEach(each -> masks.put(each, decoder.decode(each))));
        return masks;
    }

    /** Features that go from the device to a folder and back. */
    private final class KeptFeatures {
        private final FeatureCache cache;
        private final Tensor readable = readable(passes.encode().output());
        private final Tensor written = written(passes.encode().output());
        private final List<Program> programs = programs(passes.encode().output());
        private final MemorySegment values = arena.allocate(readable.bytes(), 64);

        KeptFeatures(FeatureCache cache) {
            this.cache = cache;
        }

        private static Tensor readable(Tensor features) {
            return features.as("features.readable", Tensor.Kind.OUTPUT, 1);
        }

        private static Tensor written(Tensor features) {
            return features.as("features.written", Tensor.Kind.INPUT, 1);
        }

        /** One that makes the features readable, and one that puts written ones in their place. */
        static List<Program> programs(Tensor features) {
            Op read = new Op.Copy(features, readable(features));
            Op write = new Op.Store(written(features), features);
            return List.of(
                    new Program("read features", List.of(Segment.once("features.read", List.of(read)))),
                    new Program("write features", List.of(Segment.once("features.write", List.of(write)))));
        }

        /** Encodes all views of images, of which the first is loaded, unless their features are kept. */
        void encode(List<Views> images) {
            List<byte[]> views = new ArrayList<>();
            for (Views image : images) {
                for (int view = 0; view < image.count(); view++) {
                    if (!views.isEmpty()) {
                        load(image, view);
                    }
                    views.add(patches.toArray(ValueLayout.JAVA_BYTE));
                }
            }
            int rows = views.size() * passes.rowsPerView();
            Step all = new Step(0, rows, rows);
            MemorySegment used = values.asSlice(0, (long) rows * readable.columns() * Float.BYTES);
            FeatureCache.Key key = cache.key(views, roundsActivations());
            if (cache.read(key, used)) {
                executor.write(written, used);
                executor.run(programs.getLast(), all);
                return;
            }
            if (views.size() > 1) {
                load(images.getFirst(), 0);
            }
            encodeLoaded(images);
            executor.run(programs.getFirst(), all);
            executor.read(readable, used);
            cache.write(key, used);
        }
    }

    /** A prompt in a slot, and the tokens that are read behind it. Greedy. */
    private abstract static class Course {
        final Prompt prompt;
        final int slot;
        /** The token that is read next, if it goes on. */
        private OptionalInt next = OptionalInt.empty();
        /** Of the last draw. */
        private float coin;
        private int drawn;

        Course(Prompt prompt, int slot) {
            this.prompt = prompt;
            this.slot = slot;
        }

        /**
         * What was drawn last.
         *
         * @param id -1 if the logits were not numbers
         * @return the token that is read next
         */
        abstract OptionalInt taken(int id, float logProbability, Tensor logits);

        void take(int id, float logProbability, Tensor logits) {
            drawn++;
            next = taken(id, logProbability, logits);
        }

        /** Tokens behind the prompt that were read. */
        int read() {
            return drawn - 1;
        }

        boolean goesOn() {
            return next.isPresent();
        }

        /** The step that reads the next token. */
        Step.Sequence step() {
            return new Step.Sequence(
                    slot, prompt.length() + read(), 1, prompt.prefixLength(), nextCoin(), sampling());
        }

        float nextCoin() {
            coin = coin();
            return coin;
        }

        /** For the next token. */
        float coin() {
            return 0;
        }

        Sampling sampling() {
            return Sampling.GREEDY;
        }

        /** 1 for none. */
        float repeatPenalty() {
            return 1;
        }

        /** Ids of the prompt and of the answer so far. */
        BitSet seen() {
            return new BitSet();
        }

        /** What the last token is drawn from, and by which coin. */
        RepeatPenalty.Draw draw(float[] logits) {
            return new RepeatPenalty.Draw(logits, seen(), repeatPenalty(), coin, sampling());
        }
    }

    /** A question's prompt and the answer that forms behind it. */
    private final class Sequence extends Course {
        private final Question question;
        private final Prepared prepared;
        private final Random coins;
        private final BitSet seen = new BitSet();
        private final StreamingDetokenizer detokenizer = new StreamingDetokenizer(directory.tokenizer());
        private final StringBuilder text = new StringBuilder();
        private final List<Answer.Token> tokens = new ArrayList<>();
        private Answer.Stop stop;
        /** Characters of the text that were told. */
        private int told;
        private final long start;
        private final long imageDone;
        private final long encodeDone;
        private long prefillDone;

        Sequence(Question question, Prepared prepared, Prompt prompt, int slot, long start, long imageDone,
                long encodeDone) {
            super(prompt, slot);
            this.question = question;
            this.prepared = prepared;
            this.start = start;
            this.imageDone = imageDone;
            this.encodeDone = encodeDone;
            coins = new Random(prepared.request().seed());
            for (int id : prompt.plainIds(directory.describe().imageToken())) {
                seen.set(id);
            }
        }

        @Override
        float coin() {
            return sampling().greedy() ? 0 : coins.nextFloat();
        }

        @Override
        Sampling sampling() {
            return prepared.request().sampling();
        }

        @Override
        float repeatPenalty() {
            return prepared.request().repeatPenalty();
        }

        @Override
        BitSet seen() {
            return seen;
        }

        @Override
        OptionalInt taken(int id, float logProbability, Tensor logits) {
            tokens.add(new Answer.Token(checked(id), directory.tokenizer().token(id), logProbability));
            seen.set(id);
            if (endIds.contains(id)) {
                stop = Answer.Stop.END;
            } else {
                print(detokenizer.push(id));
                if (goesOn() && tokens.size() == prepared.request().maxTokens()) {
                    stop = Answer.Stop.LENGTH;
                }
            }
            if (tokens.size() == 1) {
                prefillDone = System.nanoTime();
            }
            finish();
            return OptionalInt.of(id);
        }

        private void finish() {
            if (goesOn()) {
                return;
            }
            if (stop != Answer.Stop.TEXT) {
                print(detokenizer.flush());
                tell(text.length());
            }
            Answer.Timings timings = new Answer.Timings(
                    prepared.nanos(),
                    encodeDone - imageDone,
                    prefillDone - encodeDone,
                    prefillDone - start,
                    System.nanoTime() - prefillDone);
            question.answered(new Answer(
                    text.toString(), tokens, stop, prompt.length(), timings, masks(text.toString())));
        }

        @Override
        boolean goesOn() {
            return stop == null && question.wanted();
        }

        /** Adds a piece and tells what no text that is to end the answer can begin with. */
        private void print(String piece) {
            text.append(piece);
            int certain = text.length();
            for (String ending : prepared.request().stops()) {
                int at = text.indexOf(ending, told);
                if (at >= 0) {
                    stop = Answer.Stop.TEXT;
                    text.setLength(at);
                }
            }
            if (stop == Answer.Stop.TEXT) {
                tell(text.length());
                return;
            }
            for (String ending : prepared.request().stops()) {
                for (int length = Math.min(ending.length() - 1, text.length() - told); length > 0; length--) {
                    if (ending.startsWith(text.substring(text.length() - length))) {
                        certain = Math.min(certain, text.length() - length);
                        break;
                    }
                }
            }
            tell(certain);
        }

        private void tell(int end) {
            if (end > told) {
                question.text(text.substring(told, end));
                told = end;
            }
        }
    }
}

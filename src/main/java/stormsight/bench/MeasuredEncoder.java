package stormsight.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.List;
import stormsight.backend.Backend;
import stormsight.backend.RunListener;
import stormsight.image.RgbImage;
import stormsight.match.Towers;
import stormsight.model.Classifier;
import stormsight.model.DualEncoder;
import stormsight.model.Encoding;
import stormsight.model.ImageEncoder;
import stormsight.model.Matcher;
import stormsight.model.ModelDirectory;
import stormsight.model.Views;
import stormsight.model.Weights;
import stormsight.program.DType;

/** A model that compares images with texts, or names what is on them. */
final class MeasuredEncoder implements Measured {
    /** What {@link Trial.Part#TEXT} and {@link Trial.Part#PAIR} read. */
    static final String TEXT = "a photo of a cat on a mat";

    private final Configuration configuration;
    private final ModelDirectory directory;
    private final Backend backend;
    private final Arena arena;
    private final Weights weights;
    /** The image's, then the text's and the pair's where there are such. */
    private final List<Encoding> encodings;
    private final Towers towers;
    private final Picture picture;
    private final MemorySegment patches;
    private final long openNanos;
    private RgbImage pixels;
    private Views views;

    private MeasuredEncoder(
            Configuration configuration,
            ModelDirectory directory,
            Backend backend,
            Arena arena,
            Weights weights,
            List<Encoding> encodings,
            Towers towers,
            Picture picture,
            long start) {
        this.configuration = configuration;
        this.directory = directory;
        this.backend = backend;
        this.arena = arena;
        this.weights = weights;
        this.encodings = encodings;
        this.towers = towers;
        this.picture = picture;
        patches = arena.allocate(encodings.getFirst().pass().input().bytes(), 64);
        openNanos = System.nanoTime() - start;
    }

    /**
     * Opens the model and prepares its programs.
     *
     * @throws stormsight.checkpoint.CheckpointException if the model cannot be read
     * @throws stormsight.backend.BackendException if the backend is not there or cannot hold the model
     */
    static MeasuredEncoder open(Configuration configuration, Picture picture) {
        long start = System.nanoTime();
        ModelDirectory directory = configuration.openModel();
        Backend backend;
        try {
            backend = configuration.openBackend();
        } catch (RuntimeException | Error e) {
            directory.close();
            throw e;
        }
        Arena arena = Arena.ofShared();
        try {
            Weights weights = Weights.bound(directory.checkpoint(), arena, configuration.options());
            List<Encoding> encodings = encoder(directory).encodings(weights);
            Towers towers = new Towers(weights, encodings, backend, RunListener.NONE);
            return new MeasuredEncoder(
                    configuration, directory, backend, arena, weights, encodings, towers, picture, start);
        } catch (RuntimeException | Error e) {
            close(directory, backend, arena);
            throw e;
        }
    }

    private static ImageEncoder encoder(ModelDirectory directory) {
        return (ImageEncoder) directory.anyModel();
    }

    @Override
    public Configuration configuration() {
        return configuration;
    }

    @Override
    public Backend backend() {
        return backend;
    }

    @Override
    public Picture picture() {
        return picture;
    }

    @Override
    public String family() {
        return encoder(directory).title();
    }

    @Override
    public long parameters() {
        return weights.parameters();
    }

    @Override
    public DType dtype() {
        return Measured.dtype(weights.values().keySet());
    }

    @Override
    public boolean roundsActivations() {
        return towers.roundsActivations();
    }

    @Override
    public RgbImage pixels() {
        if (pixels == null) {
            pixels = decode();
        }
        return pixels;
    }

    @Override
    public Views views() {
        if (views == null) {
            views = encoder(directory).views(pixels());
        }
        return views;
    }

    @Override
    public float[] patches() {
        writePatches(pixels());
        return patches.toArray(ValueLayout.JAVA_FLOAT);
    }

    private void writePatches(RgbImage image) {
        encoder(directory).views(image).write(0, patches);
    }

    private float[] image() {
        return towers.patches(encodings.getFirst(), patches);
    }

    private float[] imageFile() {
        writePatches(decode());
        return image();
    }

    private float[] text() {
        return towers.text(encodings.get(1), ids());
    }

    private float[] pair() {
        return towers.text(encodings.get(2), ((Matcher) encoder(directory)).pairIds(ids()));
    }

    private int[] ids() {
        return switch (encoder(directory)) {
            case DualEncoder dual -> dual.ids(TEXT);
            case Matcher matcher -> matcher.ids(TEXT);
            case Classifier _ -> throw new IllegalArgumentException(family() + " reads no text");
        };
    }

    @Override
    public long time(Trial trial) {
        return switch (trial.part()) {
            case IMAGE_DECODE -> Measured.timed(this::decode);
            case RESIZE -> {
                RgbImage image = pixels();
                yield Measured.timed(() -> writePatches(image));
            }
            case IMAGE -> {
                writePatches(pixels());
                yield Measured.timed(this::image);
            }
            case IMAGE_FILE -> Measured.timed(this::imageFile);
            case TEXT -> Measured.timed(this::text);
            case PAIR -> Measured.timed(this::pair);
            case ENCODE, PROJECTOR, PREFILL, DECODE, PREFILL_AND_DECODE, FIRST_TOKEN -> throw notHere(trial);
        };
    }

    private static IllegalArgumentException notHere(Trial trial) {
        return new IllegalArgumentException(trial.name() + " is no part of an embedding");
    }

    @Override
    public float[] result(Trial trial) {
        return switch (trial.part()) {
            case IMAGE -> {
                writePatches(pixels());
                yield image();
            }
            case IMAGE_FILE -> imageFile();
            case TEXT -> text();
            case PAIR -> {
                writePatches(pixels());
                image();
                yield pair();
            }
            default -> throw notHere(trial);
        };
    }

    @Override
    public double operations(Trial trial) {
        double image = operations(0);
        return switch (trial.part()) {
            case IMAGE, IMAGE_FILE -> image;
            case TEXT -> operations(1);
            case PAIR -> image + operations(2);
            default -> 0;
        };
    }

    private double operations(int which) {
        Encoding encoding = encodings.get(which);
        return Measured.operations(encoding.program(), encoding.step(encoding.rows()));
    }

    @Override
    public MeasuredEncoder on(String otherBackend) {
        return open(configuration.on(otherBackend), picture);
    }

    @Override
    public int first() {
        return Arrays.hashCode(imageFile());
    }

    @Override
    public Cold cold() {
        long start = System.nanoTime();
        writePatches(decode());
        long imageDone = System.nanoTime();
        int first = Arrays.hashCode(image());
        long encodeDone = System.nanoTime();
        long compilers = ManagementFactory.getCompilationMXBean().getTotalCompilationTime() * 1_000_000;
        return new Cold(openNanos, towers.startUp(), imageDone - start, encodeDone - imageDone, 0, compilers, first);
    }

    @Override
    public void close() {
        towers.close();
        close(directory, backend, arena);
    }

    private static void close(ModelDirectory directory, Backend backend, Arena arena) {
        arena.close();
        backend.close();
        directory.close();
    }
}

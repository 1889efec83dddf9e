package stormsight.bench;

import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import stormsight.image.RgbImage;
import stormsight.model.Prompt;
import stormsight.model.Views;
import stormsight.verify.BackendComparison;

/** Compares what a trial computes with what it should, before it is timed. */
final class Check implements AutoCloseable {
    /** What results are compared with. */
    enum Against {
        /** The scalar backend where it takes seconds, else the cpu backend. */
        AUTO,
        SCALAR,
        CPU,
        /**
         * The same backend on another way to the same values; what a backend that would be compared with itself gets,
         * too.
         */
        SELF
    }

    /** Operations that the scalar backend does in some seconds. */
    private static final double SCALAR_OPERATIONS = 8e9;
    /** Of 255: rounding to 8 bits after each pass of a resize moves a mean by less. */
    private static final double MEAN_TOLERANCE = 1.5;
    /** Both are F32 of the order of 1. */
    private static final double PATCH_TOLERANCE = 1e-5;

    private final Measured subject;
    private final Optional<Measured> reference;
    /** What trials of one sequence were compared with: those of several sequences are compared with these. */
    private final Map<Trial, String> single = new HashMap<>();
    /** Of prompts of so many tokens, how many sequences were compared. */
    private final Map<Integer, Integer> prefilled = new HashMap<>();

    private Check(Measured subject, Optional<Measured> reference) {
        this.subject = subject;
        this.reference = reference;
    }

    static Check of(Measured subject, Against against, List<Trial> trials) {
        String own = subject.backend().device().backend();
        Optional<String> backend =
                switch (against) {
                    case SCALAR -> Optional.of("scalar");
                    case CPU -> Optional.of("cpu");
                    case SELF -> Optional.empty();
                    case AUTO -> {
                        boolean cheap = trials.stream()
                                        .mapToDouble(subject::operations)
                                        .sum()
                                <= SCALAR_OPERATIONS;
                        yield Optional.of(cheap && !own.equals("scalar") ? "scalar" : "cpu");
                    }
                };
        // A second run of the same code would repeat its errors.
        return new Check(
                subject,
                backend.filter(name -> !name.equals(own)).map(subject::on));
    }

    /**
     * Computes and compares.
     *
     * @return what the result was compared with, and how close it was
     * @throws CheckFailedException if it differs
     */
    String check(Trial trial) {
        String one = single.computeIfAbsent(trial.withSequences(1), this::checkSingle);
        return trial.sequences() == 1 ? one : one + "; one by one: " + oneByOne(trial);
    }

    private String checkSingle(Trial trial) {
        return switch (trial.part()) {
            case IMAGE_DECODE -> image();
            case RESIZE -> resize();
            default -> reference.map(model -> reference(trial, model)).orElseGet(() -> self(trial));
        };
    }

    /** Each of several sequences against itself alone, in its own slot; the last one in another slot, too. */
    private String oneByOne(Trial trial) {
        MeasuredModel model = (MeasuredModel) subject;
        model.encode(model.pixels());
        int sequences = trial.sequences();
        Closeness closeness = new Closeness(trial);
        if (trial.promptTokens() > 0) {
            for (int i = prefilled.getOrDefault(trial.promptTokens(), 1); i < sequences; i++) {
                Prompt prompt = model.prompt(trial.promptTokens(), i);
                model.prefill(prompt, 0);
                float[] alone = model.promptLogits();
                model.prefill(prompt, i);
                closeness.add(alone, model.promptLogits());
            }
            prefilled.merge(trial.promptTokens(), sequences, Math::max);
        }
        int tokens = Math.min(trial.newTokens(), MeasuredModel.CHECKED_TOKENS);
        if (tokens > 0) {
            model.fill(trial.depth(), sequences);
            model.decode(trial.depth(), tokens, trial.depth(), sequences);
            float[][] together = model.nextLogits(sequences);
            int[] chosen = model.lastTokens(sequences);
            for (int i = 0; i < sequences; i++) {
                model.decodeAlone(trial.depth(), tokens, trial.depth(), i, i);
                closeness.add(model.nextLogits(), together[i]);
                closeness.add(model.lastToken(), chosen[i]);
            }
            int last = sequences - 1;
            if (trial.depth() > 0) {
                model.prefill(model.prompt(trial.depth(), last), 0);
            }
            model.decodeAlone(trial.depth(), tokens, trial.depth(), last, 0);
            closeness.add(model.nextLogits(), together[last]);
        }
        return closeness.toString();
    }

    /** How close several sequences are to each of them alone: on a processor equal, on a device but for rounding. */
    private final class Closeness {
        private final Trial trial;
        private final boolean exact = Setting.threads(subject.backend().device()).isPresent();
        private boolean equal = true;
        private double cosine = 1;
        private double error;

        Closeness(Trial trial) {
            this.trial = trial;
        }

        void add(float[] alone, float[] together) {
            if (Arrays.equals(alone, together)) {
                return;
            }
            equal = false;
            BackendComparison.Stage stage = BackendComparison.Stage.of(
                    trial.name(), alone, together, subject.roundsActivations());
            cosine = Math.min(cosine, stage.cosine());
            error = Math.max(error, stage.error());
            if (exact || !stage.agrees()) {
                throw new CheckFailedException(trial.name() + " on " + subject.backend().device().backend()
                        + " differs from the same sequences one by one: " + this);
            }
        }

        /** Tokens of logits that differ within rounding may differ, too. */
        void add(int alone, int together) {
            if (exact && alone != together) {
                throw new CheckFailedException(trial.name() + ": token " + together + " was chosen, " + alone
                        + " where the sequence is alone");
            }
        }

        @Override
        public String toString() {
            return equal ? "equal" : String.format(Locale.ROOT, "cosine %.8f, error %.2g", cosine, error);
        }
    }

    private String image() {
        RgbImage decoded = subject.decode();
        RgbImage expected = subject.picture().drawn().orElseGet(subject::pixels);
        if (decoded.width() != expected.width() || !Arrays.equals(decoded.rgb(), expected.rgb())) {
            throw new CheckFailedException("image decode: other pixels than expected");
        }
        return subject.picture().drawn().isPresent() ? "the pixels that were drawn: equal" : "a second decoding: equal";
    }

    private String resize() {
        double[] before = means(subject.pixels());
        RgbImage resized = subject.views().view(0);
        double[] after = means(resized);
        double worst = 0;
        for (int channel = 0; channel < before.length; channel++) {
            worst = Math.max(worst, Math.abs(before[channel] - after[channel]));
        }
        if (!(worst <= MEAN_TOLERANCE)) {
            throw new CheckFailedException(
                    String.format(Locale.ROOT, "resize: the mean colour moved by %.2f of 255", worst));
        }
        checkPatches();
        return String.format(
                Locale.ROOT,
                "the image's mean colour: %.2f of 255 apart; its pixels, rescaled one by one: equal",
                worst);
    }

    /**
     * Each value of each patch against the pixel that it is of: patches row by row, values of each ordered channel, y,
     * x.
     */
    private void checkPatches() {
        Views views = subject.views();
        float[] patches = subject.patches();
        RgbImage resized = views.view(0);
        float[] pixels = views.pixels(0);
        int at = views.patchColumns() * views.firstPatch();
        for (Views.Square square : views.squares(0)) {
            for (int channel = 0; channel < 3; channel++) {
                for (int y = square.y(); y < square.y() + square.size(); y++) {
                    for (int x = square.x(); x < square.x() + square.size(); x++) {
                        double expected = pixels[(channel * resized.height() + y) * resized.width() + x];
                        if (!(Math.abs(patches[at] - expected) <= PATCH_TOLERANCE * (1 + Math.abs(expected)))) {
                            throw new CheckFailedException(String.format(
                                    Locale.ROOT,
                                    "resize: value %d of the patches is %g, of channel %d, row %d, "
                                            + "column %d expected %g",
                                    at,
                                    patches[at],
                                    channel,
                                    y,
                                    x,
                                    expected));
                        }
                        at++;
                    }
                }
            }
        }
    }

    private static double[] means(RgbImage image) {
        double[] sums = new double[3];
        for (int y = 0; y < image.height(); y++) {
            for (int x = 0; x < image.width(); x++) {
                for (int channel = 0; channel < 3; channel++) {
                    sums[channel] += image.sample(x, y, channel);
                }
            }
        }
        double pixels = (double) image.width() * image.height();
        return Arrays.stream(sums).map(sum -> sum / pixels).toArray();
    }

    private String reference(Trial trial, Measured model) {
        return compared(trial, model.backend().device().backend(), model.result(trial), subject.result(trial));
    }

    /**
     * Products over many rows and over one are different kernels: a prompt's last tokens, run as a prompt or fed one by
     * one, must give the same logits.
     */
    private String self(Trial trial) {
        if (!trial.part().answers()) {
            return twice(trial);
        }
        MeasuredModel model = (MeasuredModel) subject;
        model.encode(model.pixels());
        Prompt prompt = trial.part() == Trial.Part.FIRST_TOKEN
                ? model.directory().prompt(MeasuredModel.PROMPT, List.of(model.views()))
                : model.prompt(Math.clamp(
                        Math.max(trial.depth(), trial.promptTokens()) + 1,
                        2,
                        model.passes().limits().promptTokens()));
        // Image tokens are no words that could be fed.
        int words = (int) prompt.textPlaces().size();
        int fed = Math.clamp(trial.newTokens(), 1, Math.min(words, MeasuredModel.CHECKED_TOKENS));
        int before = prompt.length() - fed;
        int prefix = model.prefixLength(before);
        model.prefill(new Prompt(prompt.ids(), List.of(), prefix));
        float[] atOnce = model.promptLogits();
        if (before > 0) {
            model.prefill(new Prompt(Arrays.copyOf(prompt.ids(), before), List.of(), prefix));
        }
        for (int i = before; i < prompt.length(); i++) {
            model.feed(prompt.ids()[i], i, prefix);
        }
        return compared(trial, "itself, tokens at once or one by one", atOnce, model.nextLogits());
    }

    private String twice(Trial trial) {
        float[] first = subject.result(trial);
        boolean usable = true;
        boolean allZero = true;
        for (float value : first) {
            usable &= Float.isFinite(value);
            allZero &= value == 0;
        }
        if (!usable || allZero || !Arrays.equals(first, subject.result(trial))) {
            throw new CheckFailedException(trial.name() + ": "
                    + (usable && !allZero ? "a second run gave other values" : "no usable values"));
        }
        return "a second run: equal, finite";
    }

    private String compared(Trial trial, String with, float[] expected, float[] found) {
        BackendComparison.Stage stage = BackendComparison.Stage.of(
                trial.name(), expected, found, subject.roundsActivations());
        String closeness = String.format(
                Locale.ROOT, "cosine %.8f, error %.2g of %.3g", stage.cosine(), stage.error(), stage.scale());
        if (!stage.agrees()) {
            throw new CheckFailedException(trial.name() + " on "
                    + subject.backend().device().backend() + " differs from " + with + ": " + closeness);
        }
        if (trial.part().answers()) {
            checkToken(trial, with, stage, expected);
        }
        return with + ": " + closeness;
    }

    /** The greedy token is the largest of logits that may each be off by the error that was found. */
    private void checkToken(Trial trial, String with, BackendComparison.Stage stage, float[] expected) {
        MeasuredModel model = (MeasuredModel) subject;
        BitSet ids = model.directory().answerable();
        double largest = ids.stream().mapToDouble(id -> expected[id]).max().orElseThrow();
        int token = model.lastToken();
        if (token < 0 || !ids.get(token) || expected[token] < largest - 2 * stage.error()) {
            throw new CheckFailedException(
                    trial.name() + ": token " + token + " was chosen, which is not the most probable one by " + with);
        }
    }

    @Override
    public void close() {
        reference.ifPresent(Measured::close);
    }
}

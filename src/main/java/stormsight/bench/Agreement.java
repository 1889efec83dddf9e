package stormsight.bench;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import stormsight.generate.Probability;
import stormsight.model.Prompt;
import stormsight.model.family.EmbeddedModel;

/**
 * How close a configuration's answers are to the baseline's. Fixed questions about the example images are answered
 * greedily by the baseline; others are fed the baseline's tokens, so that one choice between near equals does not make
 * all later ones differ, and each choice is compared. Then all are fed the right captions of the images, which gives
 * the captions' perplexity. The logits of every step are compared.
 */
final class Agreement {
    /** Tokens of an answer that are compared. */
    static final int ANSWER_TOKENS = 16;
    /** Tokens of a caption at most. */
    static final int CAPTION_TOKENS = 64;
    private static final String CAPTION = "caption";

    /**
     * What is asked.
     *
     * @param questions how many questions
     * @param answers the baseline's tokens of each answer; empty if this is the baseline
     * @param logits file that the baseline writes and others read
     */
    record Request(int questions, List<List<Integer>> answers, String logits) {}

    /**
     * What was found.
     *
     * @param answers the tokens that were fed, and the last one, of each answer
     * @param compared greedy choices
     * @param equal choices that are the baseline's
     * @param largestError of a logit, absolute
     * @param scale largest absolute logit of the baseline
     * @param perplexity of the captions, over the tokens that may be answered
     * @param textTokens of the captions
     */
    record Result(
            List<List<Integer>> answers,
            int compared,
            int equal,
            double largestError,
            double scale,
            double perplexity,
            int textTokens) {}

    private final MeasuredModel model;
    private final Optional<DataOutputStream> written;
    private final Optional<DataInputStream> baseline;
    private int compared;
    private int equal;
    private double largestError;
    private double scale;

    private Agreement(MeasuredModel model, Optional<DataOutputStream> written, Optional<DataInputStream> baseline) {
        this.model = model;
        this.written = written;
        this.baseline = baseline;
    }

    /** The questions: every so many of the examples, so that all images and tasks have their share. */
    static List<EmbeddedModel.Example> questions(int count) {
        List<EmbeddedModel.Example> all = EmbeddedModel.examples();
        int taken = Math.min(count, all.size());
        List<EmbeddedModel.Example> questions = new ArrayList<>();
        for (int i = 0; i < taken; i++) {
            questions.add(all.get((int) ((long) i * all.size() / taken)));
        }
        return questions;
    }

    /**
     * Runs the questions and the text.
     *
     * @throws CheckFailedException if the file holds logits of another size: the models have other vocabularies
     */
    static Result run(MeasuredModel model, Request request) {
        Path file = Path.of(request.logits());
        try {
            if (request.answers().isEmpty()) {
                try (DataOutputStream out =
                        new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(file), 1 << 20))) {
                    out.writeInt(model.description().decoder().vocabularySize());
                    return new Agreement(model, Optional.of(out), Optional.empty()).run(request);
                }
            }
            try (DataInputStream in =
                    new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 20))) {
                int vocabulary = in.readInt();
                if (vocabulary != model.description().decoder().vocabularySize()) {
                    throw new CheckFailedException(model.configuration().label() + " has a vocabulary of "
                            + model.description().decoder().vocabularySize() + ", the baseline of " + vocabulary);
                }
                return new Agreement(model, Optional.empty(), Optional.of(in)).run(request);
            }
        } catch (LogitsException e) {
            throw failed(model, file, e.reason);
        } catch (IOException e) {
            throw failed(model, file, e);
        }
    }

    private static RuntimeException failed(MeasuredModel model, Path file, IOException e) {
        if (e instanceof EOFException) {
            return new CheckFailedException(
                    model.configuration().label() + " ran more steps than the baseline: it has another tokenizer");
        }
        return new UncheckedIOException(file + ": " + e.getMessage(), e);
    }

    private Result run(Request request) {
        List<List<Integer>> answers = new ArrayList<>();
        List<EmbeddedModel.Example> questions = questions(request.questions());
        for (int i = 0; i < questions.size(); i++) {
            answers.add(answer(
                    questions.get(i),
                    request.answers().isEmpty()
                            ? Optional.empty()
                            : Optional.of(request.answers().get(i))));
        }
        double sum = 0;
        int textTokens = 0;
        for (EmbeddedModel.Example caption : captions(request.questions())) {
            List<Integer> text = textTokens(caption.expected());
            sum -= logProbability(caption, text);
            textTokens += text.size();
        }
        return new Result(answers, compared, equal, largestError, scale, Math.exp(sum / textTokens), textTokens);
    }

    private static List<EmbeddedModel.Example> captions(int most) {
        return EmbeddedModel.examples().stream().filter(example -> example.task().equals(CAPTION)).limit(most).toList();
    }

    private List<Integer> textTokens(String text) {
        return Arrays.stream(model.directory().tokenizer().encode(text)).limit(CAPTION_TOKENS).boxed().toList();
    }

    /** @param forced the baseline's tokens */
    private List<Integer> answer(EmbeddedModel.Example question, Optional<List<Integer>> forced) {
        Set<Integer> ends = model.description().endIds();
        List<Integer> tokens = new ArrayList<>();
        int most = forced.map(List::size).orElse(ANSWER_TOKENS);
        model.follow(prompt(question), (place, chosen, logits) -> {
            compare(model.firstRow(logits));
            int next = forced.isPresent() ? forced.get().get(place) : chosen;
            compared++;
            equal += next == chosen ? 1 : 0;
            tokens.add(next);
            return tokens.size() == most || ends.contains(next) ? OptionalInt.empty() : OptionalInt.of(next);
        });
        return tokens;
    }

    private Prompt prompt(EmbeddedModel.Example question) {
        return model.directory().processor().prompt(question.prompt(), List.of(model.encode(question.decode())));
    }

    /** The natural logarithm of the probability of a text as the answer to a question. */
    private double logProbability(EmbeddedModel.Example question, List<Integer> text) {
        double[] sum = {0};
        model.force(prompt(question), text, (logits, token) -> {
            float[] values = model.firstRow(logits);
            compare(values);
            sum[0] += Probability.logOf(values, 0, model.directory().counted(), token);
        });
        return sum[0];
    }

    /** Writes the logits, or compares them with what the baseline wrote. */
    private void compare(float[] logits) {
        try {
            if (written.isPresent()) {
                for (float logit : logits) {
                    written.get().writeFloat(logit);
                    scale = Math.max(scale, Math.abs(logit));
                }
            } else {
                DataInputStream in = baseline.orElseThrow();
                for (float logit : logits) {
                    float expected = in.readFloat();
                    scale = Math.max(scale, Math.abs(expected));
                    largestError = Math.max(largestError, Math.abs((double) logit - expected));
                }
            }
        } catch (IOException e) {
            throw new LogitsException(e);
        }
    }

    /** The file of the logits, and no other that a model reads, cannot be read or written. */
    private static final class LogitsException extends RuntimeException {
        private static final long serialVersionUID = 1;
        private final IOException reason;

        LogitsException(IOException reason) {
            super(reason);
            this.reason = reason;
        }
    }
}

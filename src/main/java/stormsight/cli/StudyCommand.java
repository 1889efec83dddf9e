package stormsight.cli;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Function;
import picocli.CommandLine.Mixin;
import stormsight.backend.Backend;
import stormsight.backend.RunListener;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.study.Example;
import stormsight.study.ExampleResult;
import stormsight.study.Findings;
import stormsight.study.Outcome;
import stormsight.study.Session;

/** What commands share that ask a model one question or those of a data set, and go on where they were stopped. */
abstract class StudyCommand extends PromptCommand {
    @Mixin
    protected ExampleMixin examples;

    @Mixin
    protected FindingsMixin findings;

    /** Prepares a model for questions. */
    @FunctionalInterface
    interface Opening<S extends Session> {
        S open(ModelDirectory directory, Backend backend, Limits limits, Options options, RunListener listener);
    }

    /** Asks a question and measures. */
    @FunctionalInterface
    interface Measuring<S extends Session, R extends ExampleResult> {
        R measure(S session, ModelDirectory directory, ExampleMixin.Asking asking);
    }

    /**
     * An experiment.
     *
     * @param name of the command
     * @param settings what results depend on beside model, backend and examples
     * @param result the type of the results
     * @param tell makes the findings of model and outcome
     */
    record Experiment<S extends Session, R extends ExampleResult>(
            String name,
            Function<ModelDirectory, Map<String, String>> settings,
            Class<R> result,
            Opening<S> opening,
            Measuring<S, R> measuring,
            BiFunction<ModelDirectory, Outcome<R>, Findings<R>> tell) {}

    /** Runs an experiment on the examples that have no result yet, and tells what was found on all. */
    final <S extends Session, R extends ExampleResult> void study(
            List<Example> asked, Experiment<S, R> experiment) {
        withModel((directory, backend, progress) -> {
            List<ExampleMixin.Asking> askings = examples.ask(model, directory, asked);
            Map<String, String> recorded = settings(experiment.name(), directory, backend);
            examples.describe(recorded, directory, askings);
            recorded.putAll(experiment.settings().apply(directory));
            try (Study<R> study = Study.open(findings.folder(), recorded, experiment.result())) {
                List<ExampleMixin.Asking> remaining = study.remaining(askings);
                if (!remaining.isEmpty()) {
                    try (S session = experiment.opening().open(
                            directory, backend, examples.limits(directory, askings), model.options(), progress)) {
                        study.requireRounding(session.roundsActivations());
                        Function<ExampleMixin.Asking, R> measure =
                                asking -> experiment.measuring().measure(session, directory, asking);
                        study.run(remaining, progress, measure);
                    }
                }
                Outcome<R> outcome = examples.outcome(
                        askings, recorded, model.name(), backend.device(), study.results(askings));
                findings.tell(examples, experiment.tell().apply(directory, outcome));
            }
        });
    }

    /** What all experiments depend on. */
    private Map<String, String> settings(String experiment, ModelDirectory directory, Backend backend) {
        Map<String, String> settings = new LinkedHashMap<>();
        settings.put("experiment", experiment);
        settings.put("model", model.name());
        settings.put("checkpoint", directory.fingerprint());
        settings.put("options", model.options().recorded());
        if (rawPrompt()) {
            settings.put("raw prompt", "true");
        }
        settings.put("resize", directory.processor().resampling().toString());
        switch (backendOptions.precision()) {
            case STRICT -> settings.put("strict math", "true");
            case BF16 -> settings.put("precision", "bf16");
            case FAST -> {}
        }
        settings.put("backend", backend.device().backend() + " " + backend.device().name());
        return settings;
    }
}

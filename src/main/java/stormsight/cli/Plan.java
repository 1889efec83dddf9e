package stormsight.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.backend.Backend;
import stormsight.backend.DeviceMemory;
import stormsight.backend.PlannedLaunch;
import stormsight.backend.Precision;
import stormsight.bench.KernelFolder;
import stormsight.bench.MemoryReport;
import stormsight.checkpoint.TemporaryFolder;
import stormsight.model.Encoding;
import stormsight.model.ImageEncoder;
import stormsight.model.Limits;
import stormsight.model.Model;
import stormsight.model.ModelDirectory;
import stormsight.model.Passes;
import stormsight.model.VisionLanguageModel;
import stormsight.model.Weights;
import stormsight.model.family.Families;
import stormsight.program.DType;
import stormsight.program.OpCost;
import stormsight.program.Program;
import stormsight.program.Step;
import stormsight.program.Tensor;
import stormsight.report.Bytes;
import stormsight.report.TextTable;

/** Prints what a backend makes of a model's programs. */
@Command(
        name = "plan",
        description = {
            "Prints the programs of a model and what a backend makes of them: for each operation its weights, its "
                    + "kernel, how the kernel is launched and how often, and the bytes and floating-point operations "
                    + "that it needs at least, summed over the layers. Nothing is run. With --sources, the source code "
                    + "of the kernels goes into a folder.",
            "Then says what memory all of it takes, whether the device has as much, and with --like which cards have: "
                    + "with the weights as they are, and in fewer bits."
        })
final class Plan extends ModelCommand implements Runnable {
    private static final String CONFIGURATION = "config.json";
    /** Options about a model's files, of which {@code --like} has none. */
    private static final List<String> OF_FILES = List.of("--model", "--adapter", "--resize", "--strict");

    @Mixin
    private LengthMixin length;

    @Mixin
    private JsonMixin json;

    @Option(
            names = {"-b", Parallel.OPTION},
            paramLabel = "N",
            defaultValue = "1",
            description =
                    "Answers " + Parallel.RANGE + " From 2 on, decoding has kernels of its own. Default: "
                            + "${DEFAULT-VALUE}.")
    private int parallel;

    @Option(
            names = "--sources",
            paramLabel = "DIR",
            description =
                    "Write the source code of every kernel into a new folder, as the device's backend generates it, "
                            + "with launches and compiler flags in contents.txt and contents.json. Takes seconds, as "
                            + "the kernels are compiled.")
    private Path sources;

    @Option(
            names = "--like",
            paramLabel = "NAME",
            completionCandidates = Synthesize.Presets.class,
            description =
                    "Plan a model of that size without its files: ${COMPLETION-CANDIDATES}. Weights are bf16 unless "
                            + "--weights says otherwise.")
    private String like;

    /** The programs that a backend would prepare together, and the runs of them that are shown. */
    private record Runs(List<Program> programs, List<Program> shown, List<Step> steps) {}

    /**
     * A launch with what all of its times cost: nothing, if it is a further kernel of an operation, whose cost stands
     * at the first one.
     */
    private record Launch(PlannedLaunch planned, boolean first, OpCost cost) {
        static Launch of(PlannedLaunch planned, boolean first, Step step) {
            List<OpCost> once = planned.ops().stream().filter(_ -> first).map(op -> OpCost.of(op, step)).toList();
            return new Launch(
                    planned,
                    first,
                    new OpCost(once.stream().mapToLong(OpCost::bytes).sum() * planned.times(),
                            once.stream().mapToLong(OpCost::operations).sum() * planned.times()));
        }

        /** What a backend adds of its own costs nothing that an operation needs. */
        boolean costs() {
            return first && planned.op().isPresent();
        }

        String operation() {
            return planned.ops().stream().map(op -> op.getClass().getSimpleName()).distinct()
                    .collect(Collectors.joining(" + "));
        }

        List<Tensor> weights() {
            return planned.ops().stream()
                    .flatMap(op -> op.reads().stream())
                    .filter(tensor -> tensor.kind() == Tensor.Kind.WEIGHT)
                    .distinct()
                    .toList();
        }

        String weightNames() {
            return weights().stream().map(Tensor::name).collect(Collectors.joining(", "));
        }

        /** Of the first of the largest weights, or of the result where there is none. */
        String shape() {
            return planned.op()
                    .map(op -> shape(weights().stream()
                            .reduce((a, b) -> b.shape().elements() > a.shape().elements() ? b : a)
                            .orElse(op.writes().getFirst())))
                    .orElse("");
        }

        private static String shape(Tensor tensor) {
            return tensor.dtype() + tensor.shape().toString();
        }
    }

    /**
     * The launches of a program in one step.
     *
     * @param graphs that the launches are gathered in, if they are
     */
    record Planned(Program program, Step step, List<Launch> launches, OptionalInt graphs) {
        static Planned of(Program program, Step step, List<PlannedLaunch> launches, OptionalInt graphs) {
            List<Launch> own = new ArrayList<>();
            PlannedLaunch last = null;
            for (PlannedLaunch launch : launches) {
                if (launch.program().equals(program.name())) {
                    // The kernels of an operation follow each other.
                    own.add(Launch.of(launch, last == null || !isSameOperation(last, launch), step));
                    last = launch;
                }
            }
            return new Planned(program, step, List.copyOf(own), graphs);
        }

        /** Equal operations of two layers are two; the kernels of one hold the very same object. */
        private static boolean isSameOperation(PlannedLaunch last, PlannedLaunch launch) {
            return last.op().isPresent() && launch.op().isPresent() && last.op().get() == launch.op().get();
        }

        int count() {
            return launches.stream().mapToInt(launch -> launch.planned().times()).sum();
        }

        OpCost cost() {
            return new OpCost(launches.stream().mapToLong(launch -> launch.cost().bytes()).sum(),
                    launches.stream().mapToLong(launch -> launch.cost().operations()).sum());
        }
    }

    @Override
    public void run() {
        length.check();
        Parallel.check(parallel);
        if (like != null) {
            OF_FILES.stream()
                    .filter(spec.commandLine().getParseResult()::hasMatchedOption)
                    .findFirst()
                    .ifPresent(option -> {
                        throw new UsageException("--like " + like + " stands for a model; leave out " + option);
                    });
        }
        if (sources != null) {
            OutputOption.requireNewFolder("--sources", sources);
        }
        try (Backend backend = backendOptions.open()) {
            if (like != null) {
                Model imitated = configured();
                Map<String, Runs> forms = new LinkedHashMap<>();
                DType planned = model.options().weights().orElse(DType.BF16);
                Stream.concat(Stream.of(planned), DType.blocked().stream()).distinct().forEach(type ->
                        forms.put(type.label(), runs(imitated, Weights.declared(type))));
                print(backend, forms);
            } else {
                try (ModelDirectory directory = model.open()) {
                    print(backend, Map.of(model.weights().toString(),
                            runs(directory.anyModel(), Weights.of(directory.checkpoint(), model.options()))));
                }
            }
        }
    }

    /** What {@code --like} names. Its configuration says all; a tokenizer would take seconds. */
    private Model configured() {
        try {
            Path folder = TemporaryFolder.create();
            Synthesize.write(
                    folder.resolve(CONFIGURATION),
                    Synthesize.preset(like).files("bfloat16").get(CONFIGURATION));
            return Families.configured(folder);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** @param forms by how weights are held; the first one is shown, memory is compared with the others' */
    private void print(Backend backend, Map<String, Runs> forms) {
        PrintWriter out = out();
        String name = like == null ? model.name() : like;
        Runs runs = forms.values().iterator().next();
        List<PlannedLaunch> launches = backend.plan(runs.programs());
        List<Integer> graphs = backend.graphs(runs.programs());
        List<Planned> planned = new ArrayList<>();
        for (int i = 0; i < runs.shown().size(); i++) {
            Program program = runs.shown().get(i);
            planned.add(Planned.of(program, runs.steps().get(i), launches, graphs.isEmpty()
                    ? OptionalInt.empty()
                    : OptionalInt.of(graphs.get(runs.programs().indexOf(program)))));
        }
        Map<String, DeviceMemory> memory = new LinkedHashMap<>();
        forms.forEach((form, each) -> memory.put(form, backend.memory(each.programs())));
        Precision precision = backendOptions.precision();
        MemoryReport report = new MemoryReport(backend.device(), memory, launches);
        if (json.isWanted()) {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("model", name);
            object.put("backend", backend.device().backend());
            object.put("device", backend.device().title());
            object.put("version", Version.text());
            object.put("precision", precision.name().toLowerCase(Locale.ROOT));
            object.put("programs", planned.stream().map(Plan::json).toList());
            object.put("memory", report.json());
            JsonMixin.print(out, object);
        } else {
            planned.forEach(program -> out.println(text(program)));
            if (precision == Precision.BF16) {
                out.println("precision: activations are rounded to bf16 for tensor cores");
            }
            out.print(report.text());
        }
        if (sources != null) {
            int files = KernelFolder.write(sources, name, backend.device(), backend.sources(runs.programs()));
            err().println("wrote " + files + " kernel sources to " + sources);
        }
    }

    private Runs runs(Model planned, Weights weights) {
        if (planned instanceof ImageEncoder encoder) {
            if (parallel > 1) {
                throw new UsageException(Parallel.OPTION + " " + parallel + " is of models that answer, which "
                        + (like == null ? model.name() : like) + " does not; leave it out");
            }
            return runs(encoder, weights);
        }
        return runs((VisionLanguageModel) planned, weights);
    }

    private Runs runs(VisionLanguageModel answering, Weights weights) {
        Limits limits = length.limits(answering.processor()).withSequences(parallel);
        int prompt = limits.promptTokens();
        int prefix = answering.describe().causal() ? 0 : prompt;
        Passes passes = answering.build(weights, limits, model.options());
        return new Runs(
                passes.programs(),
                List.of(passes.encode().program(), passes.prefill().program(), passes.decode().program()),
                List.of(
                        passes.encodeStep(0),
                        passes.prefillStep(prompt, prefix),
                        passes.decodeStep(prompt, prefix, parallel)));
    }

    /** For the longest text. */
    private static Runs runs(ImageEncoder encoder, Weights weights) {
        List<Encoding> encodings = encoder.encodings(weights);
        List<Program> programs = encodings.stream().map(Encoding::program).toList();
        return new Runs(
                programs,
                programs,
                encodings.stream().map(encoding -> encoding.step(encoding.rows())).toList());
    }

    private static String text(Planned planned) {
        TextTable table = new TextTable(
                "segment", ">times", "operation", "weights", "shape", "kernel", "launch", ">bytes", ">GFLOP");
        for (Launch launch : planned.launches()) {
            table.row(
                    launch.planned().segment(),
                    launch.planned().times(),
                    launch.operation(),
                    launch.weightNames(),
                    launch.shape(),
                    launch.planned().kernel(),
                    launch.planned().geometry(),
                    launch.costs() ? Bytes.text(launch.cost().bytes()) : "",
                    launch.costs() ? giga(launch.cost().operations()) : "");
        }
        return planned.program().name() + ", " + planned.step().rows()
                + (planned.step().rows() == 1 ? " row" : " rows") + " from position "
                + planned.step().position() + "\n\n" + table.plain() + "\n" + planned.count() + " launches"
                + inGraphs(planned.graphs()) + ", "
                + Bytes.text(planned.cost().bytes()) + ", "
                + giga(planned.cost().operations()) + " GFLOP\n";
    }

    private static String inGraphs(OptionalInt graphs) {
        return graphs.isEmpty() ? "" : " in " + graphs.getAsInt() + (graphs.getAsInt() == 1 ? " graph" : " graphs");
    }

    private static String giga(long operations) {
        return String.format(Locale.ROOT, "%.3f", operations / 1e9);
    }

    private static Map<String, Object> json(Planned planned) {
        List<Map<String, Object>> launches = new ArrayList<>();
        for (Launch launch : planned.launches()) {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("segment", launch.planned().segment());
            object.put("times", launch.planned().times());
            object.put("operation", launch.operation());
            object.put("weights", launch.weights().stream().map(Tensor::name).toList());
            object.put("shape", launch.shape());
            object.put("kernel", launch.planned().kernel());
            object.put("launch", launch.planned().geometry());
            object.put("bytes", launch.cost().bytes());
            object.put("operations", launch.cost().operations());
            launches.add(object);
        }
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("program", planned.program().name());
        object.put("rows", planned.step().rows());
        object.put("position", planned.step().position());
        object.put("launches", launches);
        object.put("launch_count", planned.count());
        planned.graphs().ifPresent(graphs -> object.put("graph_count", graphs));
        object.put("bytes", planned.cost().bytes());
        object.put("operations", planned.cost().operations());
        return object;
    }
}

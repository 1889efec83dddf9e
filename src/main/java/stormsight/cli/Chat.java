package stormsight.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import stormsight.generate.Answer;
import stormsight.generate.Detections;
import stormsight.generate.Generator;
import stormsight.generate.LimitException;
import stormsight.generate.Prepared;
import stormsight.generate.Question;
import stormsight.generate.Request;
import stormsight.image.ImageDecoder;
import stormsight.image.ImageException;
import stormsight.image.RgbImage;
import stormsight.model.ModelDirectory;
import stormsight.model.Views;
import stormsight.report.FigureException;
import stormsight.report.OutputFile;
import stormsight.report.RegionFigure;
import stormsight.report.RegionFile;

/** Answers prompt after prompt, with the model loaded once. */
@Command(
        name = "chat",
        description = {
            "Answers the prompts that are typed, one after the other, about one image until /image names another.",
            "Each prompt stands alone: the models do not see what was said before.",
            "/image FILE, /task TEXT (put before every prompt; alone: nothing), /draw FILE (the objects of the last "
                    + "answer), /save FILE, /help, /quit; Ctrl-C stops an answer."
        })
final class Chat extends PromptCommand implements Runnable {
    private static final String HELP =
            """
            /image FILE   ask about another image
            /task TEXT    put TEXT before every prompt, such as: /task answer en
            /draw FILE    draw the objects that the last answer marks on its image, .png
            /save FILE    write what was said into a file
            /help         show this
            /quit         end; so does Ctrl-D
            Anything else is a prompt. Ctrl-C stops an answer.""";

    @Option(
            names = {"-i", "--image"},
            paramLabel = "FILE",
            converter = ImageArgument.class,
            description = "The image to begin with.")
    private Path first;

    @Option(
            names = "--prompt-tokens",
            paramLabel = "N",
            defaultValue = "256",
            description = "The longest prompt, without the image's tokens. Default: ${DEFAULT-VALUE}.")
    private int promptTokens;

    @Mixin
    private SamplingMixin sampling;

    @Mixin
    private ObjectsMixin objects;

    @Override
    public void run() {
        sampling.check();
        objects.check();
        if (promptTokens < 1) {
            throw new UsageException("--prompt-tokens " + promptTokens + " is not positive");
        }
        withModel((directory, backend, progress) -> {
            objects.choose(directory);
            Optional<Picture> image = first == null ? Optional.empty() : Optional.of(read(directory, first));
            try (ChatLines lines = ChatLines.open()) {
                try (Generator generator = Generator.open(
                        directory,
                        backend,
                        sampling.limits(directory, Math.addExact(directory.processor().imageTokens(), promptTokens)),
                        model.options(),
                        (program, done, total) -> {
                            progress.finished(program, done, total);
                            lines.requireGoesOn();
                        },
                        List.of())) {
                    new Conversation(generator, lines, image).run();
                }
            }
        });
    }

    /** An image, cut once for all prompts about it. */
    private record Picture(String name, RgbImage image, List<Views> views) {}

    private static Picture read(ModelDirectory directory, Path file) {
        RgbImage image = new ImageDecoder().decode(ImageArgument.file(file));
        Views views = directory.views(image, file.toString());
        return new Picture(file.toString(), image, List.of(views));
    }

    /** An answer, and the image that it is about. */
    private record Drawn(Answer answer, RgbImage image) {}

    /** What is typed, and what becomes of it. */
    private final class Conversation {
        private final Generator generator;
        private final ChatLines lines;
        private final PrintWriter out = out();
        private final List<String> said = new ArrayList<>();
        private Optional<Picture> image;
        private Optional<Drawn> last = Optional.empty();
        private String task = "";

        Conversation(Generator generator, ChatLines lines, Optional<Picture> image) {
            this.generator = generator;
            this.lines = lines;
            this.image = image;
        }

        void run() {
            image.ifPresent(picture -> said.add("image: " + picture.name));
            for (Optional<String> line = lines.next(); line.isPresent(); line = lines.next()) {
                String text = PromptText.of(line.get()).strip();
                if (text.equals("/quit") || text.equals("/exit")) {
                    return;
                }
                if (!text.isEmpty()) {
                    try {
                        take(text);
                    } catch (ImageException | LimitException | IllegalArgumentException | FigureException e) {
                        say(e.getMessage());
                    }
                }
            }
        }

        private void say(String line) {
            out.println(line);
            out.flush();
        }

        private void take(String text) {
            if (!text.startsWith("/")) {
                ask(task.isEmpty() ? text : task + " " + text);
                return;
            }
            int space = text.indexOf(' ');
            String command = (space < 0 ? text : text.substring(0, space)).toLowerCase(Locale.ROOT);
            String rest = space < 0 ? "" : text.substring(space + 1).strip();
            switch (command) {
                case "/image" -> {
                    require(!rest.isEmpty(), "/image wants a file");
                    image = Optional.of(read(generator.directory(), new ImageArgument().convert(rest)));
                    said.add("image: " + rest);
                    say(rest + ", " + image.get().image.width() + " x " + image.get().image.height());
                }
                case "/task" -> {
                    task = rest;
                    say(rest.isEmpty() ? "prompts are taken as they are" : "before every prompt: " + rest);
                }
                case "/draw" -> {
                    require(!rest.isEmpty(), "/draw wants a file");
                    draw(Path.of(rest));
                }
                case "/save" -> {
                    require(!rest.isEmpty(), "/save wants a file");
                    OutputFile.write(Path.of(rest), String.join("\n", said) + "\n");
                    say("written to " + rest);
                }
                case "/help" -> say(HELP);
                default -> say(command + " is no command; /help shows them");
            }
        }

        private void require(boolean condition, String message) {
            if (!condition) {
                throw new IllegalArgumentException(message);
            }
        }

        private void draw(Path file) {
            require(file.toString().toLowerCase(Locale.ROOT).endsWith(".png"), file + " does not end in .png");
            Drawn drawn = last.orElseThrow(
                    () -> new IllegalArgumentException("there is no answer yet; ask, such as: detect THING"));
            Detections detections = objects.read(drawn.answer, drawn.image);
            ObjectsMixin.warn(out, drawn.answer, detections);
            if (!detections.found().isEmpty()) {
                RegionFigure.write(
                        file,
                        drawn.image,
                        ObjectsMixin.scored(detections).stream().map(RegionFile.Scored::region).toList());
                say("drawn in " + file);
            }
        }

        private void ask(String prompt) {
            Picture picture = image.orElseThrow(
                    () -> new IllegalArgumentException("there is no image yet; name one with /image FILE"));
            generator.directory().processor().check(prompt, 1);
            Request request = sampling.request(picture.image, prompt);
            last = Optional.empty();
            Asked asked = new Asked(new Prepared(request, picture.views, 0));
            lines.begin();
            try {
                generator.answer(List.of(asked).iterator());
            } catch (CancellationException e) {
                asked.text(" [stopped]");
            } finally {
                lines.end();
            }
            out.println();
            out.flush();
            said.add("prompt: " + prompt);
            said.add("answer: " + asked.text);
        }

        /** Prints an answer while it forms. */
        private final class Asked implements Question {
            private final Prepared prepared;
            private final StringBuilder text = new StringBuilder();

            Asked(Prepared prepared) {
                this.prepared = prepared;
            }

            @Override
            public Prepared prepared() {
                return prepared;
            }

            @Override
            public void text(String piece) {
                text.append(piece);
                out.print(piece);
                if (out.checkError()) {
                    throw OutputException.ofStandardOutput();
                }
            }

            @Override
            public void answered(Answer answer) {
                last = Optional.of(new Drawn(answer, prepared.request().images().getFirst()));
                if (answer.text().isEmpty()) {
                    text("[the model ended its answer at once]");
                }
            }

            @Override
            public void refused(RuntimeException why) {
                throw why;
            }
        }
    }
}

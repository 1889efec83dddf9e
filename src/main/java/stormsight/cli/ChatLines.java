package stormsight.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import org.jline.reader.EndOfFileException;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.reader.UserInterruptException;
import org.jline.reader.impl.DefaultParser;
import org.jline.reader.impl.completer.StringsCompleter;
import org.jline.terminal.Terminal;
import org.jline.terminal.TerminalBuilder;

/**
 * The lines that are typed: with editing, history and completion in a terminal, one by one from a pipe. While an answer
 * forms, Ctrl-C stops that and not the program.
 */
final class ChatLines implements AutoCloseable {
    private static final String PROMPT = "> ";

    private final Optional<Terminal> terminal;
    private final Optional<LineReader> reader;
    /** Not ours to close. */
    private final BufferedReader pipe;
    private volatile boolean stopped;

    private ChatLines(Optional<Terminal> terminal) {
        this.terminal = terminal;
        reader = terminal.map(ChatLines::reader);
        pipe = new BufferedReader(new InputStreamReader(System.in, StandardInput.decoder()));
        terminal.ifPresent(each -> each.handle(Terminal.Signal.INT, _ -> stopped = true));
    }

    static ChatLines open() {
        if (!Environment.interactive()) {
            return new ChatLines(Optional.empty());
        }
        try {
            return new ChatLines(Optional.of(
                    TerminalBuilder.builder().system(true).nativeSignals(true).build()));
        } catch (IOException e) {
            throw new UncheckedIOException("the terminal cannot be used: " + e.getMessage(), e);
        }
    }

    private static LineReader reader(Terminal terminal) {
        DefaultParser parser = new DefaultParser();
        // A file name or a prompt is taken as it is typed.
        parser.setEscapeChars(null);
        return LineReaderBuilder.builder()
                .terminal(terminal)
                .parser(parser)
                .completer(new StringsCompleter("/image", "/task", "/draw", "/save", "/help", "/quit"))
                .variable(LineReader.HISTORY_FILE, Environment.chatHistory())
                .option(LineReader.Option.DISABLE_EVENT_EXPANSION, true)
                .build();
    }

    /** The next line, empty at the end of the input. Ctrl-C drops what was typed. */
    Optional<String> next() {
        try {
            return Optional.ofNullable(reader.isPresent() ? reader.get().readLine(PROMPT) : pipe.readLine());
        } catch (UserInterruptException e) {
            return Optional.of("");
        } catch (EndOfFileException e) {
            return Optional.empty();
        } catch (CharacterCodingException e) {
            throw new UsageException("standard input is not UTF-8");
        } catch (IOException e) {
            throw new UncheckedIOException("standard input cannot be read: " + e.getMessage(), e);
        }
    }

    /** An answer begins. */
    void begin() {
        stopped = false;
    }

    /** @throws CancellationException if Ctrl-C was typed since the answer began */
    void requireGoesOn() {
        if (stopped) {
            throw new CancellationException("stopped");
        }
    }

    /** The answer is complete, or was stopped. */
    void end() {
        stopped = false;
    }

    @Override
    public void close() {
        terminal.ifPresent(each -> {
            try {
                each.close();
            } catch (IOException e) {
                throw new UncheckedIOException("the terminal cannot be left: " + e.getMessage(), e);
            }
        });
    }
}

package stormsight.cli;

import java.io.PrintWriter;
import picocli.CommandLine.Option;
import tools.jackson.databind.json.JsonMapper;

/** The option that asks for JSON in place of text for people. */
final class JsonMixin {
    @Option(names = "--json", description = "Print one JSON object instead of text for people.")
    private boolean wanted;

    boolean isWanted() {
        return wanted;
    }

    /** Prints an object, as all commands print theirs. */
    static void print(PrintWriter out, Object object) {
        out.println(JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(object));
        out.flush();
    }
}

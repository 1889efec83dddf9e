package stormsight.cli;

import java.io.PrintWriter;

/**
 * Runs what people begin with, so that the JVM can keep the classes that it loads for it: the launcher has an archive
 * of them made once for each build, from which later runs take them. What is printed is thrown away.
 *
 * @see <a href="https://openjdk.org/jeps/350">JEP 350</a>, archives of classes that an application loads
 */
final class Rehearsal {
    private Rehearsal() {}

    /** @param arguments an image, of which both embedded models are asked */
    public static void main(String[] arguments) {
        String image = arguments[0];
        run("--help");
        run("--version");
        run("match", "--backend", BackendMixin.PROCESSOR, "-i", image, "-p", "a kitchen");
        run("generate", "--backend", BackendMixin.PROCESSOR, "-i", image, "-p", "caption en", "-n", "2");
    }

    private static void run(String... arguments) {
        PrintWriter nowhere = new PrintWriter(PrintWriter.nullWriter());
        int code = Main.execute(nowhere, nowhere, arguments);
        if (code != 0) {
            throw new IllegalStateException(String.join(" ", arguments) + " ended with code " + code);
        }
    }
}

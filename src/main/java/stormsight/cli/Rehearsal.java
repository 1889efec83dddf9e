package stormsight.cli;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.io.PrintWriter;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/**
 * Runs what people begin with, so that the JVM can keep the classes that it loads for it: the launcher has an archive
 * of them made once for each build, from which later runs take them. What is printed is thrown away.
 *
 * @see <a href="https://openjdk.org/jeps/350">JEP 350</a>, archives of classes that an application loads
 */
final class Rehearsal {
    private static final String CLASS = ".class";

    /** Packages whose classes an answer takes. */
    private static final List<String> OTHERS = List.of(
            "stormsight/backend/", "stormsight/checkpoint/", "stormsight/generate/", "stormsight/image/",
            "stormsight/model/", "stormsight/program/", "stormsight/tokenizer/");

    private Rehearsal() {}

    /** @param arguments an image, of which both embedded models are asked, and the directory of one of them */
    public static void main(String[] arguments) throws ReflectiveOperationException, IOException, URISyntaxException {
        String image = arguments[0];
        run("--help");
        run("--version");
        run("match", "--backend", BackendMixin.PROCESSOR, "-i", image, "-p", "a kitchen");
        run("generate", "--backend", BackendMixin.PROCESSOR, "-i", image, "-p", "caption en", "-n", "2");
        // As a large model, which runs on oneDNN.
        System.setProperty("stormsight.native.from", "0");
        run("generate", "-m", arguments[1], "--backend", BackendMixin.PROCESSOR, "-i", image, "-p", "caption en", "-n",
                "2");
        loadOthers();
        // As Main does: the JVM loads something for it, too.
        System.exit(0);
    }

    /** Loads what only other models and large ones run, and what the JVM calls C functions with. */
    private static void loadOthers() throws ReflectiveOperationException, IOException, URISyntaxException {
        Path built = Path.of(Rehearsal.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        try (JarFile jar = new JarFile(built.toFile())) {
            for (String name : jar.stream().map(JarEntry::getName).toList()) {
                if (OTHERS.stream().anyMatch(name::startsWith) && name.endsWith(CLASS)) {
                    Class.forName(name.substring(0, name.length() - CLASS.length()).replace('/', '.'), false,
                            Rehearsal.class.getClassLoader());
                }
            }
        }
        Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_FLOAT));
    }

    private static void run(String... arguments) {
        PrintWriter nowhere = new PrintWriter(PrintWriter.nullWriter());
        int code = Main.execute(nowhere, nowhere, arguments);
        if (code != 0) {
            throw new IllegalStateException(String.join(" ", arguments) + " ended with code " + code);
        }
    }
}

package stormsight.bench;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * What a row was measured with, beside the device.
 *
 * @param version Stormsight's
 * @param commit short Git commit of the build, with + where files were changed since; empty if it is not known
 * @param os name, version and architecture
 * @param cpu as the system names it
 * @param cores processors that the JVM may use
 */
public record Machine(String version, Optional<String> commit, String jdk, String os, String cpu, int cores) {
    /** As a row has it. */
    private static final String COMMIT = "[0-9a-f]{12,40}\\+?";

    /**
     * This machine.
     *
     * @param os name, version and architecture
     * @param cpu what to call the processor where the system does not say
     * @param built where the classes lie, in whose Git checkout the commit is looked up; an archive of bench/gpu
     *     says it in a file
     */
    public static Machine here(String version, String os, String cpu, Path built) {
        return new Machine(version, commit(built), Runtime.version().toString(), os, linuxCpu().orElse(cpu),
                Runtime.getRuntime().availableProcessors());
    }

    /** As bench/results/schema.json has them in a row. */
    Map<String, Object> fields() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("version", version);
        fields.put("commit", commit.orElse(null));
        fields.put("jdk", jdk);
        fields.put("os", os);
        fields.put("cpu", cpu);
        fields.put("cores", cores);
        return fields;
    }

    private static Optional<String> linuxCpu() {
        try {
            return Files.readAllLines(Path.of("/proc/cpuinfo")).stream()
                    .filter(line -> line.startsWith("model name"))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip())
                    .findFirst();
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    private static Optional<String> commit(Path built) {
        Path folder = Files.isDirectory(built) ? built : built.toAbsolutePath().getParent();
        return packed(folder.resolveSibling("commit")).or(() -> checkedOut(folder));
    }

    /** What an archive says of itself. */
    private static Optional<String> packed(Path file) {
        try {
            return Optional.of(Files.readString(file).strip()).filter(text -> text.matches(COMMIT));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    private static Optional<String> checkedOut(Path folder) {
        // A jar may lie in a checkout of something else.
        Optional<Path> top = git(folder, "rev-parse", "--show-toplevel")
                .map(Path::of)
                .filter(path -> Files.exists(path.resolve("stormsight")));
        return top.flatMap(path -> git(path, "rev-parse", "--short=12", "HEAD"))
                .map(commit -> commit
                        + (git(folder, "status", "--porcelain", "--untracked-files=no")
                                        .filter(String::isEmpty)
                                        .isPresent()
                                ? ""
                                : "+"));
    }

    /** What Git prints, or empty if it is not there or fails. */
    private static Optional<String> git(Path folder, String... arguments) {
        List<String> command = new ArrayList<>(List.of("git"));
        command.addAll(List.of(arguments));
        try {
            Process process = new ProcessBuilder(command)
                    .directory(folder.toFile())
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            try (InputStream out = process.getInputStream()) {
                String printed = new String(out.readAllBytes(), StandardCharsets.UTF_8).strip();
                boolean done = process.waitFor(10, TimeUnit.SECONDS) && process.exitValue() == 0;
                return done ? Optional.of(printed) : Optional.empty();
            } finally {
                process.destroy();
            }
        } catch (IOException e) {
            return Optional.empty();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return Optional.empty();
        }
    }
}

package stormsight;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Dependencies point one way: what a package may import of ours. */
class ImportRulesTest {
    private static final Pattern PACKAGE = Pattern.compile("^package (stormsight[\\w.]*);", Pattern.MULTILINE);
    private static final Pattern IMPORT =
            Pattern.compile("^import (?:static )?(stormsight(?:\\.[a-z]\\w*)*)\\.[A-Z]", Pattern.MULTILINE);
    private static final int LONGEST_LINE = 120;
    private static final String TORNADOVM = "uk.ac.manchester.tornado";

    private static final String PROGRAM = "stormsight.program";
    private static final String CHECKPOINT = "stormsight.checkpoint";
    private static final String IMAGE = "stormsight.image";
    private static final String REPORT = "stormsight.report";
    private static final String TOKENIZER = "stormsight.tokenizer";
    private static final String MODEL = "stormsight.model";
    private static final String PROBE = "stormsight.probe";
    private static final String NN = "stormsight.model.nn";
    private static final String FAMILIES = "stormsight.model.family";
    private static final String BACKEND = "stormsight.backend";
    private static final String GENERATE = "stormsight.generate";
    private static final String STUDY = "stormsight.study";
    private static final String MATCH = "stormsight.match";
    private static final String SERVE = "stormsight.serve";
    private static final String VERIFY = "stormsight.verify";
    private static final String BENCH = "stormsight.bench";

    /** What a family may use. Nothing but the list of families may use a family. */
    private static final Set<String> FAMILY = Set.of(PROGRAM, CHECKPOINT, IMAGE, TOKENIZER, MODEL, NN);

    private static final Map<String, Set<String>> ALLOWED = Map.ofEntries(
            Map.entry(PROGRAM, Set.of()),
            Map.entry(CHECKPOINT, Set.of(PROGRAM)),
            Map.entry(IMAGE, Set.of()),
            Map.entry(REPORT, Set.of(IMAGE)),
            Map.entry(TOKENIZER, Set.of(CHECKPOINT)),
            Map.entry(MODEL, Set.of(PROGRAM, CHECKPOINT, IMAGE, TOKENIZER)),
            Map.entry(NN, Set.of(PROGRAM, CHECKPOINT, IMAGE, TOKENIZER, MODEL)),
            Map.entry(FAMILIES, FAMILY),
            Map.entry(PROBE, Set.of(PROGRAM, CHECKPOINT, IMAGE, TOKENIZER, MODEL)),
            Map.entry(BACKEND, Set.of(PROGRAM, CHECKPOINT)),
            Map.entry("stormsight.backend.cpu", Set.of(BACKEND, PROGRAM, CHECKPOINT)),
            Map.entry("stormsight.tornado", Set.of(BACKEND, PROGRAM, CHECKPOINT, "stormsight.tornado.kernel")),
            Map.entry("stormsight.tornado.kernel", Set.of(BACKEND, PROGRAM, CHECKPOINT, "stormsight.tornado")),
            Map.entry(GENERATE, below(PROBE, REPORT)),
            Map.entry(STUDY, below(PROBE, GENERATE, MATCH, REPORT)),
            Map.entry(MATCH, below()),
            Map.entry(VERIFY, below(FAMILIES, PROBE, GENERATE, MATCH)),
            Map.entry(BENCH, below(FAMILIES, PROBE, GENERATE, MATCH, VERIFY, REPORT)),
            Map.entry("stormsight", below(FAMILIES, GENERATE, MATCH)),
            Map.entry(SERVE, below(GENERATE, MATCH)),
            Map.entry("stormsight.cli", below(FAMILIES, PROBE, GENERATE, MATCH, SERVE, STUDY, VERIFY, BENCH, REPORT)));

    /** A folder of model/ that is none of the shared ones. */
    private static boolean isFamily(String name) {
        return name.startsWith(MODEL + ".") && !name.equals(NN) && !name.equals(FAMILIES);
    }

    /** What everything above the models may use, and more. */
    private static Set<String> below(String... more) {
        Set<String> allowed = new HashSet<>(Set.of(PROGRAM, CHECKPOINT, IMAGE, TOKENIZER, MODEL, BACKEND));
        allowed.addAll(List.of(more));
        return allowed;
    }

    @Test
    void everyImportPointsDown() throws IOException {
        List<String> wrong = new ArrayList<>();
        int files = 0;
        for (Path file : sources("src/main/java", "kernels/java")) {
            String source = Files.readString(file);
            Matcher declared = PACKAGE.matcher(source);
            if (!declared.find()) {
                continue;
            }
            files++;
            String from = declared.group(1);
            Set<String> allowed = isFamily(from) ? FAMILY : ALLOWED.get(from);
            if (allowed == null) {
                wrong.add(file + ": package " + from + " has no rule");
                continue;
            }
            Matcher imported = IMPORT.matcher(source);
            while (imported.find()) {
                String to = imported.group(1);
                if (!to.equals(from) && !allowed.contains(to) && !(from.equals(FAMILIES) && isFamily(to))) {
                    wrong.add(file + " imports from " + to);
                }
            }
        }
        assertFalse(files == 0, "no sources found");
        assertEquals(List.of(), wrong);
    }

    /** Data in text blocks may be longer. */
    @Test
    void linesAreShort() throws IOException {
        List<String> wrong = new ArrayList<>();
        for (Path file :
                sources("src/main/java", "src/test/java", "kernels/java", "kernels/test", "bench/java")) {
            List<String> lines = Files.readAllLines(file);
            boolean data = false;
            for (int i = 0; i < lines.size(); i++) {
                boolean blockEnds = lines.get(i).split("\"{3}", -1).length % 2 == 0;
                if (!data && !blockEnds && lines.get(i).length() > LONGEST_LINE) {
                    wrong.add(file + ", line " + (i + 1) + ": " + lines.get(i).length() + " characters");
                }
                data ^= blockEnds;
            }
        }
        assertEquals(List.of(), wrong);
    }

    /** The rules themselves allow no cycle, so the packages have none. */
    @Test
    void rulesHaveNoCycle() {
        Set<String> settled = new HashSet<>();
        for (boolean more = true; more;) {
            more = false;
            for (Map.Entry<String, Set<String>> rule : ALLOWED.entrySet()) {
                Set<String> open = new HashSet<>(rule.getValue());
                open.removeAll(settled);
                more |= open.isEmpty() && settled.add(rule.getKey());
            }
        }
        Set<String> cyclic = new HashSet<>(ALLOWED.keySet());
        cyclic.removeAll(settled);
        // Lowering and kernels of one backend know each other.
        assertEquals(Set.of("stormsight.tornado", "stormsight.tornado.kernel"), cyclic);
    }

    /** A backend sees the host tensor and nothing else of the checkpoint package. */
    @Test
    void backendsSeeOnlyTheHostTensor() throws IOException {
        List<String> wrong = new ArrayList<>();
        for (Path file : sources("src/main/java/stormsight/backend", "kernels/java")) {
            Files.readString(file)
                    .lines()
                    .filter(line -> line.startsWith("import " + CHECKPOINT)
                            && !line.equals("import " + CHECKPOINT + ".HostTensor;"))
                    .forEach(line -> wrong.add(file + ": " + line));
        }
        assertEquals(List.of(), wrong);
    }

    @Test
    void tornadoVmIsImportedInKernelsAlone() throws IOException {
        List<Path> wrong = new ArrayList<>();
        for (Path file : sources("src/main/java", "bench")) {
            if (Files.readString(file).contains("import " + TORNADOVM)) {
                wrong.add(file);
            }
        }
        assertEquals(List.of(), wrong);
    }

    private static List<Path> sources(String... roots) throws IOException {
        List<Path> sources = new ArrayList<>();
        for (String root : roots) {
            if (Files.isDirectory(Path.of(root))) {
                try (Stream<Path> files = Files.walk(Path.of(root))) {
                    files.filter(file -> file.toString().endsWith(".java")).forEach(sources::add);
                }
            }
        }
        return sources;
    }
}

package stormsight.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.CodeModel;
import java.lang.classfile.MethodModel;
import java.lang.classfile.instruction.InvokeInstruction;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Whether loops over vectors are short enough for HotSpot's compilers: see {@link MatVec}. */
class VectorCallsTest {
    /** With 114 calls {@link FewTokens} has 32,000 to 35,000 of 40,000 nodes, depending on what ran before. */
    private static final int MOST = 115;

    @Test
    void noMethodHasMoreThanTheCompilersTake() throws Exception {
        Map<String, Long> calls = new TreeMap<>();
        URI here = MatVec.class.getResource("MatVec.class").toURI();
        try (Stream<Path> files = Files.list(Path.of(here).getParent())) {
            for (Path file : files.filter(file -> file.toString().endsWith(".class")).toList()) {
                ClassModel type = ClassFile.of().parse(file);
                for (MethodModel method : type.methods()) {
                    method.code().ifPresent(code -> calls.merge(type.thisClass().name() + " " + method.methodName(),
                            count(code), Math::max));
                }
            }
        }
        assertTrue(calls.values().stream().anyMatch(count -> count > MOST / 2), "no calls found");
        calls.values().removeIf(count -> count <= MOST);
        assertEquals(Map.of(), calls, "methods with more than " + MOST + " calls of the Vector API");
    }

    private static long count(CodeModel code) {
        return code.elementStream().filter(element -> element instanceof InvokeInstruction call
                && call.owner().asInternalName().startsWith("jdk/incubator/vector/")).count();
    }
}

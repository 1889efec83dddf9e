package stormsight.bench;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A kernel as ocloc disassembles it. A message to memory takes one of up to 32 tokens, {@code $3}; an instruction that
 * names {@code $3.dst}, {@code sync.allwr} that lists it, and one that takes the token for a message of its own wait
 * until that message has been answered. What may be under way where an instruction stands is found along all paths
 * through the kernel, loops included. The reads of a kernel's arguments and of what did not fit its registers do not
 * count.
 *
 * @see <a href="https://github.com/intel/intel-graphics-compiler/tree/master/visa/iga">IGA, the assembler</a>
 */
final class IntelAssembly {
    private static final Pattern LABEL = Pattern.compile("^(L\\d+):");
    private static final Pattern TARGET = Pattern.compile("\\bL\\d+\\b");
    private static final Pattern GLOBAL_LOAD = Pattern.compile("\\bload\\w*\\.ugm\\b(?!.*(?:bti\\[255\\]|\\bb?ss\\[))");
    private static final Pattern TOKEN = Pattern.compile("\\$(\\d+)(\\.\\w+)?");
    private static final Pattern SYNC = Pattern.compile("\\bsync\\.(\\w+)");

    /** @param waitsFor tokens whose message is waited for; {@code takes} those of a message of its own: bits */
    private record Instruction(int waitsFor, int takes, boolean load, List<Integer> next) {}

    private final List<Instruction> instructions = new ArrayList<>();

    IntelAssembly(String assembly) {
        List<String> lines = new ArrayList<>();
        Map<String, Integer> labels = new HashMap<>();
        assembly.lines().forEach(line -> {
            Matcher label = LABEL.matcher(line);
            if (label.find()) {
                labels.put(label.group(1), lines.size());
            } else if (!line.isBlank() && !line.startsWith("//")) {
                lines.add(line);
            }
        });
        for (int i = 0; i < lines.size(); i++) {
            instructions.add(instruction(lines.get(i), i, labels));
        }
    }

    private static Instruction instruction(String line, int index, Map<String, Integer> labels) {
        int comment = line.indexOf("//");
        String code = comment < 0 ? line : line.substring(0, comment);
        int waitsFor = 0;
        int takes = 0;
        Matcher token = TOKEN.matcher(code);
        while (token.find()) {
            int bit = 1 << Integer.parseInt(token.group(1));
            if (token.group(2) == null) {
                takes |= bit;
            } else if (token.group(2).equals(".dst")) {
                waitsFor |= bit;
            }
        }
        Matcher sync = SYNC.matcher(code);
        if (sync.find()) {
            // It sends nothing: what it lists was sent before. Without a list it waits for all.
            if (sync.group(1).equals("allwr")) {
                waitsFor |= takes == 0 ? ~0 : takes;
            }
            takes = 0;
        }
        List<Integer> next = new ArrayList<>(List.of(index + 1));
        TARGET.matcher(code).results().map(target -> labels.get(target.group())).forEach(target -> {
            if (target != null) {
                next.add(target);
            }
        });
        return new Instruction(waitsFor | takes, takes, GLOBAL_LOAD.matcher(line).find(), next);
    }

    /** Instructions that read global memory. */
    int loads() {
        return (int) instructions.stream().filter(Instruction::load).count();
    }

    /** Instructions that wait for such a read, if it has not been answered by then. */
    int waits() {
        int[] underWay = new int[instructions.size() + 1];
        boolean changed = true;
        while (changed) {
            changed = false;
            for (int i = 0; i < instructions.size(); i++) {
                Instruction instruction = instructions.get(i);
                int after = underWay[i] & ~instruction.waitsFor | (instruction.load ? instruction.takes : 0);
                for (int next : instruction.next) {
                    changed |= (underWay[next] | after) != underWay[next];
                    underWay[next] |= after;
                }
            }
        }
        int waits = 0;
        for (int i = 0; i < instructions.size(); i++) {
            waits += (underWay[i] & instructions.get(i).waitsFor) != 0 ? 1 : 0;
        }
        return waits;
    }
}

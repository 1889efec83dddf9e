package stormsight.cli;

import java.util.Iterator;
import java.util.List;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import stormsight.backend.Precision;

/** Options for how precise products are. */
final class PrecisionMixin {
    private static final String OPTION = "--precision";
    private static final String BF16 = "bf16";

    /** What there is, for completion. */
    static final class Names implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return List.of(BF16).iterator();
        }
    }

    @Option(
            names = "--strict-math",
            description =
                    "Compute products in 32 bits even where there are faster units for 16: AVX-512 BF16 and AMX of a "
                            + "processor, which multiply many rows of a large model, and tensor cores.")
    private boolean strictMath;

    @Spec(Spec.Target.MIXEE)
    private CommandSpec spec;

    private boolean rounded;

    @Option(
            names = OPTION,
            paramLabel = "NAME",
            completionCandidates = Names.class,
            description = "bf16: round activations to bf16 for tensor cores, where products and attention of many rows "
                    + "are results of 32 bits to about 1e-5 otherwise: faster, and off by about 1%%.")
    private void precision(String name) {
        if (!name.equals(BF16)) {
            throw new ParameterException(spec.commandLine(), OPTION + " is " + BF16 + " or left out, not '" + name
                    + "'");
        }
        rounded = true;
    }

    /** @throws UsageException if the options contradict each other */
    Precision precision() {
        boolean strict = strictMath || Environment.strictMath();
        if (strict && rounded) {
            throw new UsageException(OPTION + " " + BF16 + " rounds what "
                    + (strictMath ? "--strict-math" : "STORMSIGHT_STRICT_MATH") + " keeps in 32 bits: leave one out");
        }
        return strict ? Precision.STRICT : rounded ? Precision.BF16 : Precision.FAST;
    }
}

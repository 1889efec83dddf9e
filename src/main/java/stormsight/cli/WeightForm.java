package stormsight.cli;

import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;
import stormsight.program.DType;

/**
 * How matrices are held, as users write it.
 *
 * @param type what they are turned into; empty for {@code stored}
 */
record WeightForm(Optional<DType> type) {
    static final String HELP =
            "stored: as in the files. q8, q4: in 8 or 4 bits, with a scale for every 32 weights, converted when the "
                    + "model is loaded. Default: ${DEFAULT-VALUE}.";

    private static List<WeightForm> all() {
        return Stream.concat(Stream.of(Optional.<DType>empty()), DType.blocked().stream().map(Optional::of))
                .map(WeightForm::new)
                .toList();
    }

    /** The form of that name, in letters of any case. */
    static Optional<WeightForm> named(String name) {
        return all().stream().filter(form -> form.toString().equalsIgnoreCase(name)).findFirst();
    }

    @Override
    public String toString() {
        return type.map(DType::label).orElse("stored");
    }

    /** For options. */
    static final class Converter implements ITypeConverter<WeightForm> {
        @Override
        public WeightForm convert(String text) {
            return named(text).orElseThrow(
                    () -> new TypeConversionException("expected one of " + all() + " but was '" + text + "'"));
        }
    }

    /** Of all forms. */
    static final class Names implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return all().stream().map(WeightForm::toString).iterator();
        }
    }

    /** Of those that something is turned into. */
    static final class Small implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return DType.blocked().stream().map(DType::label).iterator();
        }
    }
}

package stormsight.cli;

import java.util.Iterator;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;

/** The words of a command line, looked at before they are parsed. */
final class Arguments {
    private Arguments() {}

    /**
     * Values may begin with a dash, as a prompt does that is a list. But a word that is an option's name, behind an
     * option that lacks its value, is that option and not the value.
     *
     * @throws ParameterException naming the option that lacks its value
     */
    static void requireValues(CommandLine line, List<String> words) {
        CommandLine current = line;
        for (Iterator<String> rest = words.iterator(); rest.hasNext();) {
            String word = rest.next();
            CommandSpec command = current.getCommandSpec();
            OptionSpec option = command.findOption(word);
            if (option != null && word.startsWith("-") && option.arity().min() > 0) {
                if (!rest.hasNext()) {
                    return;
                }
                String value = rest.next();
                if (value.startsWith("-") && command.findOption(value.split("=", 2)[0]) != null) {
                    throw new ParameterException(
                            current,
                            word + " needs a value before " + value
                                    + "; a value that is the name of an option is written " + word + "=" + value);
                }
            } else if (current.getSubcommands().containsKey(word)) {
                current = current.getSubcommands().get(word);
            }
        }
    }
}

package stormsight.cli;

import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;

/** The words of a command line, looked at before they are parsed. */
final class Arguments {
    private Arguments() {}

    /** What picocli takes for the end of the options in place of "--", which can be a value. No word is like it. */
    static final String END_OF_OPTIONS = "\0";

    /**
     * Values may begin with a dash, as a prompt does that is a list, or be "--". But a word that is an option's name,
     * behind an option that lacks its value, is that option and not the value.
     *
     * @return the words as picocli takes them, where {@link #END_OF_OPTIONS} ends the options
     * @throws ParameterException naming the option that lacks its value
     */
    static String[] checked(CommandLine line, String... words) {
        CommandLine current = line;
        String[] checked = words.clone();
        for (int at = 0; at < words.length; at++) {
            String word = words[at];
            if (word.equals("--")) {
                checked[at] = END_OF_OPTIONS;
                break;
            }
            CommandSpec command = current.getCommandSpec();
            OptionSpec option = command.findOption(word);
            if (option != null && word.startsWith("-") && option.arity().min() > 0) {
                at++;
                if (at == words.length) {
                    break;
                }
                String value = words[at];
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
        return checked;
    }
}

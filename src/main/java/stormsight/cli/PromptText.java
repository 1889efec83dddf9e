package stormsight.cli;

import java.io.PrintWriter;
import java.util.regex.Pattern;
import stormsight.model.ModelDirectory;

/** Prompts as people write them. */
final class PromptText {
    private static final String BYTE_ORDER_MARK = "\uFEFF";

    /** How the prompts begin that PaliGemma was trained with. */
    private static final Pattern TASK =
            Pattern.compile("(?:caption|cap|describe|ocr|answer|question|detect|segment)\\b.*", Pattern.DOTALL);

    private static final Pattern EMBEDDED_TASK = Pattern.compile("(?:caption|answer|detect)\\b.*", Pattern.DOTALL);

    private PromptText() {}

    /** The prompt without the byte order mark that Windows' editors begin a file with. */
    static String of(String text) {
        return text.startsWith(BYTE_ORDER_MARK) ? text.substring(BYTE_ORDER_MARK.length()) : text;
    }

    /**
     * Says so, in one line, if a prompt is none that a model was trained with: its answer means little then, or is
     * empty.
     */
    static void warnOfUnknownTask(PrintWriter err, ModelMixin model, ModelDirectory directory, String prompt) {
        String begun = prompt.strip();
        if (!model.chosen() && !EMBEDDED_TASK.matcher(begun).matches()) {
            err.println(
                    "The embedded model knows drawn shapes and three tasks: 'caption en', 'answer en QUESTION' and "
                            + "'detect SHAPE'. This prompt is none of them.");
        } else if (directory.describe().family().startsWith("PaliGemma") && !TASK.matcher(begun).matches()) {
            err.println(
                    "PaliGemma is not a chat model: it knows tasks such as 'caption en', 'answer en QUESTION' and "
                            + "'detect THING'. This prompt is none of them.");
        }
        err.flush();
    }
}

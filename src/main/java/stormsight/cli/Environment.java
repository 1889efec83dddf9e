package stormsight.cli;

/** The only place that reads and sets system properties, but for those of the tokenizers library, which the tokenizer sets. */
final class Environment {
    private Environment() {}

    /** Whether standard error is a terminal; the launcher knows, Java cannot tell. */
    static boolean terminal() {
        return Boolean.getBoolean("stormsight.terminal");
    }

    /** Must run before the first logger is made. */
    static void configureLogging(boolean verbose) {
        String prefix = "org.slf4j.simpleLogger.";
        System.setProperty(prefix + "logFile", "System.err");
        System.setProperty(prefix + "defaultLogLevel", "warn");
        System.setProperty(prefix + "log.stormsight", verbose ? "debug" : "info");
        System.setProperty(prefix + "showThreadName", "false");
        System.setProperty(prefix + "showLogName", "false");
        System.setProperty(prefix + "showShortLogName", "false");
        System.setProperty(prefix + "levelInBrackets", "false");
    }
}

package stormsight.cli;

/** Something that a command is to write cannot be written. */
final class OutputException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** @param what is to be written, as the user named it */
    OutputException(String what, String why) {
        super(what + " cannot be written: " + why);
    }

    private OutputException(String message) {
        super(message);
    }

    /** Standard output is closed or full. */
    static OutputException ofStandardOutput() {
        return new OutputException("standard output cannot be written");
    }
}

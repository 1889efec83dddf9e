package stormsight.report;

/** Numbers of things for people. */
public final class Count {
    private Count() {}

    /**
     * {@code 1 image} or {@code 3 images}.
     *
     * @param one what one of them is called; several have an s behind it
     */
    public static String text(long number, String one) {
        return number + " " + one + (number == 1 ? "" : "s");
    }
}

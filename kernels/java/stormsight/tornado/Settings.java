package stormsight.tornado;

/** The only place of this backend that reads system properties of ours. */
final class Settings {
    private Settings() {}

    /** {@code -Dstormsight.tornado.unroll=true}: tasks of their own for every layer, instead of one graph that runs once a layer. */
    static boolean unroll() {
        return Boolean.getBoolean("stormsight.tornado.unroll");
    }
}

package stormsight.backend;

import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import stormsight.checkpoint.HostTensor;

/**
 * Asks the system to map the pages of weights before they are read. The first read of a page of a mapped file is a
 * fault, one for every few pages; asked for whole matrices, the system maps them in less than half of that time, on a
 * thread of its own beside what else prepares the model. It is asked for large pages, too, 2 MB each: what has yet to
 * come from the disk then comes in few long reads, is mapped at once, for later processes as well, and takes fewer
 * entries of the processor's tables. That needs a file system with large folios, such as XFS, or ext4 from Linux 6.16
 * on; what the system already holds in small pages stays so.
 *
 * @see <a href="https://man7.org/linux/man-pages/man2/madvise.2.html">madvise(2)</a>
 */
public final class FirstTouch {
    private static final Logger LOG = LoggerFactory.getLogger(FirstTouch.class);

    /** Fewer are mapped sooner than the call is linked. */
    private static final long LEAST_BYTES = 1L << 28;

    /** Part of the machine's memory that weights may take: what has no room is better read when it is needed. */
    private static final int MEMORY_PART = 2;

    /** {@code MADV_HUGEPAGE}; a kernel without large pages refuses it. */
    private static final int LARGE_PAGES = 14;

    /** {@code MADV_POPULATE_READ} of Linux 5.14: like a read of each page, but for faults, which become an error. */
    private static final int POPULATE_READ = 22;

    /** Of x86-64. */
    private static final long PAGE = 4096;

    /** Bytes that the system is asked for at once: meanwhile nobody else in the process gets or gives back memory. */
    private static final long PIECE = 1L << 22;

    private FirstTouch() {}

    /**
     * Begins with all weights, in the order in which files hold them; does nothing where it would not help. They may be
     * unmapped at any time: the system then refuses.
     *
     * @param weights mapped from files
     */
    public static void begin(Collection<HostTensor> weights) {
        List<MemorySegment> layers = weights.stream()
                .flatMap(weight -> weight.layers().stream())
                .sorted(Comparator.comparingLong(MemorySegment::address))
                .toList();
        long bytes = layers.stream().mapToLong(MemorySegment::byteSize).sum();
        if (bytes >= LEAST_BYTES && bytes <= DeviceInfo.hostMemoryBytes() / MEMORY_PART) {
            Thread.ofPlatform().daemon().name("stormsight-pages").start(() -> {
                Optional<MemorySegment> advice = advice();
                advice.ifPresent(call -> layers.forEach(layer -> inLargePages(call, layer)));
                if (advice.isEmpty() || !layers.stream().allMatch(layer -> populated(advice.get(), layer))) {
                    LOG.debug("this system maps pages when they are read");
                }
            });
        }
    }

    /** The call {@code madvise}; empty on systems that do not have this kind of advice. */
    static Optional<MemorySegment> advice() {
        return NativeCall.possible() ? Linker.nativeLinker().defaultLookup().find("madvise") : Optional.empty();
    }

    /** Asks for large pages, which changes nothing where there are none. */
    static void inLargePages(MemorySegment advice, MemorySegment layer) {
        advise(advice, layer.address(), layer.byteSize(), LARGE_PAGES);
    }

    /** Whether all pages of a layer could be mapped, piece by piece. */
    static boolean populated(MemorySegment advice, MemorySegment layer) {
        long end = layer.address() + layer.byteSize();
        for (long from = layer.address(); from < end; from += PIECE) {
            if (!populate(advice, from, Math.min(PIECE, end - from))) {
                return false;
            }
        }
        return true;
    }

    /**
     * Maps the pages of some bytes. Addresses that are unmapped meanwhile are refused by the system.
     *
     * @return whether all of them are mapped
     */
    static boolean populate(MemorySegment advice, long address, long bytes) {
        return advise(advice, address, bytes, POPULATE_READ);
    }

    /** @return whether the system takes the advice */
    private static boolean advise(MemorySegment advice, long address, long bytes, int what) {
        long first = address & -PAGE;
        return (int) NativeCall.call(advice, first, address + bytes - first, what, 0) == 0;
    }
}

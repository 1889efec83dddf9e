package stormsight.generate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.checkpoint.JsonRecord;
import stormsight.checkpoint.LineLog;
import stormsight.image.ImageFile;
import stormsight.model.Stamp;
import tools.jackson.databind.json.JsonMapper;

/**
 * Answers in a file, one JSON object a line, in the order of the items. A line is in the file as soon as it is written,
 * whatever becomes of the process; a last line that was cut off is dropped when the file is opened again.
 */
final class AnswerLog implements AutoCloseable {
    private static final String INDEX = "index";
    private static final String RUN = "run";
    private static final String PROMPT = "prompt";
    private static final String IMAGE = "image";
    private static final String HASH = "image_sha256";

    private final LineLog lines;
    private final Stamp run;
    private final int written;
    private final Optional<String> unknown;

    private AnswerLog(LineLog lines, Stamp run, int written, Optional<String> unknown) {
        this.lines = lines;
        this.run = run;
        this.written = written;
        this.unknown = unknown;
    }

    /**
     * Opens or makes the file.
     *
     * @param run what answers depend on beside the items
     * @param items that the file is to have lines of
     * @param resume whether the file may have lines already
     * @throws IllegalArgumentException if lines are of other items or another run, or there are some and must not be
     * @throws IOException if the file cannot be read or written
     */
    static AnswerLog open(Path file, Stamp run, List<BatchItem> items, boolean resume) throws IOException {
        LineLog log = LineLog.open(file);
        try {
            List<String> lines = log.lines();
            if (!resume && (!lines.isEmpty() || log.rest().length > 0)) {
                throw new IllegalArgumentException(
                        file + " has answers already; --resume goes on with them, or name another file");
            }
            String unknown = null;
            Images images = new Images();
            for (int i = 0; i < lines.size(); i++) {
                JsonRecord line = JsonRecord.parse(file + ", line " + (i + 1), lines.get(i));
                require(line, run, items, i, images);
                unknown = run.unknown(line.get(RUN).text()).orElse(unknown);
            }
            log.goOn();
            return new AnswerLog(log, run, lines.size(), Optional.ofNullable(unknown));
        } catch (IOException | RuntimeException e) {
            log.close();
            throw e;
        }
    }

    /** Those of lines that follow each other are mostly the same. */
    private static final class Images {
        private Path file;
        private Optional<String> hash;

        /** Of an item's image as it is now; empty if it is not there any more. */
        Optional<String> hash(BatchItem item) {
            if (!item.file().equals(file)) {
                file = item.file();
                hash = ImageFile.hash(file);
            }
            return hash;
        }
    }

    private static void require(JsonRecord line, Stamp run, List<BatchItem> items, int place, Images images) {
        if (place >= items.size()) {
            throw line.invalid("more answers than there are items; name another file");
        }
        BatchItem item = items.get(place);
        if (line.get(INDEX).index(Integer.MAX_VALUE) != item.index()
                || !line.get(IMAGE).text().equals(item.image())
                || !line.get(PROMPT).text().equals(item.prompt())) {
            throw line.invalid("an answer to item " + line.get(INDEX).node() + " about " + line.get(IMAGE).text()
                    + ", where item " + item.index() + " about " + item.image()
                    + " is next; give the items as before, or name another file");
        }
        // Lines of an earlier version, and those about images that could not be read, have none.
        Optional<String> hash = line.find(HASH).map(JsonRecord::text);
        if (hash.isPresent() && images.hash(item).filter(now -> !now.equals(hash.get())).isPresent()) {
            throw line.invalid("an answer about another image under the name " + item.image()
                    + "; put that image back, or name another file");
        }
        if (!run.fits(line.get(RUN).text())) {
            throw line.invalid("an answer of another model or of other options (run " + line.get(RUN).text()
                    + ", this is " + run.text() + "); give them as before, or name another file");
        }
    }

    /** Lines that were there when the file was opened. */
    int written() {
        return written;
    }

    /** What nobody wrote down of how these were made, see {@link Stamp#unknown}. */
    Optional<String> unknown() {
        return unknown;
    }

    /**
     * Adds the line of an item: what it asks, then what came of it.
     *
     * @param hash of the image's file, if it could be read
     */
    void add(BatchItem item, Optional<String> hash, Map<String, Object> result) throws IOException {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put(INDEX, item.index());
        line.put(IMAGE, item.image());
        hash.ifPresent(known -> line.put(HASH, known));
        line.put(PROMPT, item.prompt());
        item.input().ifPresent(input -> line.put("input", input));
        line.putAll(result);
        line.put(RUN, run.text());
        lines.add(JsonMapper.shared().writeValueAsString(line));
    }

    @Override
    public void close() throws IOException {
        lines.close();
    }
}

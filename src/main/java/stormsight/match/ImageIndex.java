package stormsight.match;

import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.lucene.codecs.Codec;
import org.apache.lucene.codecs.KnnVectorsFormat;
import org.apache.lucene.codecs.KnnVectorsReader;
import org.apache.lucene.codecs.KnnVectorsWriter;
import org.apache.lucene.codecs.lucene104.Lucene104Codec;
import org.apache.lucene.codecs.lucene99.Lucene99HnswVectorsFormat;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.KnnFloatVectorField;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.index.CorruptIndexException;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexFormatTooNewException;
import org.apache.lucene.index.IndexFormatTooOldException;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.MultiBits;
import org.apache.lucene.index.SegmentReadState;
import org.apache.lucene.index.SegmentWriteState;
import org.apache.lucene.index.Term;
import org.apache.lucene.index.VectorSimilarityFunction;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.KnnFloatVectorQuery;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.FSDirectory;
import org.apache.lucene.store.LockObtainFailedException;
import org.apache.lucene.util.Bits;

/**
 * Embeddings of images by their files, in a folder or in memory, which finds those that are nearest to another
 * embedding. The graph that finds them is Lucene's, and so is the format of the folder. Used by one thread.
 *
 * @see <a href="https://arxiv.org/abs/1603.09320">Efficient and robust approximate nearest neighbor search using
 *     Hierarchical Navigable Small World graphs</a>
 */
public final class ImageIndex implements AutoCloseable {
    private static final String FILE = "file";
    private static final String STAMP = "stamp";
    private static final String EMBEDDING = "embedding";
    private static final String MODEL = "model";
    /** Candidates of a search at least: the graph finds the nearest few the more surely. */
    private static final int CANDIDATES = 100;
    /** Lucene's own limit is 1024, which is less than SigLIP so400m needs. */
    private static final int MOST_COLUMNS = 4096;

    private final Directory directory;
    private final IndexWriter writer;
    private final Map<Path, String> stamps;

    private ImageIndex(Directory directory, IndexWriter writer) throws IOException {
        this.directory = directory;
        this.writer = writer;
        stamps = stamps();
    }

    /**
     * An image that was found.
     *
     * @param cosine of its embedding and the one that was asked for
     */
    public record Hit(Path image, double cosine) {}

    /** Whether a folder holds an index, of this program or another one. */
    public static boolean exists(Path folder) {
        try (Directory directory = FSDirectory.open(folder)) {
            return DirectoryReader.indexExists(directory);
        } catch (IOException e) {
            throw failed(folder.toString(), e);
        }
    }

    /** An index that is kept in memory and is gone when it is closed. */
    public static ImageIndex inMemory() {
        try {
            Directory directory = new ByteBuffersDirectory();
            return new ImageIndex(directory, new IndexWriter(directory, configuration()));
        } catch (IOException e) {
            throw failed("memory", e);
        }
    }

    /**
     * Opens the index of a folder, or begins one.
     *
     * @throws UncheckedIOException naming the folder if it cannot be read or written, or another process has it open
     */
    public static ImageIndex open(Path folder) {
        Directory directory = null;
        try {
            Files.createDirectories(folder);
            requireLock(folder.resolve(IndexWriter.WRITE_LOCK_NAME));
            directory = FSDirectory.open(folder);
            return new ImageIndex(directory, new IndexWriter(directory, configuration()));
        } catch (IOException e) {
            try {
                if (directory != null) {
                    directory.close();
                }
            } catch (IOException closing) {
                e.addSuppressed(closing);
            }
            throw failed(folder.toString(), e);
        }
    }

    /** Lucene would say so in the middle of its work, and as a fault of this program. */
    private static void requireLock(Path lock) throws IOException {
        if (Files.exists(lock) && Files.size(lock) > 0) {
            throw new IOException(lock + " is not empty, as Lucene leaves it; delete that file");
        }
    }

    private static IndexWriterConfig configuration() {
        return new IndexWriterConfig(null).setCodec(codec());
    }

    /** Lucene's default, but for the limit of columns, which no file depends on: its readers read it. */
    private static Codec codec() {
        KnnVectorsFormat hnsw = new Lucene99HnswVectorsFormat();
        KnnVectorsFormat wide = new KnnVectorsFormat(hnsw.getName()) {
            @Override
            public KnnVectorsWriter fieldsWriter(SegmentWriteState state) throws IOException {
                return hnsw.fieldsWriter(state);
            }

            @Override
            public KnnVectorsReader fieldsReader(SegmentReadState state) throws IOException {
                return hnsw.fieldsReader(state);
            }

            @Override
            public int getMaxDimensions(String field) {
                return MOST_COLUMNS;
            }
        };
        return new Lucene104Codec() {
            @Override
            public KnnVectorsFormat getKnnVectorsFormatForField(String field) {
                return wide;
            }
        };
    }

    private static UncheckedIOException failed(String name, IOException e) {
        String reason = switch (e) {
            case LockObtainFailedException _ -> "another process has it open";
            // Lucene's words are about its code.
            case IndexFormatTooOldException _, IndexFormatTooNewException _ ->
                "it was written by another version of Stormsight or Lucene; use that version, or index the images "
                        + "again in another folder";
            case CorruptIndexException _, EOFException _, NoSuchFileException _ ->
                "a file in it is damaged or missing; delete the folder and index the images again";
            case AccessDeniedException denied -> denied.getFile() + ": permission denied";
            default -> e.getMessage();
        };
        return new UncheckedIOException("the index in " + name + " cannot be used: " + reason, e);
    }

    /** What the embeddings were made with, if there are any. */
    public Optional<String> model() {
        if (writer.getLiveCommitData() != null) {
            for (Map.Entry<String, String> entry : writer.getLiveCommitData()) {
                if (entry.getKey().equals(MODEL)) {
                    return Optional.of(entry.getValue());
                }
            }
        }
        return Optional.empty();
    }

    /** Whether an image is in the index as its file is now. */
    public boolean isCurrent(Path image) {
        return stamp(image).equals(stamps.get(key(image)));
    }

    /** Images in the index. */
    public int size() {
        return stamps.size();
    }

    /**
     * Adds an image or replaces it.
     *
     * @param stamp of the file, see {@link #stamp}, from before it was read: what is written into it later is seen
     * @param embedding of length 1
     * @throws IllegalArgumentException if it has another number of columns than those that are there
     */
    public void put(Path image, String stamp, float[] embedding) {
        Path key = key(image);
        Document document = new Document();
        document.add(new StringField(FILE, key.toString(), Field.Store.YES));
        document.add(new StoredField(STAMP, stamp));
        document.add(new KnnFloatVectorField(EMBEDDING, embedding, VectorSimilarityFunction.DOT_PRODUCT));
        try {
            writer.updateDocument(new Term(FILE, key.toString()), document);
            stamps.put(key, stamp);
        } catch (IOException e) {
            throw failed(directory.toString(), e);
        }
    }

    /** Takes out images whose files are gone. @return how many */
    public int removeMissing() {
        List<Path> missing = stamps.keySet().stream().filter(file -> !Files.exists(file)).toList();
        try {
            for (Path file : missing) {
                writer.deleteDocuments(new Term(FILE, file.toString()));
                stamps.remove(file);
            }
            return missing.size();
        } catch (IOException e) {
            throw failed(directory.toString(), e);
        }
    }

    /**
     * Makes what was put last, so that an interruption loses nothing of it.
     *
     * @param model what the embeddings were made with
     */
    public void commit(String model) {
        try {
            writer.setLiveCommitData(Map.of(MODEL, model).entrySet());
            writer.commit();
        } catch (IOException e) {
            throw failed(directory.toString(), e);
        }
    }

    /**
     * The nearest images, the nearest first; of equally near ones the first by name.
     *
     * @param embedding of length 1
     */
    public List<Hit> search(float[] embedding, int count) {
        try (DirectoryReader reader = DirectoryReader.open(writer)) {
            int candidates = Math.min(Math.max(count, CANDIDATES), Math.max(1, reader.numDocs()));
            ScoreDoc[] found = new IndexSearcher(reader)
                    .search(new KnnFloatVectorQuery(EMBEDDING, embedding, candidates), candidates).scoreDocs;
            List<Hit> hits = new ArrayList<>();
            for (ScoreDoc each : found) {
                Path file = Path.of(reader.storedFields().document(each.doc).get(FILE));
                // Lucene's score of a dot product is (1 + dot) / 2.
                hits.add(new Hit(file, 2.0 * each.score - 1));
            }
            hits.sort((a, b) -> a.cosine() != b.cosine() ? Double.compare(b.cosine(), a.cosine())
                    : a.image().compareTo(b.image()));
            return List.copyOf(hits.subList(0, Math.min(count, hits.size())));
        } catch (IOException e) {
            throw failed(directory.toString(), e);
        }
    }

    private Map<Path, String> stamps() throws IOException {
        Map<Path, String> known = new HashMap<>();
        try (DirectoryReader reader = DirectoryReader.open(writer)) {
            Bits live = MultiBits.getLiveDocs(reader);
            for (int i = 0; i < reader.maxDoc(); i++) {
                if (live == null || live.get(i)) {
                    Document document = reader.storedFields().document(i);
                    known.put(Path.of(document.get(FILE)), document.get(STAMP));
                }
            }
        }
        return known;
    }

    private static Path key(Path image) {
        return image.toAbsolutePath().normalize();
    }

    /** Changes with the file. */
    public static String stamp(Path image) {
        try {
            return Files.size(image) + " " + Files.getLastModifiedTime(image);
        } catch (IOException e) {
            // What is wrong with it is said where it is read.
            return "";
        }
    }

    /** What was not committed is lost. */
    @Override
    public void close() {
        try (directory) {
            writer.rollback();
        } catch (IOException e) {
            throw failed(directory.toString(), e);
        }
    }
}

package stormsight.spark;

import static org.apache.spark.sql.functions.array;
import static org.apache.spark.sql.functions.explode;
import static org.apache.spark.sql.functions.lit;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Answer;
import stormsight.Image;
import stormsight.Stormsight;

/** Rows get what the library answers, bit for bit. */
class StormsightSparkTest {
    private static final Path HELD_OUT = Path.of("..", "..", "models", "shapes", "heldout");
    private static final Path DUAL = Path.of("..", "..", "models", "shapes-dual");
    private static final int IMAGES = 6;

    @TempDir
    static Path folder;

    private static SparkSession spark;

    @BeforeAll
    static void start() throws Exception {
        spark = SparkSession.builder().master("local[2]").config("spark.ui.enabled", false)
                .config("spark.sql.warehouse.dir", folder.toString()).getOrCreate();
        for (int i = 0; i < IMAGES; i++) {
            String name = String.format("%03d.png", i);
            Files.copy(HELD_OUT.resolve(name), Files.createDirectories(folder.resolve("images")).resolve(name));
        }
    }

    @AfterAll
    static void stop() {
        spark.stop();
    }

    private static Dataset<Row> images() {
        return spark.read().format("binaryFile").load(folder.resolve("images").toString()).repartition(2);
    }

    private static Image image(Row row) {
        String path = row.getAs("path");
        return Image.read(HELD_OUT.resolve(path.substring(path.lastIndexOf('/') + 1)));
    }

    @Test
    void answersAndBoxesAreThoseOfTheLibrary() {
        Dataset<Row> asked = images().withColumn("prompt", explode(array(lit("caption en"), lit("detect circle"))));
        List<Row> rows = StormsightSpark.ask(asked, ModelChoice.embedded()).collectAsList();
        assertEquals(2 * IMAGES, rows.size());
        int boxes = 0;
        try (Stormsight model = Stormsight.embedded().backend("cpu").open()) {
            for (Row row : rows) {
                Answer answer = model.ask(image(row), row.getAs("prompt"));
                assertEquals(answer.text(), row.getAs("answer"));
                assertEquals(answer.promptTokens(), row.<Integer>getAs("prompt_tokens"));
                assertEquals(
                        answer.tokens().stream().map(Answer.Token::logProbability).toList(),
                        row.<Row>getList(row.fieldIndex("tokens")).stream().map(token -> token.getDouble(2)).toList());
                List<Row> found = row.getList(row.fieldIndex("boxes"));
                assertEquals(answer.objects(), found.stream().map(box -> new Answer.Marked(box.getString(0),
                        box.getInt(1), box.getInt(2), box.getInt(3), box.getInt(4), box.getDouble(5), Optional.empty()))
                        .toList());
                boxes += found.size();
                assertNull(row.getAs("error"));
            }
        }
        assertTrue(boxes > 0);
    }

    /** A table from elsewhere, with a row that holds no image and one whose prompt is too long. */
    @Test
    void aBrokenRowSaysWhyAndOthersAreAnswered() throws Exception {
        byte[] good = Files.readAllBytes(HELD_OUT.resolve("000.png"));
        spark.createDataFrame(
                        List.of(
                                RowFactory.create(1, good, "caption en"),
                                RowFactory.create(2, Arrays.copyOf(good, good.length / 2), "caption en"),
                                RowFactory.create(3, good, "caption en ".repeat(500))),
                        DataTypes.createStructType(List.of(
                                DataTypes.createStructField("id", DataTypes.IntegerType, false),
                                DataTypes.createStructField("content", DataTypes.BinaryType, false),
                                DataTypes.createStructField("prompt", DataTypes.StringType, false))))
                .write().parquet(folder.resolve("table").toString());
        List<Row> rows = StormsightSpark.ask(
                        spark.read().parquet(folder.resolve("table").toString()), ModelChoice.embedded())
                .orderBy("id").collectAsList();
        assertNull(rows.get(0).getAs("error"));
        assertTrue(rows.get(0).<String>getAs("answer").length() > 5);
        for (Row broken : rows.subList(1, 3)) {
            assertNull(broken.getAs("answer"));
            assertTrue(broken.<String>getAs("error").length() > 10, broken.toString());
        }
    }

    @Test
    void embeddingsAreThoseOfTheLibrary() {
        List<Row> rows = StormsightSpark.embed(
                        images(), new ModelChoice(DUAL.toAbsolutePath().toString(), "cpu", 2, 1))
                .collectAsList();
        assertEquals(IMAGES, rows.size());
        try (Stormsight model = Stormsight.model(DUAL).backend("cpu").open()) {
            for (Row row : rows) {
                float[] wanted = model.embed(image(row));
                List<Float> found = row.getList(row.fieldIndex("embedding"));
                for (int i = 0; i < wanted.length; i++) {
                    assertEquals(wanted[i], found.get(i));
                }
            }
        }
    }
}

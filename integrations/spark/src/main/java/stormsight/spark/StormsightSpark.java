package stormsight.spark;

import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import stormsight.Answer;
import stormsight.Image;
import stormsight.Question;
import stormsight.Stormsight;
import stormsight.StormsightException;

/**
 * Asks models about images in DataFrames. Images are files' bytes in a column {@code content}, as Spark's source
 * {@code binaryFile} reads them.
 *
 * <p>Each executor process opens one model, which all its tasks share; each partition keeps as many questions under way
 * as the model answers at a time. The order of rows in a partition stays.
 */
public final class StormsightSpark {
    private static final String CONTENT = "content";
    private static final String PROMPT = "prompt";

    private static final StructType TOKEN = struct(
            field("id", DataTypes.IntegerType),
            field("text", DataTypes.StringType),
            field("log_probability", DataTypes.DoubleType));
    private static final StructType BOX = struct(
            field("label", DataTypes.StringType),
            field("x", DataTypes.IntegerType),
            field("y", DataTypes.IntegerType),
            field("width", DataTypes.IntegerType),
            field("height", DataTypes.IntegerType),
            field("score", DataTypes.DoubleType));
    private static final StructField ERROR = field("error", DataTypes.StringType);

    private StormsightSpark() {}

    /**
     * Answers each row's prompt about its image.
     *
     * @param rows with {@code content} and {@code prompt}, and whatever else
     * @return the rows without {@code content}, with {@code answer}, {@code complete}, {@code prompt_tokens},
     *     {@code tokens} and {@code boxes} in pixels; where an image cannot be read or a prompt does not fit these are
     *     null and {@code error} says why
     */
    public static Dataset<Row> ask(Dataset<Row> rows, ModelChoice choice) {
        int prompt = rows.schema().fieldIndex(PROMPT);
        int content = rows.schema().fieldIndex(CONTENT);
        return mapped(
                rows,
                choice,
                (model, row) -> {
                    Image image = Image.decode(row.getAs(content));
                    Answer answer = model.ask(
                            Question.of(image, row.getString(prompt)).withMaxTokens(choice.maxTokens()));
                    return new Object[] {
                        answer.text(),
                        answer.complete(),
                        answer.promptTokens(),
                        answer.tokens().stream()
                                .map(token -> RowFactory.create(token.id(), token.text(), token.logProbability()))
                                .toArray(Row[]::new),
                        answer.objects().stream()
                                .map(box -> RowFactory.create(
                                        box.label(), box.x(), box.y(), box.width(), box.height(), box.score()))
                                .toArray(Row[]::new)
                    };
                },
                field("answer", DataTypes.StringType),
                field("complete", DataTypes.BooleanType),
                field("prompt_tokens", DataTypes.IntegerType),
                field("tokens", DataTypes.createArrayType(TOKEN)),
                field("boxes", DataTypes.createArrayType(BOX)));
    }

    /**
     * Embeds each row's image, with SigLIP or CLIP.
     *
     * @param rows with {@code content}, and whatever else
     * @return the rows without {@code content}, with {@code embedding} of length 1, or null and {@code error}
     */
    public static Dataset<Row> embed(Dataset<Row> rows, ModelChoice choice) {
        int content = rows.schema().fieldIndex(CONTENT);
        return mapped(
                rows,
                choice,
                (model, row) -> {
                    float[] embedding = model.embed(Image.decode(row.getAs(content)));
                    Float[] boxed = new Float[embedding.length];
                    Arrays.setAll(boxed, i -> embedding[i]);
                    return new Object[] {boxed};
                },
                field("embedding", DataTypes.createArrayType(DataTypes.FloatType)));
    }

    /** Columns of a row. */
    private interface Work extends Serializable {
        Object[] columns(Stormsight model, Row row);
    }

    private static Dataset<Row> mapped(Dataset<Row> rows, ModelChoice choice, Work work, StructField... added) {
        int[] kept = IntStream.range(0, rows.schema().size())
                .filter(i -> !rows.schema().fields()[i].name().equals(CONTENT))
                .toArray();
        StructType schema = new StructType();
        for (int i : kept) {
            schema = schema.add(rows.schema().fields()[i]);
        }
        for (StructField field : added) {
            schema = schema.add(field);
        }
        int columns = added.length;
        MapPartitionsFunction<Row, Row> map = partition -> {
            Function<Row, Row> each = row -> {
                Object[] old = Arrays.stream(kept).mapToObj(row::get).toArray();
                Object[] all = Arrays.copyOf(old, kept.length + columns + 1);
                try {
                    Object[] made = work.columns(Models.of(choice), row);
                    System.arraycopy(made, 0, all, kept.length, columns);
                } catch (StormsightException e) {
                    if (e.kind() != StormsightException.Kind.IMAGE && e.kind() != StormsightException.Kind.TOO_LONG) {
                        throw e;
                    }
                    all[all.length - 1] = e.getMessage();
                } catch (IllegalArgumentException e) {
                    all[all.length - 1] = e.getMessage();
                }
                return RowFactory.create(all);
            };
            return new Batches<>(partition, each, choice.parallel());
        };
        return rows.mapPartitions(map, Encoders.row(schema.add(ERROR)));
    }

    private static StructType struct(StructField... fields) {
        return DataTypes.createStructType(List.of(fields));
    }

    private static StructField field(String name, DataType type) {
        return DataTypes.createStructField(name, type, true);
    }
}

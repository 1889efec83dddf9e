package stormsight.spark;

import static org.apache.spark.sql.functions.array;
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.explode;
import static org.apache.spark.sql.functions.lit;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/** Asks about many images, or embeds them, and writes JSON or Parquet. */
public final class Job {
    private static final String USAGE = """
            Usage: Job (--images FOLDER_OR_PATTERN | --parquet PATH) (--prompt TEXT... | --embed) --out FOLDER
                       [--model DIR] [--backend NAME] [--parallel N] [--max-tokens N] [--partitions N]
                       [--format parquet]
            --images reads files, --parquet a table with a column content and, without --prompt, a column prompt.""";

    private String images;
    private String parquet;
    private final List<String> prompts = new ArrayList<>();
    private boolean embed;
    private String out;
    private String format = "json";
    private int partitions;
    private ModelChoice choice = ModelChoice.embedded();

    /** @throws IllegalArgumentException naming the option that is wrong */
    private Job(String[] arguments) {
        String path = null;
        String backend = null;
        int parallel = choice.parallel();
        int maxTokens = choice.maxTokens();
        for (int i = 0; i < arguments.length; i++) {
            String name = arguments[i];
            if (name.equals("--embed")) {
                embed = true;
                continue;
            }
            if (++i == arguments.length) {
                throw new IllegalArgumentException(name + " needs a value");
            }
            String value = arguments[i];
            switch (name) {
                case "--images" -> images = value;
                case "--parquet" -> parquet = value;
                case "--prompt" -> prompts.add(value);
                case "--out" -> out = value;
                case "--format" -> format = value;
                case "--model" -> path = value;
                case "--backend" -> backend = value;
                case "--parallel" -> parallel = number(name, value);
                case "--max-tokens" -> maxTokens = number(name, value);
                case "--partitions" -> partitions = number(name, value);
                default -> throw new IllegalArgumentException("there is no option " + name);
            }
        }
        if ((images == null) == (parquet == null) || out == null || embed != prompts.isEmpty() && parquet == null
                || embed && !prompts.isEmpty() || !format.equals("json") && !format.equals("parquet")) {
            throw new IllegalArgumentException("name --images or --parquet, --prompt or --embed, and --out");
        }
        ModelChoice plain = path == null ? ModelChoice.embedded() : ModelChoice.of(path);
        choice = new ModelChoice(path, backend == null ? plain.backend() : backend, parallel, maxTokens);
    }

    private static int number(String name, String value) {
        try {
            int number = Integer.parseInt(value);
            if (number > 0) {
                return number;
            }
        } catch (NumberFormatException e) {
            // Said below.
        }
        throw new IllegalArgumentException(name + " " + value + " is not a positive number");
    }

    private void run(SparkSession spark) {
        Dataset<Row> rows = images != null
                ? spark.read().format("binaryFile").load(images).select("path", "content")
                : spark.read().parquet(parquet);
        if (partitions > 0) {
            rows = rows.repartition(partitions);
        }
        if (!prompts.isEmpty()) {
            Column each = explode(array(prompts.stream().map(text -> lit(text)).toArray(Column[]::new)));
            rows = rows.withColumn("prompt", each);
        }
        Dataset<Row> results = embed ? StormsightSpark.embed(rows, choice) : StormsightSpark.ask(rows, choice);
        results.write().format(format).save(out);
        long failed = spark.read().schema(results.schema()).format(format).load(out)
                .filter(col("error").isNotNull()).count();
        if (failed > 0) {
            System.err.println(failed + " rows have an error in place of an answer");
        }
    }

    public static void main(String[] arguments) throws IOException {
        Job job;
        try {
            job = new Job(arguments);
        } catch (IllegalArgumentException e) {
            System.err.println(e.getMessage() + "\n" + USAGE);
            System.exit(2);
            return;
        }
        try (SparkSession spark = SparkSession.builder().appName("stormsight").getOrCreate()) {
            job.run(spark);
        }
    }
}

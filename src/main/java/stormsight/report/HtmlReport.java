package stormsight.report;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.ImageOutputStream;
import stormsight.image.RgbImage;
import tools.jackson.databind.json.JsonMapper;

/** Writes a report: one HTML page that holds all it shows and loads nothing. */
public final class HtmlReport {
    private static final String TEMPLATE = "report.html";

    /** Images are shown no larger than this on their longest side. */
    private static final int LONGEST_SIDE = 768;

    /** PNGs of more bytes become JPEGs: photographs, where that takes a tenth and shows no difference. */
    private static final int LARGEST_PNG = 1 << 20;
    private static final float JPEG_QUALITY = 0.92f;

    /**
     * Numbers of a report that are kept as they are. Of more, each map has 65536 steps from its least to its largest
     * number.
     */
    private static final long MOST_EXACT = 1_000_000;

    private static final Pattern PLACE = Pattern.compile("@(TITLE|DATA)@");

    private HtmlReport() {}

    /**
     * Writes or replaces a report.
     *
     * @param style of the maps at first; the reader may change it
     * @throws FigureException if the file cannot be written; an older one is then left as it was
     */
    public static void write(Path file, ReportData data, MapStyle style) {
        Map<String, String> parts = Map.of("TITLE", escapeHtml(data.title()), "DATA", escapeJson(json(data, style)));
        Matcher places = PLACE.matcher(template());
        StringBuilder page = new StringBuilder();
        while (places.find()) {
            places.appendReplacement(page, "");
            page.append(parts.get(places.group(1)));
        }
        places.appendTail(page);
        OutputFile.write(file, page.toString());
    }

    private static String template() {
        try (InputStream resource = HtmlReport.class.getResourceAsStream(TEMPLATE)) {
            return new String(resource.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String escapeHtml(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
    }

    /** JSON that may stand in a script element: nothing in it ends the element or begins a comment. */
    private static String escapeJson(String json) {
        return json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e");
    }

    private static String json(ReportData data, MapStyle style) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("title", data.title());
        object.put("facts", data.facts());
        object.put("colorMap", style.colors().toString());
        object.put("smooth", style.smooth());
        Map<String, String> colorMaps = new LinkedHashMap<>();
        for (ColorMap colors : ColorMap.values()) {
            colorMaps.put(
                    colors.toString(),
                    IntStream.range(0, ColorMap.STEPS)
                            .mapToObj(i -> "%06x".formatted(colors.rgb((i + 0.5) / ColorMap.STEPS)))
                            .collect(Collectors.joining()));
        }
        object.put("colorMaps", colorMaps);
        object.put("opacities", IntStream.range(0, ColorMap.STEPS)
                .map(i -> (int) Math.round(255 * MapStyle.opacity(i / (ColorMap.STEPS - 1.0)))).toArray());
        // On a dark page black would be lost: null takes the colour of the text.
        object.put(
                "colors",
                Arrays.stream(ChartFile.COLORS)
                        .map(color -> color.equals(Color.BLACK) ? null : "#%06x".formatted(color.getRGB() & 0xffffff))
                        .toList());
        data.image().ifPresent(image -> object.put("image", json(image)));
        object.put("figures", data.figures().stream().map(HtmlReport::json).toList());
        object.put("mapsTitle", data.figures().isEmpty() ? "Attention" : "Maps to look into");
        boolean exact = data.attention().stream()
                        .flatMap(example -> example.directions().stream())
                        .filter(direction -> direction.kind() != AttentionData.Kind.PATCHES)
                        .mapToLong(HtmlReport::size)
                        .sum()
                <= MOST_EXACT;
        // Several prompts about one image share it.
        List<RgbImage> images = new ArrayList<>();
        object.put(
                "attention",
                data.attention().stream()
                        .map(example -> json(example, place(example.image(), images), exact))
                        .toList());
        object.put("images", images.stream().map(HtmlReport::json).toList());
        object.put("curves", data.curves().stream().map(HtmlReport::json).toList());
        object.put("tables", data.tables());
        return JsonMapper.shared().writeValueAsString(object);
    }

    private static long size(AttentionData.Direction direction) {
        return direction.mean().length + direction.values().map(values -> (long) values.length).orElse(0L)
                + direction.sum().map(sum -> (long) sum.length).orElse(0L);
    }

    private static Map<String, Object> json(ReportData.Figure figure) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("title", figure.title());
        object.put("text", figure.text());
        try {
            byte[] bytes = Files.readAllBytes(figure.png());
            BufferedImage picture = ImageIO.read(new ByteArrayInputStream(bytes));
            object.put("width", picture.getWidth());
            object.put("height", picture.getHeight());
            object.put("data", "data:image/png;base64," + Base64.getEncoder().encodeToString(bytes));
        } catch (IOException e) {
            throw new FigureException(figure.png(), "cannot be read: " + e.getMessage(), e);
        }
        return object;
    }

    /** Where the very image is in the list, at the end of which it is added if need be. */
    private static int place(RgbImage image, List<RgbImage> images) {
        for (int i = 0; i < images.size(); i++) {
            if (images.get(i).rgb() == image.rgb()) {
                return i;
            }
        }
        images.add(image);
        return images.size() - 1;
    }

    /** @param image place of its image among all images */
    private static Map<String, Object> json(AttentionData example, int image, boolean exact) {
        int patches = example.columns() * example.rows();
        List<Map<String, Object>> directions = new ArrayList<>();
        for (AttentionData.Direction direction : example.directions()) {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("kind", direction.kind().name().toLowerCase(Locale.ROOT));
            object.put("name", direction.name());
            object.put("meaning", direction.meaning());
            object.put("layers", direction.layers());
            object.put("heads", direction.heads());
            object.put("words", direction.words());
            object.put("prompted", direction.prompted());
            int size = direction.size(patches);
            // There are as many maps of patches as patches: a byte a number keeps the page small.
            Stored stored =
                    direction.kind() == AttentionData.Kind.PATCHES ? Stored.U8 : exact ? Stored.F32 : Stored.U16;
            object.put("mean", numbers(direction.mean(), size, stored));
            direction.values().ifPresent(values -> object.put("values", numbers(values, size, stored)));
            direction.sum().ifPresent(sum -> object.put("sum", numbers(sum, size, stored)));
            directions.add(object);
        }
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("title", example.title());
        object.put("image", image);
        object.put("columns", example.columns());
        object.put("rows", example.rows());
        object.put("directions", directions);
        return object;
    }

    private static Map<String, Object> json(ReportData.CurveSet set) {
        List<Map<String, Object>> curves = new ArrayList<>();
        for (Curve curve : set.curves()) {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("name", curve.name());
            object.put("x", curve.x());
            object.put("y", finite(curve.y()));
            curve.low().ifPresent(low -> object.put("low", finite(low)));
            curve.high().ifPresent(high -> object.put("high", finite(high)));
            curves.add(object);
        }
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("title", set.title());
        object.put("note", set.note());
        object.put("xLabel", set.xLabel());
        object.put("yLabel", set.yLabel());
        object.put("curves", curves);
        return object;
    }

    /** JSON has no NaN. */
    private static List<Double> finite(double[] values) {
        return Arrays.stream(values).mapToObj(value -> Double.isFinite(value) ? (Double) value : null).toList();
    }

    /** How numbers stand in a page: as floats, or in steps from the least to the largest number of each map. */
    private enum Stored {
        F32(0),
        U16(65_535),
        U8(255);

        private final int steps;

        Stored(int steps) {
            this.steps = steps;
        }
    }

    /** Maps of numbers as little-endian bytes in base 64. */
    private static Map<String, Object> numbers(float[] values, int size, Stored stored) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("type", stored.name().toLowerCase(Locale.ROOT));
        if (stored == Stored.F32) {
            object.put("data", base64(values));
            return object;
        }
        int planes = values.length / size;
        float[] low = new float[planes];
        float[] high = new float[planes];
        int bytesEach = stored == Stored.U8 ? Byte.BYTES : Short.BYTES;
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(bytesEach, values.length))
                .order(ByteOrder.LITTLE_ENDIAN);
        for (int plane = 0; plane < planes; plane++) {
            low[plane] = Float.POSITIVE_INFINITY;
            high[plane] = Float.NEGATIVE_INFINITY;
            for (int i = plane * size; i < (plane + 1) * size; i++) {
                low[plane] = Math.min(low[plane], values[i]);
                high[plane] = Math.max(high[plane], values[i]);
            }
            double span = (double) high[plane] - low[plane];
            for (int i = plane * size; i < (plane + 1) * size; i++) {
                long step = span > 0 ? Math.round((values[i] - (double) low[plane]) / span * stored.steps) : 0;
                if (stored == Stored.U8) {
                    bytes.put((byte) step);
                } else {
                    bytes.putShort((short) step);
                }
            }
        }
        object.put("data", Base64.getEncoder().encodeToString(bytes.array()));
        object.put("low", base64(low));
        object.put("high", base64(high));
        return object;
    }

    private static String base64(float[] values) {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(Float.BYTES, values.length))
                .order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return Base64.getEncoder().encodeToString(bytes.array());
    }

    private static Map<String, Object> json(RgbImage image) {
        double scale = Math.min(1, (double) LONGEST_SIDE / Math.max(image.width(), image.height()));
        int width = Math.max(1, (int) Math.round(scale * image.width()));
        int height = Math.max(1, (int) Math.round(scale * image.height()));
        BufferedImage picture = Picture.of(image, width, height);
        byte[] bytes = Drawing.png(picture);
        String type = "image/png";
        if (bytes.length > LARGEST_PNG) {
            bytes = jpeg(picture);
            type = "image/jpeg";
        }
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("width", width);
        object.put("height", height);
        object.put("data", "data:" + type + ";base64," + Base64.getEncoder().encodeToString(bytes));
        return object;
    }

    private static byte[] jpeg(BufferedImage picture) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
        try (ImageOutputStream out = ImageIO.createImageOutputStream(bytes)) {
            ImageWriteParam quality = writer.getDefaultWriteParam();
            quality.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
            quality.setCompressionQuality(JPEG_QUALITY);
            writer.setOutput(out);
            writer.write(null, new IIOImage(picture, null, null), quality);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } finally {
            writer.dispose();
        }
        return bytes.toByteArray();
    }
}

package stormsight.image;

import com.twelvemonkeys.imageio.plugins.webp.WebPImageReaderSpi;
import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Iterator;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * Reads PNG, JPEG, GIF, BMP and WebP files into 8-bit RGB, with the samples that Pillow's {@code convert("RGB")} gives: alpha is
 * dropped without compositing, palettes are expanded, gray is replicated, CMYK is converted by its formula; colour profiles and
 * gamma are ignored. Of several frames the first is read. Of 16-bit samples the high byte is taken; Pillow clips 16-bit gray at 255
 * instead, which turns most of such an image white. Lossy WebP comes out as from Pillow but for its chroma, which is repeated
 * where libwebp interpolates it.
 *
 * @param applyOrientation whether the image is turned as its EXIF data says
 * @param maxPixels images of more pixels are refused before they are decoded
 * @param maxBytes files of more bytes are refused
 */
public record ImageDecoder(boolean applyOrientation, long maxPixels, int maxBytes) {
    /** Where Pillow refuses an image: twice its MAX_IMAGE_PIXELS. */
    public static final long DEFAULT_MAX_PIXELS = 178_956_970;

    /** More than an uncompressed image of ordinary size; a limit for what comes from a pipe. */
    public static final int DEFAULT_MAX_BYTES = 512 << 20;

    /** Longest side. Beyond it a resize's first pass, which keeps the other side, would pass the size of an array. */
    private static final int MAX_SIDE = 1 << 19;

    /** An array of three bytes a pixel holds no more. */
    private static final long MOST_PIXELS = (Integer.MAX_VALUE - 8) / 3;

    private static final String BROKEN = "the image is broken";

    private static final String TOO_LITTLE_MEMORY = "the image takes more memory than this Java process may use";

    public ImageDecoder {
        if (maxPixels < 1 || maxPixels > MOST_PIXELS || maxBytes < 1 || maxBytes > Integer.MAX_VALUE - 16) {
            throw new IllegalArgumentException(maxPixels + " pixels, " + maxBytes + " bytes at most");
        }
    }

    /** Applies the orientation, with the default limits. */
    public ImageDecoder() {
        this(true, DEFAULT_MAX_PIXELS, DEFAULT_MAX_BYTES);
    }

    /** @throws ImageException if the file cannot be read as an image, whatever is wrong with it */
    public RgbImage decode(Path file) {
        if (Files.isDirectory(file)) {
            throw new ImageException(file.toString(), "is a directory");
        }
        try (InputStream in = Files.newInputStream(file)) {
            return decode(in, file.toString());
        } catch (NoSuchFileException e) {
            throw new ImageException(file.toString(), "no such file", e);
        } catch (AccessDeniedException e) {
            throw new ImageException(file.toString(), "not permitted to read it", e);
        } catch (IOException e) {
            throw new ImageException(file.toString(), problem(e), e);
        }
    }

    /**
     * Reads the stream to its end and leaves it open.
     *
     * @param name stands in messages for the file
     * @throws ImageException if the bytes cannot be read as an image, whatever is wrong with them
     */
    public RgbImage decode(InputStream in, String name) {
        try {
            byte[] file = in.readNBytes(maxBytes + 1);
            if (file.length > maxBytes) {
                throw new ImageException(name, "more than " + maxBytes + " bytes");
            }
            Container container = Container.of(file);
            RgbImage image = read(container, name);
            return applyOrientation ? Exif.upright(image, container.orientation()) : image;
        } catch (IOException e) {
            throw new ImageException(name, problem(e), e);
        } catch (ImageException e) {
            throw e;
        } catch (RuntimeException e) {
            // The readers of broken data meet indexes, sizes and references that are out of their range.
            throw new ImageException(name, BROKEN + " (" + e + ")", e);
        } catch (OutOfMemoryError e) {
            // Sizes are the file's claim, so that this is a property of the file, and no state of ours is left half changed.
            throw new ImageException(name, TOO_LITTLE_MEMORY, e);
        }
    }

    /** One line on what went wrong. The JDK's readers wrap what they meet, memory included, in exceptions that say little. */
    private static String problem(IOException e) {
        String message = e.getMessage();
        for (Throwable cause = e.getCause(); cause != null; cause = cause.getCause()) {
            if (cause instanceof OutOfMemoryError) {
                return TOO_LITTLE_MEMORY;
            }
            message = cause.getMessage() == null ? message : cause.getMessage();
        }
        if (message == null || message.isBlank()) {
            return e instanceof EOFException ? "it ends too early" : BROKEN + " (" + e.getClass().getSimpleName() + ")";
        }
        return message.strip().replaceAll("\\s+", " ");
    }

    private RgbImage read(Container container, String name) throws IOException {
        ImageReader reader = reader(container.format());
        try (ImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(container.data()))) {
            reader.setInput(in, true, true);
            checkSize(reader.getWidth(0), reader.getHeight(0), name);
            return switch (container.format()) {
                case GIF -> {
                    GifFrame frame = GifFrame.first(container.data());
                    checkSize(frame.canvasWidth(), frame.canvasHeight(), name);
                    yield frame.onCanvas(reader.read(0));
                }
                case JPEG_CMYK, JPEG_YCCK -> cmyk(reader.readRaster(0, null), container.format() == Container.Format.JPEG_YCCK);
                default -> rgb(reader.read(0));
            };
        } finally {
            reader.dispose();
        }
    }

    private void checkSize(int width, int height, String name) {
        if (width < 1 || height < 1) {
            throw new ImageException(name, "an image of " + width + " x " + height + " pixels");
        }
        if (width > MAX_SIDE || height > MAX_SIDE) {
            throw new ImageException(name, width + " x " + height + " pixels: a side is longer than " + MAX_SIDE);
        }
        if ((long) width * height > maxPixels) {
            throw new ImageException(name, width + " x " + height + " pixels are more than the limit of " + maxPixels);
        }
    }

    private static ImageReader reader(Container.Format format) {
        String name = switch (format) {
            case WEBP -> null;
            case JPEG_CMYK, JPEG_YCCK -> "JPEG";
            default -> format.name();
        };
        if (name == null) {
            return new WebPImageReaderSpi().createReaderInstance(null);
        }
        // Others on the class path may offer the same formats: those of the JDK are the ones that are tested.
        for (Iterator<ImageReader> readers = ImageIO.getImageReadersByFormatName(name); readers.hasNext();) {
            ImageReader reader = readers.next();
            if ("java.desktop".equals(reader.getClass().getModule().getName())) {
                return reader;
            }
        }
        throw new IllegalStateException("this JDK has no reader for " + name);
    }

    /** Takes the samples as they are stored: getRGB() would convert gray from a linear scale. */
    private static RgbImage rgb(BufferedImage image) {
        Raster raster = image.getRaster();
        RgbImage out = RgbImage.black(image.getWidth(), image.getHeight());
        byte[] rgb = out.rgb();
        int bands = raster.getNumBands();
        int[] row = new int[bands * image.getWidth()];
        int[] palette = image.getColorModel() instanceof IndexColorModel model ? palette(model) : null;
        int[] bits = raster.getSampleModel().getSampleSize();
        int target = 0;
        for (int y = 0; y < image.getHeight(); y++) {
            raster.getPixels(raster.getMinX(), raster.getMinY() + y, image.getWidth(), 1, row);
            for (int x = 0; x < image.getWidth(); x++) {
                if (palette != null) {
                    int colour = row[x] < palette.length ? palette[row[x]] : 0;
                    rgb[target++] = (byte) (colour >> 16);
                    rgb[target++] = (byte) (colour >> 8);
                    rgb[target++] = (byte) colour;
                } else {
                    for (int channel = 0; channel < 3; channel++) {
                        int band = bands < 3 ? 0 : channel;
                        rgb[target++] = (byte) toByte(row[bands * x + band], bits[band]);
                    }
                }
            }
        }
        return out;
    }

    static int[] palette(IndexColorModel model) {
        int[] palette = new int[model.getMapSize()];
        model.getRGBs(palette);
        return palette;
    }

    private static int toByte(int sample, int bits) {
        return bits >= 8 ? sample >> (bits - 8) : sample * 255 / ((1 << bits) - 1);
    }

    /**
     * Adobe's convention of four inverted inks, which Pillow takes for every such JPEG.
     *
     * @param ycck whether the first three inks are stored as luma and chroma
     */
    private static RgbImage cmyk(Raster raster, boolean ycck) {
        RgbImage out = RgbImage.black(raster.getWidth(), raster.getHeight());
        int[] row = new int[4 * raster.getWidth()];
        int target = 0;
        for (int y = 0; y < raster.getHeight(); y++) {
            raster.getPixels(raster.getMinX(), raster.getMinY() + y, raster.getWidth(), 1, row);
            for (int at = 0; at < row.length; at += 4) {
                int cyan = 255 - row[at];
                int magenta = 255 - row[at + 1];
                int yellow = 255 - row[at + 2];
                if (ycck) {
                    double luma = row[at];
                    double blue = row[at + 1] - 128;
                    double red = row[at + 2] - 128;
                    cyan = clamp(luma + 1.402 * red);
                    magenta = clamp(luma - 0.344136 * blue - 0.714136 * red);
                    yellow = clamp(luma + 1.772 * blue);
                }
                int light = row[at + 3];
                out.rgb()[target++] = (byte) (light - byProduct(cyan, light));
                out.rgb()[target++] = (byte) (light - byProduct(magenta, light));
                out.rgb()[target++] = (byte) (light - byProduct(yellow, light));
            }
        }
        return out;
    }

    private static int clamp(double value) {
        return Math.clamp(Math.round(value), 0, 255);
    }

    /** a * b / 255 rounded, as Pillow's MULDIV255. */
    private static int byProduct(int a, int b) {
        int product = a * b + 128;
        return ((product >> 8) + product) >> 8;
    }
}

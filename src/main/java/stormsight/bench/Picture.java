package stormsight.bench;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import javax.imageio.ImageIO;
import stormsight.image.ImageDecoder;
import stormsight.image.RgbImage;

/**
 * The image file that is measured with, in memory.
 *
 * @param file bytes of the file
 * @param drawn its pixels, where it was drawn here
 */
record Picture(String name, byte[] file, Optional<RgbImage> drawn) {
    /** Of a photo as screens show it. */
    private static final int WIDTH = 1024;
    private static final int HEIGHT = 768;

    static Picture of(Optional<String> path) {
        return path.map(Picture::read).orElseGet(Picture::draw);
    }

    /** @throws stormsight.image.ImageException if the file cannot be read as an image */
    private static Picture read(String path) {
        Path file = Path.of(path);
        // Decoding says everything that can be wrong with the file.
        RgbImage image = new ImageDecoder().decode(file);
        try {
            return new Picture(file.getFileName() + " " + size(image), Files.readAllBytes(file), Optional.empty());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Slopes of colour, rings and grain, so that neither a compressor nor a decoder has it easy. */
    private static Picture draw() {
        byte[] rgb = new byte[3 * WIDTH * HEIGHT];
        BufferedImage image = new BufferedImage(WIDTH, HEIGHT, BufferedImage.TYPE_INT_RGB);
        int noise = 1;
        for (int y = 0; y < HEIGHT; y++) {
            for (int x = 0; x < WIDTH; x++) {
                // Knuth's constants of a linear congruential generator.
                noise = noise * 1664525 + 1013904223;
                double ring = Math.sin(Math.hypot(x - 380.0, y - 300.0) / 24);
                int grain = noise >>> 28;
                int red = 32 + x * 176 / WIDTH + grain;
                int green = 32 + y * 176 / HEIGHT + grain;
                int blue = (int) (120 + 80 * ring) + grain;
                image.setRGB(x, y, red << 16 | green << 8 | blue);
                int at = 3 * (y * WIDTH + x);
                rgb[at] = (byte) red;
                rgb[at + 1] = (byte) green;
                rgb[at + 2] = (byte) blue;
            }
        }
        try (ByteArrayOutputStream out = new ByteArrayOutputStream()) {
            ImageIO.write(image, "png", out);
            RgbImage pixels = new RgbImage(WIDTH, HEIGHT, rgb);
            return new Picture("drawn png " + size(pixels), out.toByteArray(), Optional.of(pixels));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String size(RgbImage image) {
        return image.width() + "x" + image.height();
    }
}

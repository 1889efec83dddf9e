package stormsight.image;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.IOException;
import java.util.Arrays;

/**
 * Where the first frame of a GIF file lies on its canvas.
 *
 * @param background palette index of what the frame does not cover: the transparent one, else 0, as in Pillow
 */
record GifFrame(int canvasWidth, int canvasHeight, int left, int top, int background) {
    /** @throws IOException if the file ends before its first frame or has none */
    static GifFrame first(byte[] file) throws IOException {
        Container.Bytes in = new Container.Bytes(file);
        int at = 13 + colours(in.at(10));
        int transparent = 0;
        while (true) {
            switch (in.at(at)) {
                case 0x2c -> {
                    int left = in.littleShort(at + 1);
                    int top = in.littleShort(at + 3);
                    int width = in.littleShort(at + 5);
                    int height = in.littleShort(at + 7);
                    int right = Math.max(in.littleShort(6), left + width);
                    int bottom = Math.max(in.littleShort(8), top + height);
                    return new GifFrame(right, bottom, left, top, transparent);
                }
                case 0x21 -> {
                    if (in.at(at + 1) == 0xf9 && in.at(at + 2) >= 4 && (in.at(at + 3) & 1) == 1) {
                        transparent = in.at(at + 6);
                    }
                    at += 2;
                    while (in.at(at) != 0) {
                        at += 1 + in.at(at);
                    }
                    at++;
                }
                default -> throw new IOException("it has no frame");
            }
        }
    }

    private static int colours(int flags) {
        return (flags & 0x80) == 0 ? 0 : 3 << ((flags & 7) + 1);
    }

    RgbImage onCanvas(BufferedImage frame) throws IOException {
        if (!(frame.getColorModel() instanceof IndexColorModel model)) {
            throw new IOException("its frame has no palette");
        }
        int[] palette = ImageDecoder.palette(model);
        int[] canvas = new int[Math.multiplyExact(canvasWidth, canvasHeight)];
        Arrays.fill(canvas, background < palette.length ? palette[background] : 0);
        Raster raster = frame.getRaster();
        int[] row = new int[frame.getWidth()];
        for (int y = 0; y < frame.getHeight(); y++) {
            raster.getPixels(0, y, row.length, 1, row);
            for (int x = 0; x < row.length; x++) {
                canvas[(top + y) * canvasWidth + left + x] = row[x] < palette.length ? palette[row[x]] : 0;
            }
        }
        RgbImage out = RgbImage.black(canvasWidth, canvasHeight);
        for (int i = 0; i < canvas.length; i++) {
            out.rgb()[3 * i] = (byte) (canvas[i] >> 16);
            out.rgb()[3 * i + 1] = (byte) (canvas[i] >> 8);
            out.rgb()[3 * i + 2] = (byte) canvas[i];
        }
        return out;
    }
}

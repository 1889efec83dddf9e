package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Answer;
import stormsight.Goldens;
import stormsight.Image;
import stormsight.ScriptedCheckpoint;
import stormsight.Stormsight;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.checkpoint.CheckpointException;
import stormsight.cli.MainTest.Run;
import stormsight.generate.MaskDecoder;
import stormsight.image.Box;
import stormsight.image.Mask;
import stormsight.model.ModelDirectory;
import stormsight.model.family.EmbeddedModel;
import stormsight.report.CocoMasks;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Masks from the answer to the file, of a model that always answers the same. */
class MasksTest {
    private static final Path DECODER = Goldens.folder(Goldens.MASKS).resolve(ModelDirectory.MASK_DECODER);
    private static final Path KITCHEN = Path.of("examples/kitchen.png").toAbsolutePath();

    @TempDir
    private Path folder;

    @TempDir
    private Path out;

    private static Mask expected;

    @BeforeEach
    void write() throws IOException {
        ScriptedCheckpoint.write(folder);
        BufferedImage kitchen = ImageIO.read(KITCHEN.toFile());
        try (Backend scalar = Backends.open("scalar", BackendOptions.DEFAULT);
                MaskDecoder decoder = MaskDecoder.open(DECODER, scalar)) {
            Box box = new Box(
                    Math.rint(kitchen.getWidth() * 0.25),
                    Math.rint(kitchen.getHeight() * 0.125),
                    Math.rint(kitchen.getWidth() * 0.875) - Math.rint(kitchen.getWidth() * 0.25),
                    Math.rint(kitchen.getHeight() * 0.75) - Math.rint(kitchen.getHeight() * 0.125));
            expected = decoder.decode(ScriptedCheckpoint.CODES)
                    .pasted(box, kitchen.getWidth(), kitchen.getHeight());
        }
        assertTrue(expected.area() > 100, "a mask of " + expected.area() + " pixels");
    }

    private Run generate(String... options) {
        return MainTest.run(Stream.concat(
                        Stream.of("generate", "--backend", "cpu", "-m", folder.toString(), "-i", KITCHEN.toString(),
                                "-p", "segment cat"),
                        Arrays.stream(options))
                .toArray(String[]::new));
    }

    private static void same(Mask expected, Mask found) {
        assertEquals(expected.width(), found.width());
        assertEquals(expected.height(), found.height());
        int different = 0;
        for (int i = 0; i < expected.inside().length; i++) {
            different += expected.inside()[i] == found.inside()[i] ? 0 : 1;
        }
        // Values that are zero but for rounding may fall to either side.
        assertTrue(different <= 2, different + " pixels differ");
    }

    @Test
    void cocoHoldsTheMask() {
        Run run = generate("--boxes", "coco", "--mask-decoder", DECODER.toString());
        assertEquals(0, run.exitCode(), run.err());
        JsonNode annotation = JsonMapper.shared().readTree(run.out()).get("annotations").get(0);
        Mask found = CocoMasks.decode(annotation.get("segmentation"));
        same(expected, found);
        assertEquals(found.area(), annotation.get("area").asDouble());
    }

    @Test
    void masksAndDrawingsAreWritten() throws IOException {
        Files.copy(DECODER, folder.resolve("vae-oid.npz"));
        Path figure = out.resolve("drawn.png");
        Run run = generate("--masks", out.resolve("masks").toString(), "--draw", figure.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().startsWith(ScriptedCheckpoint.BOX + "<seg003><seg014>"), run.out());
        BufferedImage mask = ImageIO.read(out.resolve("masks/01-cat.png").toFile());
        boolean[] inside = new boolean[mask.getWidth() * mask.getHeight()];
        BufferedImage drawn = ImageIO.read(figure.toFile());
        BufferedImage before = ImageIO.read(KITCHEN.toFile());
        int changed = 0;
        for (int i = 0; i < inside.length; i++) {
            int x = i % mask.getWidth();
            int y = i / mask.getWidth();
            int value = mask.getRaster().getSample(x, y, 0);
            assertTrue(value == 0 || value == 255, "a grey pixel in the mask: " + value);
            inside[i] = value == 255;
            changed += inside[i] && drawn.getRGB(x, y) != before.getRGB(x, y) ? 1 : 0;
        }
        same(expected, new Mask(mask.getWidth(), mask.getHeight(), inside));
        assertTrue(changed > 0.9 * expected.area(), changed + " pixels are tinted");
    }

    @Test
    void batchWritesObjects() throws IOException {
        Path file = out.resolve("out.jsonl");
        Run run = MainTest.run("batch", "--backend", "cpu", "-m", folder.toString(), "-i", KITCHEN.toString(),
                "-p", "segment cat", "-p", "segment dog", "-o", file.toString(), "--mask-decoder", DECODER.toString());
        assertEquals(0, run.exitCode(), run.err());
        List<String> lines = Files.readAllLines(file);
        assertEquals(2, lines.size());
        for (String line : lines) {
            JsonNode object = JsonMapper.shared().readTree(line).get("objects").get(0);
            assertEquals("cat", object.get("label").asString());
            same(expected, CocoMasks.decode(object.get("segmentation")));
        }
        // Another decoder would give other masks, so that the file cannot be gone on with.
        MainTest.fails(2, "of another model or of other options", "batch", "--backend", "cpu", "-m", folder.toString(),
                "-i", KITCHEN.toString(), "-p", "segment cat", "-p", "segment dog", "-o", file.toString(), "--resume");
    }

    @Test
    void theLibraryHasMasks() {
        try (Stormsight model = Stormsight.model(folder).backend("cpu").maskDecoder(DECODER).open()) {
            Image image = Image.read(KITCHEN);
            Answer.Marked object = model.ask(image, "segment cat").objects().getFirst();
            assertEquals("cat", object.label());
            assertEquals(expected.width() / 4, object.x());
            Answer.Mask mask = object.mask().orElseThrow();
            boolean[] inside = new boolean[image.width() * image.height()];
            for (int i = 0; i < inside.length; i++) {
                inside[i] = mask.at(i % image.width(), i / image.width());
            }
            same(expected, new Mask(image.width(), image.height(), inside));
            assertFalse(mask.at(-1, 0));
        }
    }

    @Test
    void saysWhatIsMissingOrBroken() throws IOException {
        Run run = generate("--boxes", "text");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains("The answer has masks, which vae-oid.npz of big_vision decodes"), run.err());
        assertTrue(run.out().strip().endsWith("cat"), run.out());
        MainTest.fails(2, "--masks: there is no decoder; put vae-oid.npz", "generate", "-m", folder.toString(), "-i",
                KITCHEN.toString(), "-p", "segment cat", "--masks", out.toString());
        Path broken = out.resolve("broken.npz");
        for (byte[] bytes : List.of(new byte[0], "no archive".getBytes(), Files.readAllBytes(KITCHEN),
                Arrays.copyOf(Files.readAllBytes(DECODER), 5000))) {
            Files.write(broken, bytes);
            MainTest.fails(3, "broken.npz: not an .npz file of NumPy that can be read", "generate", "-m",
                    folder.toString(), "-i", KITCHEN.toString(), "-p", "segment cat", "--mask-decoder",
                    broken.toString());
        }
        MainTest.fails(3, "absent.npz: no such file", "generate", "-m", folder.toString(), "-i", KITCHEN.toString(),
                "-p", "segment cat", "--mask-decoder", out.resolve("absent.npz").toString());
    }

    /** A file of answers is gone on with by later versions: what tells the decoder stays the number that it was. */
    @Test
    void theDecoderIsToldByTheSameNumber() {
        try (ModelDirectory directory = EmbeddedModel.open(Optional.empty())) {
            directory.decodeMasksWith(DECODER);
            assertEquals(3175035599L, new ObjectsMixin().chosen(directory).get("mask_decoder"));
            Path absent = out.resolve("absent.npz");
            directory.decodeMasksWith(absent);
            assertTrue(assertThrows(CheckpointException.class, () -> new ObjectsMixin().chosen(directory))
                    .getMessage()
                    .contains(absent.toString()));
        }
    }
}

package stormsight;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import stormsight.EditedCheckpoint.Stored;

/**
 * A PaliGemma that answers every prompt with a box, a mask and a label, whatever the image. Its layers add nothing, so
 * that a token follows from the one before alone, by a head that was written for it.
 */
public final class ScriptedCheckpoint {
    /** In 1024ths: y from 128 to 768, x from 256 to 896. */
    public static final String BOX = "<loc0128><loc0256><loc0768><loc0896>";

    public static final List<Integer> CODES = List.of(3, 14, 9, 0, 7, 12, 1, 10, 15, 6, 4, 13, 2, 11, 8, 5);
    public static final String LABEL = "cat";

    private static final int NEWLINE = 108;
    private static final int END = 1;
    private static final int CAT = 414;
    private static final int FIRST_LOCATION = 603;
    private static final int FIRST_CODE = 619;
    /** Codes that the tokenizer has; others take the places of locations. */
    private static final int CODES_THERE = 8;

    private ScriptedCheckpoint() {}

    /** Writes it into an empty folder. */
    public static void write(Path folder) throws IOException {
        EditedCheckpoint made = EditedCheckpoint.of("paligemma-mqa", folder);
        String[] locations = {"0128", "0256", "0768", "0896"};
        made.text("tokenizer.json", text -> {
            String renamed = text;
            for (int i = 0; i < locations.length; i++) {
                renamed = renamed.replace("<loc000" + i + ">", "<loc" + locations[i] + ">");
            }
            for (int code = CODES_THERE; code < CODES.size(); code++) {
                renamed = renamed.replace("<loc%04d>".formatted(code), "<seg%03d>".formatted(code));
            }
            return renamed;
        });
        List<Integer> script = new ArrayList<>(List.of(NEWLINE));
        for (int i = 0; i < locations.length; i++) {
            script.add(FIRST_LOCATION + i);
        }
        CODES.forEach(code -> script.add(code < CODES_THERE ? FIRST_CODE + code : FIRST_LOCATION + code));
        script.addAll(List.of(CAT, END));
        made.tensors.replaceAll((name, tensor) -> name.startsWith("language_model.")
                        && (name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight")
                                || name.endsWith("model.norm.weight"))
                ? new Stored(tensor.type(), tensor.shape(), new byte[tensor.bytes().length])
                : tensor);
        Stored table = made.tensors.get(EditedCheckpoint.TABLE);
        int width = table.shape().columns();
        float[] embeddings = table.floats();
        float[] head = new float[embeddings.length];
        for (int i = 0; i + 1 < script.size(); i++) {
            float[] before = Arrays.copyOfRange(embeddings, script.get(i) * width, (script.get(i) + 1) * width);
            double length = 0;
            for (float value : before) {
                length += (double) value * value;
            }
            for (int c = 0; c < width; c++) {
                head[script.get(i + 1) * width + c] = (float) (2 * before[c] / Math.sqrt(length));
            }
        }
        made.tensors.put(
                EditedCheckpoint.HEAD,
                Stored.floats(head, Math.toIntExact(table.shape().rows()), width));
        made.write();
    }
}

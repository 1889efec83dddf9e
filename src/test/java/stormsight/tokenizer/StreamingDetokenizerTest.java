package stormsight.tokenizer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;

class StreamingDetokenizerTest {
    private static final Tokenizer TOKENIZER =
            Tokenizer.open(TokenizerTest.GOLDENS.resolve("tokenizer/tokenizer.json"));

    static String stream(Tokenizer tokenizer, int... ids) {
        StreamingDetokenizer detokenizer = new StreamingDetokenizer(tokenizer);
        StringBuilder text = new StringBuilder();
        for (int id : ids) {
            String piece = detokenizer.push(id);
            assertFalse(!piece.isEmpty() && Character.isHighSurrogate(piece.charAt(piece.length() - 1)), piece);
            text.append(piece);
        }
        return text.append(detokenizer.flush()).toString();
    }

    /** Ids of bytes: those of this vocabulary follow each other from 0x00 on but for the tab. */
    private static int idOf(int value) {
        return TOKENIZER.id("<0x%02X>".formatted(value)).orElseGet(() -> TOKENIZER.require("\t"));
    }

    @Test
    void joinsToTheDecodingOfAll() {
        Random random = new Random(1);
        byte[] valid = "é日本😀aß한".getBytes(StandardCharsets.UTF_8);
        for (int i = 0; i < 3000; i++) {
            int[] ids = new int[random.nextInt(24)];
            int at = 0;
            for (int j = 0; j < ids.length; j++) {
                ids[j] = switch (random.nextInt(i % 4 == 0 ? 8 : 40)) {
                    case 0 -> random.nextInt(TOKENIZER.size());
                    case 1 -> random.nextInt(5);
                    case 2 -> idOf(random.nextInt(256));
                    case 3 -> 382 + random.nextInt(240);
                    default -> idOf(valid[at++ % valid.length] & 0xff);
                };
            }
            assertEquals(TOKENIZER.decode(ids, true), stream(TOKENIZER, ids), () -> Arrays.toString(ids));
        }
    }

    @Test
    void watchesValidityAsTheLibraryDecodes() {
        Random random = new Random(2);
        for (int i = 0; i < 4000; i++) {
            int[] ids = new int[1 + random.nextInt(4)];
            for (int j = 0; j < ids.length; j++) {
                ids[j] = idOf(j == 0 ? 0xc0 + random.nextInt(0x40) : 0x70 + random.nextInt(0x60));
            }
            assertEquals(TOKENIZER.decode(ids, true), stream(TOKENIZER, ids), () -> Arrays.toString(ids));
        }
    }

    @Test
    void holdsBackOnlyWhatCanChange() {
        StreamingDetokenizer detokenizer = new StreamingDetokenizer(TOKENIZER);
        int the = TOKENIZER.require("▁the");
        assertEquals(" the", detokenizer.push(the));
        assertEquals("", detokenizer.push(idOf(0xe6)));
        assertEquals("", detokenizer.push(idOf(0x97)));
        assertEquals("", detokenizer.push(1));
        assertEquals("", detokenizer.push(idOf(0xa5)));
        assertEquals("日 the", detokenizer.push(the));
        assertEquals("", detokenizer.push(idOf(0xc3)));
        assertEquals("\ufffd\ufffd", detokenizer.push(idOf(0x28)));
        assertEquals("\ufffd", detokenizer.push(idOf(0x41)));
        assertEquals(" the", detokenizer.push(the));
        assertEquals("", detokenizer.push(idOf(0x41)));
        assertEquals("A", detokenizer.flush());
        assertEquals("", detokenizer.flush());
        assertEquals("<loc0001>", detokenizer.push(TOKENIZER.require("<loc0001>")));
    }

    @Test
    void takesTimeInProportion() {
        int[] ids = new int[60_000];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = idOf(new int[] {0xe6, 0x97, 0xa5}[i % 3]);
        }
        // Minutes if each byte decoded its whole run again.
        Assertions.assertTimeout(Duration.ofSeconds(5), () -> assertEquals(20_000, stream(TOKENIZER, ids).length()));
        assertTrue(TOKENIZER.isByte(ids[0]));
    }
}

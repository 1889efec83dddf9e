package stormsight.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import stormsight.program.Shape;

class SafetensorsHeaderTest {
    @TempDir
    Path directory;

    /** A file of that header, which may be invalid, and that much data. */
    static byte[] file(String header, int dataBytes) {
        byte[] text = header.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + text.length + dataBytes)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(text.length)
                .put(text)
                .array();
    }

    /** One U8 tensor named t of 4 bytes, with a piece of its header replaced. */
    private static String replaced(String piece, String by) {
        String header = "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
        assertTrue(header.contains(piece), piece);
        return header.replace(piece, by);
    }

    private Checkpoint open(byte[] bytes) {
        try {
            return Checkpoint.openFile(Files.write(directory.resolve("model.safetensors"), bytes));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private void assertRefused(byte[] bytes, String problem) {
        CheckpointException e = assertThrows(CheckpointException.class, () -> open(bytes).close());
        assertTrue(e.getMessage().startsWith(directory.resolve("model.safetensors") + ": "), e.getMessage());
        assertTrue(e.getMessage().contains(problem), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }

    @Test
    void acceptsWhatTheFormatAllows() {
        open(file("{}", 0)).close();
        open(file("{}    ", 0)).close();
        open(file("{\"__metadata__\":{\"a\":\"b\"}}", 0)).close();
        String header = "{\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                + "\"empty\":{\"dtype\":\"BF16\",\"shape\":[3,0],\"data_offsets\":[4,4]},"
                + "\"a\":{\"data_offsets\":[4,7],\"later\":{\"x\":[1]},\"shape\":[2,3],\"dtype\":\"F4\"}}";
        try (Checkpoint checkpoint = open(file(header, 7))) {
            assertEquals(List.of("b", "empty", "a"), new ArrayList<>(checkpoint.names()));
            assertEquals(Shape.of(), checkpoint.info("b").shape());
            assertEquals(0, checkpoint.tensor("empty").layers().getFirst().byteSize());
            assertEquals(StoredType.F4, checkpoint.info("a").type());
            assertEquals(3, checkpoint.data("a").byteSize());
            assertEquals(8 + header.length() + 7, checkpoint.fileBytes());
        }
    }

    @ParameterizedTest
    @EnumSource(StoredType.class)
    void knowsEveryType(StoredType type) {
        String header = "{\"t\":{\"dtype\":\"" + type + "\",\"shape\":[8],\"data_offsets\":[0," + type.bits() + "]}}";
        try (Checkpoint checkpoint = open(file(header, type.bits()))) {
            assertEquals(type, checkpoint.info("t").type());
            if (type.weightType().isPresent()) {
                // Eight elements; F64 is rounded to F32.
                assertEquals(Math.min(type.bits(), 32), checkpoint.tensor("t").layers().getFirst().byteSize());
            } else {
                CheckpointException e = assertThrows(CheckpointException.class, () -> checkpoint.tensor("t"));
                assertTrue(
                        e.getMessage()
                                .endsWith(
                                        "model.safetensors: tensor t is " + type + ": F32, F16, BF16 or F64 expected"),
                        e.getMessage());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7})
    void refusesAFileWithoutALength(int bytes) {
        assertRefused(new byte[bytes], bytes + " bytes are too few");
    }

    @ParameterizedTest
    @ValueSource(longs = {100_000_001, Long.MAX_VALUE, Long.MIN_VALUE, -1})
    void refusesAHeaderAboveTheLimit(long length) {
        byte[] bytes = file("{}", 0);
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(length);
        assertRefused(bytes, "a header of " + Long.toUnsignedString(length) + " bytes, at most 100000000 expected");
    }

    @Test
    void refusesAHeaderBeyondTheFile() {
        byte[] bytes = file("{}", 0);
        bytes[0] = 3;
        assertRefused(bytes, "a header of 3 bytes in a file of 10 bytes");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " {}", "[]", "\"a\"", "\ufeff{}"})
    void refusesAHeaderThatDoesNotBeginAsAnObject(String header) {
        assertRefused(file(header, 0), "does not begin with {");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{",
                "{]",
                "{\"a\"}",
                "{\"a\":}",
                "{'a':1}",
                "{\"a\":NaN}",
                "{\"a\":{\"b\":01}}",
                "{/**/}",
                "{\"\n\":1}",
                "{,}"
            })
    void refusesWhatIsNotJson(String header) {
        assertRefused(file(header, 0), "the header is not valid JSON");
    }

    @ParameterizedTest
    @ValueSource(strings = {"{}x", "{}\0", "{}{}", "{},"})
    void refusesWhatFollowsTheObject(String header) {
        assertRefused(file(header, 0), "the header");
    }

    @Test
    void refusesWhatIsNotUtf8() {
        byte[] bytes = file(replaced("\"t\"", "\"xy\""), 4);
        bytes[10] = (byte) 0xc0;
        bytes[11] = (byte) 0x80;
        assertRefused(bytes, "the header is not UTF-8");
        byte[] trailing = file("{} ", 0);
        trailing[10] = (byte) 0xff;
        assertRefused(trailing, "the header is not UTF-8");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "\"U8\"|\"F7\"|unknown dtype F7",
        "\"U8\"|8|dtype is not a string",
        "\"U8\"|null|dtype is not a string",
        "\"dtype\":\"U8\",||no dtype",
        "\"shape\":[4],||no shape",
        ",\"data_offsets\":[0,4]||no data_offsets",
        "[4]|[-4]|shape holds -4",
        "[4]|[4.0]|shape holds 4.0",
        "[4]|[4e0]|shape holds 4e0",
        "[4]|[9223372036854775808]|shape holds 9223372036854775808",
        "[4]|[\"4\"]|shape holds 4",
        "[4]|[[4]]|shape holds [",
        "[4]|[true]|shape holds true",
        "[4]|4|shape is not an array",
        "[4]|{\"a\":4}|shape is not an array",
        "[4]|[2147483648]|a dimension of 2147483648, at most 2147483647",
        "[4]|[2147483647,2147483647,2147483647]|no valid size in bytes",
        "[4]|[2147483647,2147483647,2]|no valid size in bytes",
        "[4]|[5]|data_offsets span 4 bytes, U8 [5] takes 5",
        "\"U8\",\"shape\":[4]|\"F4\",\"shape\":[7]|28 bits are not a whole number of bytes",
        "[0,4]|[4,0]|are not a beginning and an end",
        "[0,4]|[0]|are not a beginning and an end",
        "[0,4]|[0,4,4]|more than 2 numbers",
        "[0,4]|[-4,0]|data_offsets holds -4",
        "[0,4]|[0,4.5]|data_offsets holds 4.5",
        "[0,4]|[0,18446744073709551615]|data_offsets holds 18446744073709551615",
        "[0,4]|[9223372036854775803,9223372036854775807]|overflow",
        "[0,4]|[1,5]|leaving a hole",
        "[4]|[6]|data_offsets span 4 bytes",
        "\"dtype\":\"U8\"|\"dtype\":\"U8\",\"dtype\":\"U8\"|not valid JSON",
    })
    void refusesABrokenEntry(String piece, String by, String problem) {
        assertRefused(file(replaced(piece, by == null ? "" : by), 4), problem);
    }

    @ParameterizedTest
    @ValueSource(strings = {"4", "null", "[]", "\"a\""})
    void refusesAnEntryThatIsNotAnObject(String entry) {
        assertRefused(file("{\"t\":" + entry + "}", 0), "tensor t: its entry is not an object");
    }

    @ParameterizedTest
    @ValueSource(strings = {"4", "null", "{\"a\":1}", "{\"a\":null}", "{\"a\":{}}"})
    void refusesMetadataThatIsNotStrings(String metadata) {
        assertRefused(file("{\"__metadata__\":" + metadata + "}", 0), "__metadata__");
    }

    @Test
    void refusesDuplicateKeys() {
        String entry = "\"t\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
        assertRefused(file("{" + entry + "," + entry + "}", 0), "Duplicate");
        assertRefused(file("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0), "Duplicate");
    }

    @Test
    void refusesHolesAndOverlaps() {
        String two = "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                + "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[%d,%d]}}";
        open(file(two.formatted(4, 8), 8)).close();
        assertRefused(file(two.formatted(5, 9), 9), "tensor b: its data begins at byte 5, leaving a hole");
        assertRefused(file(two.formatted(3, 7), 7), "tensor b: its data begins at byte 3, overlapping");
        assertRefused(file(two.formatted(0, 4), 4), "overlapping");
    }

    @Test
    void refusesTruncatedDataAndTrailingBytes() {
        assertRefused(file(replaced("U8", "U8"), 3), "tensor t: its data ends at byte");
        assertRefused(file(replaced("U8", "U8"), 5), "1 bytes follow the last tensor");
    }

    @Test
    void refusesMoreDepthAndMoreTokensThanAnyRealFileHas() {
        String deep = "{\"t\":{\"x\":" + "[".repeat(100_000) + "]".repeat(100_000) + "}}";
        assertRefused(file(deep, 0), "not valid JSON");
        String many = "{\"t\":{\"x\":[" + "0,".repeat(4_100_000) + "0]}}";
        assertRefused(file(many, 0), "not valid JSON");
        assertRefused(file("{\"" + "n".repeat(100_000) + "\":0}", 0), "not valid JSON");
        assertRefused(file(replaced("[4]", "[" + "1,".repeat(64) + "4]"), 4), "more than 64 numbers");
    }

    @Test
    void aNameFromAFileCannotBreakTheMessage() {
        assertRefused(file("{\"a\\nb\\u2028\":4}", 0), "tensor a?b?: its entry");
        assertRefused(file("{\"" + "n".repeat(1000) + "\":4}", 0), "nnn...: its entry");
    }
}

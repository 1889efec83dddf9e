package stormsight.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class TextTableTest {
    private static TextTable table() {
        TextTable table = new TextTable("row", ">ms", "said");
        table.row("encode", 1.5, "a|b");
        table.row("é漢", 12.25, "");
        return table;
    }

    @Test
    void columnsArePadded() {
        assertEquals("""
                row        ms  said
                encode    1.5  a|b
                é漢      12.25
                """, table().plain());
    }

    @Test
    void markdownIsPaddedToo() {
        assertEquals("""
                | row    |    ms | said |
                |--------|------:|------|
                | encode |   1.5 | a\\|b |
                | é漢     | 12.25 |      |
                """, table().markdown());
    }

    @Test
    void aRowHasAllCells() {
        assertThrows(IllegalArgumentException.class, () -> table().row("one"));
    }
}

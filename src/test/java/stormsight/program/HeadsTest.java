package stormsight.program;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class HeadsTest {
    @Test
    void oneHeadIsNotSeveral() {
        assertEquals("8 query heads and 1 key-value head of 256", new Op.Heads(8, 1, 256).text());
        assertEquals("1 query head and 1 key-value head of 64", new Op.Heads(1, 1, 64).text());
        assertEquals("16 query heads and 4 key-value heads of 64", new Op.Heads(16, 4, 64).text());
    }
}

package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

/** What users read of TornadoVM's failures and devices. */
class RuntimeTest {
    @Test
    void takesTheReasonOutOfTheMessage() {
        assertEquals(
                "Error during code compilation with the OpenCL driver",
                Runtime.reason(
                        new RuntimeException(
                                "Unable to compile task g0.embed0 - embed\nThe internal error is: Error during code "
                                        + "compilation with the OpenCL driver\nStacktrace: []")));
        assertEquals("local size too large",
                Runtime.reason(new RuntimeException("\u001B[31mError\n\u001B[0mReason: local size too large\n")));
        assertEquals(
                "there is no OpenCL platform; install the driver of a device, or PoCL",
                Runtime.reason(
                        new RuntimeException(
                                "\u001B[33m[WARNING] No OpenCL platforms found. Deoptimizing to sequential "
                                        + "execution.\u001B[0m")));
    }

    @Test
    void findsTheVersionOfTheDriver() {
        assertEquals(
                "Portable Computing Language 3.1+debian",
                Runtime.driver(
                        "Portable Computing Language",
                        "Device version   : OpenCL 3.0 PoCL\nDriver version   : 3.1+debian\nOpenCL C version : OpenCL "
                                + "C 1.2 PoCL\n"));
        assertEquals("NVIDIA CUDA", Runtime.driver("NVIDIA CUDA", "Driver version   : \nEndianness       : little\n"));
        assertEquals("PTX", Runtime.driver("PTX", "NVIDIA H100"));
    }

    @Test
    void takesACauseWhereTheErrorSaysNothing() {
        assertEquals("why", Runtime.reason(new RuntimeException(null, new IllegalStateException("why"))));
        assertEquals("StackOverflowError", Runtime.reason(new StackOverflowError()));
    }
}

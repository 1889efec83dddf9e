/**
 * Stormsight as a library. What programs may rely on is exported; a program on the class path sees everything, and
 * should not look. GPUs need the class path: the backend of TornadoVM is not part of the module.
 */
module stormsight {
    requires java.desktop;
    requires java.management;
    requires jdk.incubator.vector;
    requires jdk.management;
    requires org.apache.commons.numbers.gamma;
    requires org.slf4j;
    requires tools.jackson.databind;

    exports stormsight;

    uses stormsight.backend.BackendProvider;
    uses stormsight.backend.OptionalProvider;

    provides stormsight.backend.BackendProvider with
            stormsight.backend.cpu.VectorProvider,
            stormsight.backend.cpu.ScalarProvider;
}

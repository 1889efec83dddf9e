package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.image.RgbImage;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.Prompt;
import stormsight.model.family.EmbeddedModel;
import stormsight.study.Inquiry;
import stormsight.study.LensSession;

/** The lens of a device reads what the processor's does, wherever it is put. */
class DeviceLensTest {
    /** Logits of about ten, from sums of hundreds of products in another order, behind five layers. */
    private static final float LOGITS = 5e-3f;

    private static final String PROMPT = "caption en";

    @TestFactory
    Stream<DynamicTest> everyPositionAgrees() {
        return Devices.all().stream().map(device -> DynamicTest.dynamicTest(device.id(), () -> {
            try (ModelDirectory directory = EmbeddedModel.open(Optional.empty());
                    Backend backend = Devices.open(device);
                    Backend cpu = Backends.open("cpu", BackendOptions.DEFAULT);
                    LensSession found = open(directory, backend);
                    LensSession expected = open(directory, cpu)) {
                RgbImage image = EmbeddedModel.examples().getFirst().decode();
                Inquiry inquiry = new Inquiry(image, PROMPT, PROMPT, Optional.empty(), 1);
                Prompt prompt = directory.prompt(PROMPT, List.of(directory.processor().views(image)));
                for (int position : new int[] {0, 17, prompt.textPlaces().getFirst(), LensSession.LAST}) {
                    LensSession.States states = found.ask(inquiry, position);
                    LensSession.States wanted = expected.ask(inquiry, position);
                    assertArrayEquals(wanted.normed(), states.normed(), LOGITS, "position " + position);
                    assertArrayEquals(wanted.raw(), states.raw(), LOGITS, "position " + position);
                }
            }
        }));
    }

    private static LensSession open(ModelDirectory directory, Backend backend) {
        return LensSession.open(
                directory,
                backend,
                new Limits(directory.promptTokensAtMost(PROMPT), 1),
                Options.DEFAULT,
                RunListener.NONE);
    }
}

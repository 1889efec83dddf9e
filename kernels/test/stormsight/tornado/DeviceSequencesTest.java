package stormsight.tornado;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import stormsight.backend.Backend;
import stormsight.backend.BackendOptions;
import stormsight.backend.Backends;
import stormsight.backend.RunListener;
import stormsight.generate.Answer;
import stormsight.generate.AnswerListener;
import stormsight.generate.Generator;
import stormsight.generate.Prepared;
import stormsight.generate.Question;
import stormsight.generate.Request;
import stormsight.model.Limits;
import stormsight.model.ModelDirectory;
import stormsight.model.Options;
import stormsight.model.family.EmbeddedModel;
import stormsight.program.Sampling;

/** Questions that a device answers side by side: each as the processor answers it alone. */
class DeviceSequencesTest {
    private static final int MAX_TOKENS = 12;

    @TestFactory
    Stream<DynamicTest> answersAreThoseOfEachAlone() {
        return Devices.all().stream().map(device -> DynamicTest.dynamicTest(device.id(), () -> {
            try (ModelDirectory directory = EmbeddedModel.open(Optional.empty());
                    Backend backend = Devices.open(device);
                    Backend cpu = Backends.open("cpu", BackendOptions.DEFAULT);
                    Generator many = open(directory, backend, new Limits(300, MAX_TOKENS).withSequences(3));
                    Generator alone = open(directory, cpu, new Limits(300, MAX_TOKENS))) {
                List<Asked> asked = EmbeddedModel.examples().stream()
                        .limit(7)
                        .map(example -> new Asked(Generator.prepare(
                                directory,
                                new Request(example.decode(), example.prompt(), MAX_TOKENS, Sampling.GREEDY, 0))))
                        .toList();
                many.answer(new ArrayList<>(asked).iterator());
                for (Asked each : asked) {
                    assertEquals(
                            alone.answer(each.prepared.request(), AnswerListener.NONE).text(), each.answer.text());
                }
            }
        }));
    }

    private static Generator open(ModelDirectory directory, Backend backend, Limits limits) {
        return Generator.open(directory, backend, limits, Options.DEFAULT, RunListener.NONE, List.of());
    }

    private static final class Asked implements Question {
        private final Prepared prepared;
        private Answer answer;

        Asked(Prepared prepared) {
            this.prepared = prepared;
        }

        @Override
        public Prepared prepared() {
            return prepared;
        }

        @Override
        public void answered(Answer given) {
            answer = given;
        }

        @Override
        public void refused(RuntimeException why) {
            throw why;
        }
    }
}

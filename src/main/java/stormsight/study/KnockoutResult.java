package stormsight.study;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import stormsight.image.ImageException;
import stormsight.model.ModelDirectory;
import stormsight.probe.Flow;

/**
 * What attention knockout found for one example.
 *
 * @param baseToken first token of the answer, whose probability is measured, or with which the whole answer begins
 * @param pBase its probability when nothing is taken away
 * @param pKo by name of the flow, its probability with the flow's edges taken away around each layer, [layers]
 * @param leftOut by name of the flow, why it cannot be had of this example
 */
public record KnockoutResult(
        int line,
        String image,
        String question,
        Optional<String> dropped,
        Optional<String> detail,
        Optional<String> prediction,
        Optional<String> baseToken,
        double pBase,
        Map<String, double[]> pKo,
        Map<String, String> leftOut)
        implements ExampleResult {
    /**
     * Measures flows on one example. It is kept if the model's whole answer is the right one.
     *
     * @param prompt holds the example's question
     * @throws IllegalArgumentException if the settings name a head that there is not, or the prompt does not hold the
     *     question
     */
    public static KnockoutResult of(
            KnockoutSession session,
            ModelDirectory directory,
            Example example,
            String prompt,
            int maxTokens,
            List<Flow> flows,
            KnockoutSession.Settings settings) {
        Inquiry inquiry;
        try {
            inquiry = example.inquiry(directory, prompt, maxTokens);
        } catch (ImageException e) {
            return dropped(example, Reason.UNREADABLE, Optional.of(e.getMessage()), Optional.empty());
        } catch (IllegalArgumentException e) {
            return dropped(
                    example, Reason.MARK, Optional.of(e.getMessage()), Optional.empty());
        }
        KnockoutSession.Asked asked = session.ask(inquiry);
        if (!example.isRight(asked.answer())) {
            return dropped(example, Reason.WRONG, Optional.empty(), Optional.of(asked.answer()));
        }
        Map<String, double[]> measured = new LinkedHashMap<>();
        Map<String, String> leftOut = new LinkedHashMap<>();
        for (Flow flow : flows) {
            Optional<String> lacks = asked.lacks(flow, settings);
            if (lacks.isPresent()) {
                leftOut.put(flow.name(), lacks.get());
            } else {
                measured.put(flow.name(), asked.knockOut(flow, settings));
            }
        }
        return new KnockoutResult(
                example.line(),
                example.name(),
                example.question(),
                Optional.empty(),
                Optional.empty(),
                Optional.of(asked.answer()),
                Optional.of(asked.baseToken()),
                asked.baseProbability(settings.wholeAnswer()),
                measured,
                leftOut);
    }

    private static KnockoutResult dropped(
            Example example, Reason reason, Optional<String> detail, Optional<String> prediction) {
        return new KnockoutResult(
                example.line(),
                example.name(),
                example.question(),
                Optional.of(reason.words),
                detail,
                prediction,
                Optional.empty(),
                0,
                Map.of(),
                Map.of());
    }

    /** Change of the probability in percent of what it was, [layers]; at least -100. */
    public double[] percent(String flow) {
        double[] percent = pKo.get(flow).clone();
        for (int layer = 0; layer < percent.length; layer++) {
            percent[layer] = 100 * (percent[layer] - pBase) / pBase;
        }
        return percent;
    }
}

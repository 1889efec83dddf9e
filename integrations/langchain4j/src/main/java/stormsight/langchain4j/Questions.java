package stormsight.langchain4j;

import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.output.FinishReason;
import dev.langchain4j.model.output.TokenUsage;
import java.net.URI;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import stormsight.Answer;
import stormsight.Image;
import stormsight.Question;

/** Turns requests into questions, and answers into responses. What is not known and would change one is refused. */
final class Questions {
    private Questions() {}

    /** @throws UnsupportedFeatureException naming what cannot be asked for */
    static Question of(ChatRequest request) {
        if (request.messages().size() != 1 || !(request.messages().getFirst() instanceof UserMessage message)) {
            throw new UnsupportedFeatureException("ask with one UserMessage: each question is answered by itself, "
                    + "without a history and without a SystemMessage");
        }
        refuse(request.frequencyPenalty(), "frequencyPenalty");
        refuse(request.presencePenalty(), "presencePenalty");
        refuse(request.toolChoice(), "toolChoice");
        refuse(request.responseFormat() == ResponseFormat.TEXT ? null : request.responseFormat(), "responseFormat");
        refuse(emptyToNull(request.stopSequences()), "stopSequences");
        refuse(emptyToNull(request.toolSpecifications()), "toolSpecifications");
        List<Image> images = new ArrayList<>();
        List<String> texts = new ArrayList<>();
        for (Content content : message.contents()) {
            switch (content) {
                case TextContent text -> texts.add(text.text());
                case ImageContent image -> images.add(image(image.image()));
                default -> throw new UnsupportedFeatureException("content of the type " + content.type()
                        + "; there are TEXT and IMAGE");
            }
        }
        if (images.isEmpty() || texts.isEmpty()) {
            throw new UnsupportedFeatureException("the message needs a TextContent and an ImageContent");
        }
        return new Question(
                images,
                String.join("\n", texts),
                Optional.ofNullable(request.maxOutputTokens()).orElse(Question.DEFAULT_MAX_TOKENS),
                Optional.ofNullable(request.temperature()).orElse(0.0).floatValue(),
                Optional.ofNullable(request.topK()).orElse(0),
                Optional.ofNullable(request.topP()).orElse(1.0).floatValue(),
                0,
                1);
    }

    private static List<?> emptyToNull(List<?> list) {
        return list == null || list.isEmpty() ? null : list;
    }

    private static void refuse(Object value, String name) {
        if (value != null) {
            throw new UnsupportedFeatureException(name + " is not supported; leave it out");
        }
    }

    /** In base64, or a data or file URL; nothing is fetched. */
    static Image image(dev.langchain4j.data.image.Image image) {
        if (image.base64Data() != null) {
            return Image.decode(Base64.getMimeDecoder().decode(image.base64Data()));
        }
        URI url = image.url();
        if ("file".equalsIgnoreCase(url.getScheme())) {
            return Image.read(Path.of(url));
        }
        String text = url.toString();
        int data = text.indexOf(";base64,");
        if ("data".equalsIgnoreCase(url.getScheme()) && data > 0) {
            return Image.decode(Base64.getMimeDecoder().decode(text.substring(data + ";base64,".length())));
        }
        throw new UnsupportedFeatureException("images are not fetched: give base64 data, a data or a file URL in place "
                + "of " + text.substring(0, Math.min(text.length(), 100)));
    }

    static ChatResponse response(Answer answer) {
        return ChatResponse.builder()
                .aiMessage(AiMessage.from(answer.text()))
                .tokenUsage(new TokenUsage(answer.promptTokens(), answer.tokens().size()))
                .finishReason(answer.complete() ? FinishReason.STOP : FinishReason.LENGTH)
                .build();
    }
}

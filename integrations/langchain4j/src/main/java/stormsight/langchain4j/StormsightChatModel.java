package stormsight.langchain4j;

import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import stormsight.Stormsight;

/**
 * Answers questions about images. Safe for use by several threads.
 *
 * <p>A request is one user message with text and at least one image, as base64 or as a URL of a file. Without a
 * temperature the most probable tokens are taken.
 */
public final class StormsightChatModel implements ChatModel {
    private final Stormsight model;

    /** @param model which answers; the caller closes it */
    public StormsightChatModel(Stormsight model) {
        this.model = model;
    }

    /**
     * Answers a request.
     *
     * @throws dev.langchain4j.exception.UnsupportedFeatureException naming what cannot be asked for
     * @throws stormsight.StormsightException if an image cannot be read, or the question is too long
     */
    @Override
    public ChatResponse doChat(ChatRequest request) {
        return Questions.response(model.ask(Questions.of(request)));
    }
}

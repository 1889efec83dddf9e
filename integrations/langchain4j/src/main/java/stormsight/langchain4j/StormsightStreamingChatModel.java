package stormsight.langchain4j;

import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.chat.response.StreamingHandle;
import java.util.concurrent.CancellationException;
import stormsight.Answer;
import stormsight.Stormsight;

/** Answers questions about images and tells the text while it forms, on a thread of its own. */
public final class StormsightStreamingChatModel implements StreamingChatModel {
    private final Stormsight model;

    /** @param model which answers; the caller closes it */
    public StormsightStreamingChatModel(Stormsight model) {
        this.model = model;
    }

    /** Ends an answer at its next piece. */
    private static final class Handle implements StreamingHandle {
        private volatile boolean cancelled;

        @Override
        public void cancel() {
            cancelled = true;
        }

        @Override
        public boolean isCancelled() {
            return cancelled;
        }
    }

    /** Returns at once; the handler hears the rest, also of what cannot be asked for. A cancelled answer just ends. */
    @Override
    public void doChat(ChatRequest request, StreamingChatResponseHandler handler) {
        Handle handle = new Handle();
        Thread.ofVirtual().name("stormsight").start(() -> {
            Answer answer;
            try {
                answer = model.ask(Questions.of(request), piece -> {
                    handler.onPartialResponse(new PartialResponse(piece), new PartialResponseContext(handle));
                    if (handle.cancelled) {
                        throw new CancellationException("cancelled");
                    }
                });
            } catch (RuntimeException e) {
                if (!handle.cancelled) {
                    handler.onError(e);
                }
                return;
            }
            handler.onCompleteResponse(Questions.response(answer));
        });
    }
}

package stormsight.langchain4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.exception.UnsupportedFeatureException;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.output.FinishReason;
import dev.langchain4j.store.embedding.CosineSimilarity;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import stormsight.Stormsight;

/** How a program asks, with the embedded model; what it gets is what the library answers. */
class ExampleTest {
    private static final Path KITCHEN = Path.of("..", "..", "examples", "kitchen.png");
    private static final Path DUAL = Path.of("..", "..", "models", "shapes-dual");
    private static final String CAPTION = "a red triangle, a purple star and a blue triangle";
    private static final UserMessage MESSAGE =
            UserMessage.from(TextContent.from("caption en"), ImageContent.from(KITCHEN.toUri()));

    private static Stormsight model;

    @BeforeAll
    static void open() {
        model = Stormsight.embedded().backend("cpu").open();
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @Test
    void anImageIsDescribed() {
        ChatModel chat = new StormsightChatModel(model);
        ChatResponse response = chat.chat(MESSAGE);
        assertEquals(CAPTION, response.aiMessage().text());
        assertEquals(FinishReason.STOP, response.finishReason());
        assertEquals(260, response.tokenUsage().inputTokenCount());
        assertEquals(CAPTION, chat.chat(UserMessage.from(
                TextContent.from("caption en"), ImageContent.from(KITCHEN, "image/png"))).aiMessage().text());
        ChatResponse cut =
                chat.chat(ChatRequest.builder().messages(MESSAGE).maxOutputTokens(2).build());
        assertEquals(FinishReason.LENGTH, cut.finishReason());
        assertEquals(2, cut.tokenUsage().outputTokenCount());
    }

    @Test
    void piecesMakeTheAnswer() throws Exception {
        StreamingChatModel chat = new StormsightStreamingChatModel(model);
        CompletableFuture<ChatResponse> done = new CompletableFuture<>();
        List<String> pieces = new ArrayList<>();
        chat.chat(List.of(MESSAGE), new StreamingChatResponseHandler() {
            @Override
            public void onPartialResponse(String piece) {
                pieces.add(piece);
            }

            @Override
            public void onCompleteResponse(ChatResponse response) {
                done.complete(response);
            }

            @Override
            public void onError(Throwable e) {
                done.completeExceptionally(e);
            }
        });
        assertEquals(CAPTION, done.get(60, TimeUnit.SECONDS).aiMessage().text());
        assertEquals(CAPTION, String.join("", pieces));
        assertTrue(pieces.size() > 5, pieces.toString());
    }

    /** A cancelled answer ends at its next piece, and the model answers others. */
    @Test
    void aStreamMayBeCancelled() throws Exception {
        CountDownLatch first = new CountDownLatch(1);
        List<String> heard = new ArrayList<>();
        new StormsightStreamingChatModel(model).chat(List.of(MESSAGE), new StreamingChatResponseHandler() {
            @Override
            public void onPartialResponse(PartialResponse piece, PartialResponseContext context) {
                heard.add(piece.text());
                context.streamingHandle().cancel();
                first.countDown();
            }

            @Override
            public void onCompleteResponse(ChatResponse response) {
                heard.add("complete");
            }

            @Override
            public void onError(Throwable e) {
                heard.add("error");
            }
        });
        assertTrue(first.await(60, TimeUnit.SECONDS));
        assertEquals(CAPTION, new StormsightChatModel(model).chat(MESSAGE).aiMessage().text());
        assertEquals(1, heard.size(), heard.toString());
    }

    @Test
    void whatCannotBeAskedIsRefused() {
        ChatModel chat = new StormsightChatModel(model);
        assertThrows(UnsupportedFeatureException.class, () -> chat.chat("no image"));
        assertThrows(UnsupportedFeatureException.class, () -> chat.chat(SystemMessage.from("be brief"), MESSAGE));
        assertThrows(UnsupportedFeatureException.class, () -> chat.chat(
                ChatRequest.builder().messages(MESSAGE).stopSequences(List.of(".")).build()));
        assertThrows(UnsupportedFeatureException.class, () -> chat.chat(UserMessage.from(
                TextContent.from("caption en"), ImageContent.from("https://example.com/cat.png"))));
    }

    /** The text that names what is in the image is nearer to it than others. */
    @Test
    void imagesAndTextsAreEmbedded() {
        try (Stormsight dual = Stormsight.model(DUAL).backend("cpu").open()) {
            StormsightEmbeddingModel embedding = new StormsightEmbeddingModel(dual);
            var image = embedding.embed(ImageContent.from(KITCHEN, "image/png").image()).content();
            var right = embedding.embed("a red triangle, a purple star and a blue triangle").content();
            var wrong = embedding.embed("a green circle").content();
            assertEquals(dual.embed("a green circle").length, embedding.dimension());
            assertTrue(CosineSimilarity.between(image, right) > CosineSimilarity.between(image, wrong));
        }
    }
}

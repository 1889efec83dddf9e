package stormsight.langchain4j;

import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.image.Image;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.output.Response;
import java.util.List;
import stormsight.Stormsight;

/** Embeds texts, and images into the same space, with SigLIP or CLIP; embeddings have length 1. */
public final class StormsightEmbeddingModel implements EmbeddingModel {
    private final Stormsight model;

    /** @param model which embeds; the caller closes it */
    public StormsightEmbeddingModel(Stormsight model) {
        this.model = model;
    }

    @Override
    public Response<List<Embedding>> embedAll(List<TextSegment> segments) {
        return Response.from(
                segments.stream().map(segment -> Embedding.from(model.embed(segment.text()))).toList());
    }

    /** The embedding of an image, given as base64 or as a URL of a file. */
    public Response<Embedding> embed(Image image) {
        return Response.from(Embedding.from(model.embed(Questions.image(image))));
    }
}

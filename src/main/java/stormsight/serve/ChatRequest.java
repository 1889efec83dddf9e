package stormsight.serve;

import java.util.ArrayList;
import java.util.List;
import stormsight.generate.Request;
import stormsight.image.RgbImage;
import stormsight.program.Sampling;
import tools.jackson.databind.JsonNode;

/**
 * A body of {@code /v1/chat/completions}. What would change the answer and is not supported is refused.
 *
 * @param usage whether a stream ends with the number of tokens
 * @see <a href="https://platform.openai.com/docs/api-reference/chat/create">OpenAI's reference</a>
 */
record ChatRequest(Request request, boolean stream, boolean usage) {
    private static final List<String> UNSUPPORTED = List.of(
            "tools", "functions", "tool_choice", "logit_bias", "logprobs", "top_logprobs", "audio", "modalities",
            "bad_words", "allowed_token_ids", "stop_token_ids", "ignore_eos", "structured_outputs", "guided_json",
            "guided_regex", "guided_choice", "guided_grammar");

    /** @throws ApiException naming what cannot be asked for */
    static ChatRequest of(JsonNode body, int maxTokens, ImageSource source) {
        refuseUnsupported(body);
        JsonNode messages = body.path("messages");
        if (!messages.isArray() || messages.size() != 1
                || !messages.get(0).path("role").asString("").equals("user")) {
            throw ApiException.invalid("'messages' must hold exactly one message, with the role user; each question is "
                    + "answered on its own, without a history or a system prompt");
        }
        List<RgbImage> images = new ArrayList<>();
        StringBuilder text = new StringBuilder();
        JsonNode content = messages.get(0).path("content");
        if (content.isString()) {
            text.append(content.asString());
        }
        long count = content.valueStream()
                .filter(part -> part.path("type").asString("").equals("image_url"))
                .count();
        if (count > 1) {
            throw ApiException.invalid("the message has " + count + " images; this server takes one image a request: "
                    + "ask about each in a request of its own");
        }
        for (JsonNode part : content.isArray() ? content : List.<JsonNode>of()) {
            switch (part.path("type").asString("")) {
                case "text" -> text.append(text.isEmpty() ? "" : "\n").append(part.path("text").asString(""));
                case "image_url" -> images.add(source.read(url(part)));
                default -> throw ApiException.invalid("content has a part of the type '"
                        + part.path("type").asString("") + "'; there are text and image_url");
            }
        }
        if (images.isEmpty()) {
            throw ApiException.invalid("the message has no image: add a part {\"type\": \"image_url\", \"image_url\": "
                    + "{\"url\": \"data:image/png;base64,...\"}} to its content");
        }
        if (text.isEmpty()) {
            throw ApiException.invalid("the message has no text: add a part {\"type\": \"text\", \"text\": \"...\"}");
        }
        String most = body.hasNonNull("max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
        int tokens = (int) number(body, most, maxTokens, 1, Integer.MAX_VALUE, true);
        if (tokens > maxTokens) {
            throw ApiException.invalid("max_tokens " + tokens + " is more than this server allows: " + maxTokens);
        }
        Sampling sampling = new Sampling((float) number(body, "temperature", 0, 0, 1000, false),
                (int) number(body, "top_k", 0, 0, Integer.MAX_VALUE, true),
                (float) number(body, "top_p", 1, 1e-6, 1, false));
        number(body, "seed", 0, Long.MIN_VALUE, Long.MAX_VALUE, true);
        // As a double it would lose digits.
        long seed = body.path("seed").asLong(0);
        List<String> stops = stops(body.path("stop"));
        float penalty = (float) number(body, "repetition_penalty", 1, -Float.MAX_VALUE, Float.MAX_VALUE, false);
        try {
            Request.checkPenalty(penalty);
        } catch (IllegalArgumentException e) {
            throw ApiException.invalid("'repetition_penalty' is " + penalty + ", not a positive number");
        }
        return new ChatRequest(new Request(images, text.toString(), tokens, sampling, seed, stops, penalty),
                flag(body, "stream"), flag(body.path("stream_options"), "include_usage"));
    }

    static String url(JsonNode part) {
        JsonNode image = part.path("image_url");
        JsonNode url = image.isString() ? image : image.path("url");
        if (!url.isString()) {
            throw ApiException.invalid("a part of the type image_url has no image_url.url");
        }
        return url.asString();
    }

    /** A text, or several. */
    private static List<String> stops(JsonNode stop) {
        List<JsonNode> texts = stop.isArray() ? stop.valueStream().toList()
                : stop.isMissingNode() || stop.isNull() ? List.of() : List.of(stop);
        if (!texts.stream().allMatch(text -> text.isString() && !text.asString().isEmpty())) {
            throw ApiException.invalid("'stop' is neither a text nor a list of texts");
        }
        return texts.stream().map(JsonNode::asString).toList();
    }

    private static void refuseUnsupported(JsonNode body) {
        for (String name : UNSUPPORTED) {
            JsonNode value = body.path(name);
            if (!value.isMissingNode() && !value.isNull() && !(value.isBoolean() && !value.asBoolean())
                    && !(value.isContainer() && value.isEmpty())) {
                throw ApiException.invalid("'" + name + "' is not supported; leave it out");
            }
        }
        if (number(body, "n", 1, 1, Integer.MAX_VALUE, true) != 1) {
            throw ApiException.invalid("'n' must be 1; ask again with another seed for another answer");
        }
        for (String name : List.of("frequency_penalty", "presence_penalty", "min_p", "min_tokens")) {
            if (number(body, name, 0, -100, 100, false) != 0) {
                throw ApiException.invalid("'" + name + "' is not supported; leave it out");
            }
        }
        if (!body.path("response_format").path("type").asString("text").equals("text")) {
            throw ApiException.invalid("'response_format' must be text");
        }
    }

    private static boolean flag(JsonNode body, String name) {
        JsonNode value = body.path(name);
        if (!value.isMissingNode() && !value.isNull() && !value.isBoolean()) {
            throw ApiException.invalid("'" + name + "' is " + value + ", neither true nor false");
        }
        return value.asBoolean(false);
    }

    private static String text(double bound, boolean whole) {
        return whole ? String.valueOf((long) bound) : String.valueOf(bound);
    }

    private static double number(JsonNode body, String name, double without, double least, double most, boolean whole) {
        JsonNode value = body.path(name);
        if (value.isMissingNode() || value.isNull()) {
            return without;
        }
        if (!value.isNumber() || value.asDouble() < least || value.asDouble() > most
                || whole && value.asDouble() != Math.rint(value.asDouble())) {
            throw ApiException.invalid("'" + name + "' is " + value + ", not " + (whole ? "a whole number" : "a number")
                    + (most < Integer.MAX_VALUE
                            ? " from " + text(least, whole) + " to " + text(most, whole)
                            : " of at least " + text(least, whole)));
        }
        return value.asDouble();
    }
}

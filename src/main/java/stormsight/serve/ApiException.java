package stormsight.serve;

/** A request that is refused, as the interface of OpenAI tells it. */
final class ApiException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final int status;
    private final String code;

    /** @param code for programs: what is wrong, in one word */
    ApiException(int status, String code, String message) {
        super(message);
        this.status = status;
        this.code = code;
    }

    static ApiException invalid(String message) {
        return new ApiException(400, "invalid_request", message);
    }

    static ApiException image(String message) {
        return new ApiException(400, "invalid_image", message);
    }

    static ApiException remote(String message) {
        return new ApiException(400, "remote_image", message);
    }

    static ApiException shuttingDown() {
        return new ApiException(503, "shutting_down", "the server is shutting down");
    }

    /** Of HTTP. */
    int status() {
        return status;
    }

    String code() {
        return code;
    }

    String type() {
        return switch (status) {
            case 401, 403 -> "authentication_error";
            case 429 -> "rate_limit_error";
            case 500, 503, 504 -> "server_error";
            default -> "invalid_request_error";
        };
    }
}

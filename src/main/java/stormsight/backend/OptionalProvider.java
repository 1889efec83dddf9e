package stormsight.backend;

/**
 * A provider that is compiled only where an SDK is found. It stands in a list of services of its own: the two source
 * roots end up in one directory, which holds one list a service.
 */
public interface OptionalProvider extends BackendProvider {}

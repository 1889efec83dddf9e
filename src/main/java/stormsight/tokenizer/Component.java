package stormsight.tokenizer;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import stormsight.checkpoint.CheckpointException;
import stormsight.checkpoint.StrictJson;

/**
 * One object of a tokenizer.json that has a type: a normalizer, say. Whoever reads it asks for the arguments that it
 * knows and calls {@link #end}, which refuses all others. Messages name the place in the file and the type.
 */
final class Component {
    private final Path file;
    private final String place;
    private final Map<?, ?> arguments;
    private final Set<String> known = new HashSet<>(Set.of("type"));

    /** @throws CheckpointException if the value is no object */
    Component(Path file, String place, Object value) {
        this.file = file;
        this.place = place;
        if (!(value instanceof Map<?, ?> object)) {
            throw new CheckpointException(file, place + ": not an object");
        }
        arguments = object;
    }

    /** The type, empty if the file gives none. */
    String type() {
        return text("type", "");
    }

    String text(String name, String absent) {
        Object value = value(name);
        if (value != null && !(value instanceof String)) {
            throw refused(name + " is no text");
        }
        return value == null ? absent : (String) value;
    }

    /** A text that must be there, and not be longer. */
    String text(String name, int shortest, int longest) {
        String text = text(name, null);
        if (text == null || text.length() < shortest || text.length() > longest) {
            throw refused(text == null ? "no " + name : name + " is " + (text.isEmpty() ? "empty" : "too long"));
        }
        return text;
    }

    boolean flag(String name, boolean absent) {
        Object value = value(name);
        if (value != null && !(value instanceof Boolean)) {
            throw refused(name + " is neither true nor false");
        }
        return value == null ? absent : (Boolean) value;
    }

    /** A whole number from {@code least} to {@code most}. */
    int number(String name, int least, int most) {
        if (!(value(name) instanceof Integer number) || number < least || number > most) {
            throw refused(name + " is " + StrictJson.printable(String.valueOf(arguments.get(name))) + ", " + least
                    + " to " + most + " expected");
        }
        return number;
    }

    List<?> list(String name) {
        if (!(value(name) instanceof List<?> list)) {
            throw refused("no list " + name);
        }
        return list;
    }

    Map<?, ?> map(String name) {
        if (!(value(name) instanceof Map<?, ?> map)) {
            throw refused("no object " + name);
        }
        return map;
    }

    /** The components of a list. */
    List<Component> components(String name) {
        List<Component> components = new ArrayList<>();
        list(name).forEach(value -> components.add(new Component(file, place, value)));
        return components;
    }

    /** A value, or null. */
    Object value(String name) {
        known.add(name);
        return arguments.get(name);
    }

    /** Takes arguments that make no difference to the ids of one text. */
    void ignore(String... names) {
        known.addAll(List.of(names));
    }

    /** @throws CheckpointException if there are arguments that nobody asked for */
    void end() {
        arguments.forEach((name, value) -> {
            if (!known.contains(name) && value != null) {
                throw refused("the argument " + StrictJson.printable(String.valueOf(name)) + " is not supported");
            }
        });
    }

    CheckpointException refused(String problem) {
        Object type = arguments.get("type");
        return new CheckpointException(file,
                place + (type instanceof String text ? " " + Vocabulary.quoted(text) : "") + ": " + problem);
    }
}

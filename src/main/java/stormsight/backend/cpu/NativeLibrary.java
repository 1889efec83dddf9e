package stormsight.backend.cpu;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.Set;
import java.util.jar.JarEntry;
import java.util.zip.CRC32;

/**
 * Shared libraries that lie in a jar, laid into a folder that belongs to the user alone, from where the system can load
 * them. Whatever lies there already is compared with the jar, byte for byte by its checksum, before it is loaded.
 */
final class NativeLibrary {
    private static final Set<PosixFilePermission> OWNER_ALONE = PosixFilePermissions.fromString("rwx------");
    private static final String OURS = "stormsight";
    private static final int BUFFER = 1 << 20;
    private static final String PART = ".part";
    private static final Duration BEING_WRITTEN = Duration.ofHours(1);

    private NativeLibrary() {}

    /** One line saying why a library cannot be used here. */
    static final class UnusableException extends Exception {
        private static final long serialVersionUID = 1;

        UnusableException(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /**
     * Loads a library for as long as this process runs.
     *
     * @param cache folder of the user's caches; a folder of ours is made in it, with mode 0700
     * @param version part of the name of the folder, so that two versions do not meet
     * @param resource of the library within its jar
     * @throws UnusableException if others could write to the folder, it cannot be written, or the system does not load
     *     libraries from it
     */
    static SymbolLookup load(Path cache, String version, URL resource) throws UnusableException {
        Path file;
        try {
            Path folder = ownFolder(ownFolder(checked(cache), OURS), version);
            file = folder.resolve(name(resource));
            JarEntry entry = entry(resource);
            if (!matches(file, entry)) {
                extract(resource, file);
                if (!matches(file, entry)) {
                    throw new IOException(file + " is not what was written");
                }
            }
        } catch (IOException e) {
            throw new UnusableException(
                    "it cannot be laid into " + cache + " (" + reason(e)
                            + "); set XDG_CACHE_HOME to a folder that you alone can write",
                    e);
        }
        try {
            return SymbolLookup.libraryLookup(file, Arena.global());
        } catch (IllegalArgumentException e) {
            throw new UnusableException(
                    "the system does not load " + file + " (a system without glibc, libstdc++ or libgcc_s, or a folder"
                            + " where nothing may be executed: then set XDG_CACHE_HOME to another one)",
                    e);
        }
    }

    /** A file system's exceptions often hold the name of the file alone. */
    private static String reason(IOException e) {
        return switch (e) {
            case NoSuchFileException missing -> missing.getFile() + " does not exist";
            case AccessDeniedException denied -> "no permission for " + denied.getFile();
            case FileAlreadyExistsException file -> file.getFile() + " is no folder";
            default -> e.getMessage();
        };
    }

    private static String name(URL resource) {
        return resource.getPath().substring(resource.getPath().lastIndexOf('/') + 1);
    }

    private static JarEntry entry(URL resource) throws IOException {
        if (!(resource.openConnection() instanceof JarURLConnection connection)) {
            throw new IOException(resource + " is in no jar");
        }
        connection.setUseCaches(false);
        try (var jar = connection.getJarFile()) {
            return connection.getJarEntry();
        }
    }

    /** A folder that exists or is made, where the user alone may write. */
    private static Path ownFolder(Path parent, String name) throws IOException {
        Path folder = parent.resolve(name);
        if (!Files.exists(folder, LinkOption.NOFOLLOW_LINKS)) {
            try {
                Files.createDirectory(folder, PosixFilePermissions.asFileAttribute(OWNER_ALONE));
            } catch (FileAlreadyExistsException e) {
                // Another process was faster; whose it is is looked at below.
            }
        }
        return requireOwn(folder);
    }

    /** The folder of caches itself is made like any program does. */
    private static Path checked(Path cache) throws IOException {
        if (!cache.isAbsolute()) {
            throw new IOException("no absolute path");
        }
        Files.createDirectories(cache, PosixFilePermissions.asFileAttribute(OWNER_ALONE));
        // The owner of a folder, and whoever may write to it, can put another one in place of what lies there.
        return requireOwn(cache.toRealPath());
    }

    private static Path requireOwn(Path path) throws IOException {
        PosixFileAttributes attributes =
                Files.readAttributes(path, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
        if (attributes.isSymbolicLink()) {
            throw new IOException(path + " is a link");
        }
        if (!Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS).equals(user())) {
            throw new IOException(path + " belongs to " + attributes.owner().getName());
        }
        Set<PosixFilePermission> permissions = attributes.permissions();
        if (permissions.contains(PosixFilePermission.GROUP_WRITE)
                || permissions.contains(PosixFilePermission.OTHERS_WRITE)) {
            throw new IOException("others may write to " + path);
        }
        return path;
    }

    /** Number of the user whom this process runs as. */
    private static Object user() throws IOException {
        return Files.getAttribute(Path.of("/proc/self"), "unix:uid");
    }

    /** Whether the file is there, the user's own, and holds what the jar does. */
    private static boolean matches(Path file, JarEntry entry) throws IOException {
        if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) || Files.size(file) != entry.getSize()) {
            return false;
        }
        requireOwn(file);
        CRC32 sum = new CRC32();
        ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER);
        try (FileChannel channel = FileChannel.open(file)) {
            while (channel.read(buffer.clear()) >= 0) {
                sum.update(buffer.flip());
            }
        }
        return sum.getValue() == entry.getCrc();
    }

    /** What processes left that ended while they wrote. */
    private static void removeParts(Path folder) throws IOException {
        try (DirectoryStream<Path> parts = Files.newDirectoryStream(folder, "*" + PART)) {
            for (Path part : parts) {
                if (Files.getLastModifiedTime(part).toInstant().isBefore(Instant.now().minus(BEING_WRITTEN))) {
                    Files.deleteIfExists(part);
                }
            }
        } catch (NoSuchFileException e) {
            // Another process was faster.
        }
    }

    /** In one step, so that nobody loads half a library. */
    private static void extract(URL resource, Path file) throws IOException {
        removeParts(file.getParent());
        Path part = Files.createTempFile(file.getParent(), "", PART);
        try {
            // Into the file that is there, which is for its owner alone; a new one would be as open as other files.
            try (InputStream from = resource.openStream(); OutputStream to = Files.newOutputStream(part)) {
                from.transferTo(to);
            }
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(part);
        }
    }
}

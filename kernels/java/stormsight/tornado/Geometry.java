package stormsight.tornado;

import stormsight.backend.BackendException;
import stormsight.backend.DeviceInfo;

/**
 * Shape of a launch: work items and the groups that they form. TornadoVM reports a launch that the driver refuses with
 * one line on standard error and leaves stale results, so what could be refused is refused here.
 *
 * @param globalX work items in the first dimension
 * @param globalY work items in the second dimension
 * @param localX of them in one group, in the first dimension
 * @param localY of them in one group, in the second dimension
 * @param localBytes local memory that a group of the kernel takes
 */
public record Geometry(int globalX, int globalY, int localX, int localY, int localBytes) {
    public Geometry {
        if (globalX < 1 || globalY < 1 || localX < 1 || localY < 1 || localBytes < 0) {
            throw new IllegalArgumentException("launch of " + globalX + " x " + globalY + " items in groups of "
                    + localX + " x " + localY + " with " + localBytes + " bytes");
        }
        if (globalX % localX != 0 || globalY % localY != 0) {
            throw new IllegalArgumentException("groups of " + localX + " x " + localY + " do not divide " + globalX
                    + " x " + globalY + " items");
        }
    }

    /** That many groups of that many items. */
    public static Geometry groups(int groups, int size) {
        return groups(groups, size, 0);
    }

    /** That many groups of that many items, each with local memory. */
    public static Geometry groups(int groups, int size, int localBytes) {
        return new Geometry(Math.multiplyExact(groups, size), 1, size, 1, localBytes);
    }

    /** groupsX x groupsY groups of sizeX x sizeY items. */
    public static Geometry groups2d(int groupsX, int groupsY, int sizeX, int sizeY, int localBytes) {
        return new Geometry(Math.multiplyExact(groupsX, sizeX), Math.multiplyExact(groupsY, sizeY), sizeX, sizeY,
                localBytes);
    }

    /** At least that many items in groups of that size; kernels skip surplus ones. */
    public static Geometry items(int items, int size) {
        return groups(Math.ceilDiv(items, size), size);
    }

    public int groupSize() {
        return Math.multiplyExact(localX, localY);
    }

    /** @throws BackendException if the device cannot launch it */
    void check(String task, DeviceInfo device) {
        if (device.maxWorkGroupSize() > 0 && groupSize() > device.maxWorkGroupSize()) {
            throw new BackendException(task + " needs groups of " + groupSize() + ", " + device.name() + " has at most "
                    + device.maxWorkGroupSize() + ": take another device, or --backend cpu");
        }
        if (device.localMemoryBytes() > 0 && localBytes > device.localMemoryBytes()) {
            throw new BackendException(task + " needs " + localBytes + " bytes of local memory, " + device.name()
                    + " has " + device.localMemoryBytes());
        }
    }

    @Override
    public String toString() {
        String shape = globalY == 1 && localY == 1
                ? globalX / localX + (globalX == localX ? " group of " : " groups of ") + localX
                : globalX / localX + " x " + globalY / localY + " groups of " + localX + " x " + localY;
        return localBytes == 0 ? shape : shape + ", " + localBytes + " B local";
    }
}

package stormsight.tornado;

import java.util.List;
import java.util.OptionalInt;
import stormsight.backend.DeviceInfo;
import stormsight.program.Tensor;
import stormsight.tornado.kernel.Result;
import uk.ac.manchester.tornado.api.KernelContext;
import uk.ac.manchester.tornado.api.types.arrays.ByteArray;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.IntArray;
import uk.ac.manchester.tornado.api.types.arrays.LongArray;

/**
 * What a kernel family needs to put an operation into a graph: arrays for tensors, and a place to add tasks.
 *
 * <p>The array of a stack holds its layers one after the other. A kernel finds the running layer at
 * {@code step.get(StepBuffer.LAYER) * stride}, with {@link #stride} 0 for a tensor that is no stack; the product fits
 * an int.
 */
public interface Tasks {
    /** The context that every kernel takes first. */
    KernelContext context();

    /** {@link StepBuffer} reads it. */
    IntArray step();

    /** Temperature, top-p and coin of each sequence, as {@link StepBuffer} reads them. */
    FloatArray sampling();

    /** An F32 tensor. */
    FloatArray floats(Tensor tensor);

    /** An I32 tensor. */
    IntArray ints(Tensor tensor);

    /**
     * The elements of a weight of less than 32 bits, without scales: four, eight or sixteen in a word, the first one in
     * the lowest bits, those of Q4 in the order that {@link stormsight.program.DType#Q4} says.
     */
    LongArray words(Tensor tensor);

    /** A U8 tensor. */
    ByteArray bytes(Tensor tensor);

    /** The scales of a tensor of a blocked type, [rows, ceil(columns / block)] a layer. */
    FloatArray scales(Tensor tensor);

    /** An array for a parameter that an operation leaves out; not to be read or written. */
    FloatArray none();

    /** As {@link #none}. */
    IntArray noInts();

    /** As {@link #none}. */
    LongArray noLongs();

    /** As {@link #none}. */
    ByteArray noBytes();

    /** An array of these numbers, which {@link Lowering#constants} must have named. */
    IntArray constants(List<Integer> numbers);

    /** Elements from one layer to the next in the tensor's array, 0 if it is no stack. */
    int stride(Tensor tensor);

    /** Elements from one slot of a cache to the next, 0 where it has one. */
    int slotStride(Tensor tensor);

    /** Scales from one layer to the next in {@link #scales}, 0 if it is no stack. */
    int scaleStride(Tensor tensor);

    /**
     * 512 factors for bfloat16: bits b are {@code table[(b >> 7) & 0x1FF] * (128 + (b & 0x7F))} where b is a normal
     * number or zero.
     */
    FloatArray bf16Table();

    /**
     * 64 factors for binary16: bits b are {@code table[(b >> 10) & 0x3F] * (1024 + (b & 0x3FF))} where b is a normal
     * number or zero.
     */
    FloatArray f16Table();

    /** Room that the kernels of one operation use among each other; the next operation's overwrite it. */
    FloatArray scratch();

    /**
     * Room for a tensor split into parts; index 0, or 1 for the results of products, which read the other one then.
     */
    LongArray parts(int index);

    /** Room for a weight, or for keys (0) and values (1), in a form that one operation needs; index 0 or 1. */
    LongArray planes(int index);

    /**
     * Which of {@link #parts} holds all rows of that tensor: {@link #setParts} was last called with it, and no
     * operation has written it since.
     */
    OptionalInt partsOf(Tensor x);

    /** Says that the task added last puts all rows of that tensor into {@link #parts}. */
    void setParts(Tensor x, int index);

    /**
     * Whether {@link #planes} hold these keys and values as tensor cores read them: the operation right before called
     * {@link #setSplit} with them.
     */
    boolean areSplit(Tensor keys, Tensor values);

    /** Says that the task added last puts keys and values into {@link #planes}, for the operation right behind. */
    void setSplit(Tensor keys, Tensor values);

    /**
     * How the operation may leave its result. One that does not split it stores floats, whatever this is; one that
     * does calls {@link #setParts}.
     */
    Result result();

    DeviceInfo device();

    /** Whether tensor cores may take activations that are rounded to bfloat16. */
    boolean roundsActivations();

    /**
     * Lanes that a group may have on such a device: what its driver says, but where a driver may allow less for a
     * kernel than for others, what all allow; a power of two.
     */
    int mostLanes();

    /** The code that TornadoVM generates: {@code opencl}, {@code ptx}, {@code cuda}. */
    String language();

    /**
     * Adds a task and its launch geometry under one name.
     *
     * @param kernel name of the kernel, for reports
     * @throws stormsight.backend.BackendException if the device cannot launch that geometry
     */
    void task(String kernel, Geometry geometry, TaskFactory factory);
}

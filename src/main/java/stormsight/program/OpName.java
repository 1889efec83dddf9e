package stormsight.program;

/**
 * How reports and benchmarks call an operation: {@code matMul_272x2048x16384_bf16}.
 *
 * @param op {@code matMul}
 * @param shape rows first, then what the operation reads or sums over, then what it makes: {@code 272x2048x16384};
 *     heads are {@code 8of1x256}, eight query heads on one key-value head of 256 columns; {@code at272} is a position,
 *     {@code to257} a fixed number of keys, {@code of257216} rows of a table, {@code top40} a sampling
 * @param dtype of the weights, else of the activations
 */
public record OpName(String op, String shape, DType dtype) {
    public static OpName of(Op op, Step step) {
        String kind = op.getClass().getSimpleName();
        DType dtype = op.operands().stream()
                .filter(operand -> operand.type() == Operand.Type.WEIGHT)
                .map(operand -> operand.tensor().dtype())
                .findFirst()
                .orElse(DType.F32);
        return new OpName(Character.toLowerCase(kind.charAt(0)) + kind.substring(1), op.shape(step), dtype);
    }

    /** {@code op_shape_dtype}. */
    @Override
    public String toString() {
        return op + "_" + shape + "_" + dtype.label();
    }
}

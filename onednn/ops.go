package onednn

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"
)

// The operations of compute.StandardOps and compute.FusedOps. Each is recorded with a replay, which is all that
// shape inference and the fallback need; what the compiler looks at is kept in the node's attributes.

type value = compute.Value

func (f *function) unary(op compute.OpType, m func(compute.Function, value) (value, error), x value) (value, error) {
	return f.record1(op, nil, func(g compute.Function, in []value) (value, error) { return m(g, in[0]) }, x)
}

func (f *function) binary(op compute.OpType, m func(compute.Function, value, value) (value, error), x, y value) (value, error) {
	return f.record1(op, nil, func(g compute.Function, in []value) (value, error) { return m(g, in[0], in[1]) }, x, y)
}

func (f *function) reduce(op compute.OpType, m func(compute.Function, value, ...int) (value, error), x value, axes []int) (value, error) {
	axes = slices.Clone(axes)
	return f.record1(op, axes, func(g compute.Function, in []value) (value, error) { return m(g, in[0], axes...) }, x)
}

func (f *function) Abs(x value) (value, error) {
	return f.unary(compute.OpTypeAbs, compute.Function.Abs, x)
}

func (f *function) BitCount(x value) (value, error) {
	return f.unary(compute.OpTypeBitCount, compute.Function.BitCount, x)
}

func (f *function) BitwiseNot(x value) (value, error) {
	return f.unary(compute.OpTypeBitwiseNot, compute.Function.BitwiseNot, x)
}

func (f *function) Ceil(x value) (value, error) {
	return f.unary(compute.OpTypeCeil, compute.Function.Ceil, x)
}

func (f *function) Clz(x value) (value, error) {
	return f.unary(compute.OpTypeClz, compute.Function.Clz, x)
}

func (f *function) Conj(x value) (value, error) {
	return f.unary(compute.OpTypeConj, compute.Function.Conj, x)
}

func (f *function) Cos(x value) (value, error) {
	return f.unary(compute.OpTypeCos, compute.Function.Cos, x)
}

func (f *function) Erf(x value) (value, error) {
	return f.unary(compute.OpTypeErf, compute.Function.Erf, x)
}

func (f *function) Exp(x value) (value, error) {
	return f.unary(compute.OpTypeExp, compute.Function.Exp, x)
}

func (f *function) Expm1(x value) (value, error) {
	return f.unary(compute.OpTypeExpm1, compute.Function.Expm1, x)
}

func (f *function) Floor(x value) (value, error) {
	return f.unary(compute.OpTypeFloor, compute.Function.Floor, x)
}

func (f *function) Identity(x value) (value, error) {
	return f.unary(compute.OpTypeIdentity, compute.Function.Identity, x)
}

func (f *function) Imag(x value) (value, error) {
	return f.unary(compute.OpTypeImag, compute.Function.Imag, x)
}

func (f *function) IsFinite(x value) (value, error) {
	return f.unary(compute.OpTypeIsFinite, compute.Function.IsFinite, x)
}

func (f *function) IsNaN(x value) (value, error) {
	return f.unary(compute.OpTypeIsNaN, compute.Function.IsNaN, x)
}

func (f *function) Log(x value) (value, error) {
	return f.unary(compute.OpTypeLog, compute.Function.Log, x)
}

func (f *function) Log1p(x value) (value, error) {
	return f.unary(compute.OpTypeLog1p, compute.Function.Log1p, x)
}

func (f *function) LogicalNot(x value) (value, error) {
	return f.unary(compute.OpTypeLogicalNot, compute.Function.LogicalNot, x)
}

func (f *function) Logistic(x value) (value, error) {
	return f.unary(compute.OpTypeLogistic, compute.Function.Logistic, x)
}

func (f *function) Neg(x value) (value, error) {
	return f.unary(compute.OpTypeNeg, compute.Function.Neg, x)
}

func (f *function) Real(x value) (value, error) {
	return f.unary(compute.OpTypeReal, compute.Function.Real, x)
}

func (f *function) Round(x value) (value, error) {
	return f.unary(compute.OpTypeRound, compute.Function.Round, x)
}

func (f *function) Rsqrt(x value) (value, error) {
	return f.unary(compute.OpTypeRsqrt, compute.Function.Rsqrt, x)
}

func (f *function) Sign(x value) (value, error) {
	return f.unary(compute.OpTypeSign, compute.Function.Sign, x)
}

func (f *function) Sin(x value) (value, error) {
	return f.unary(compute.OpTypeSin, compute.Function.Sin, x)
}

func (f *function) Sqrt(x value) (value, error) {
	return f.unary(compute.OpTypeSqrt, compute.Function.Sqrt, x)
}

func (f *function) Tanh(x value) (value, error) {
	return f.unary(compute.OpTypeTanh, compute.Function.Tanh, x)
}

func (f *function) Add(x, y value) (value, error) {
	return f.binary(compute.OpTypeAdd, compute.Function.Add, x, y)
}

func (f *function) Atan2(x, y value) (value, error) {
	return f.binary(compute.OpTypeAtan2, compute.Function.Atan2, x, y)
}

func (f *function) BitwiseAnd(x, y value) (value, error) {
	return f.binary(compute.OpTypeBitwiseAnd, compute.Function.BitwiseAnd, x, y)
}

func (f *function) BitwiseOr(x, y value) (value, error) {
	return f.binary(compute.OpTypeBitwiseOr, compute.Function.BitwiseOr, x, y)
}

func (f *function) BitwiseXor(x, y value) (value, error) {
	return f.binary(compute.OpTypeBitwiseXor, compute.Function.BitwiseXor, x, y)
}

func (f *function) Complex(x, y value) (value, error) {
	return f.binary(compute.OpTypeComplex, compute.Function.Complex, x, y)
}

func (f *function) Div(x, y value) (value, error) {
	return f.binary(compute.OpTypeDiv, compute.Function.Div, x, y)
}

func (f *function) Equal(x, y value) (value, error) {
	return f.binary(compute.OpTypeEqual, compute.Function.Equal, x, y)
}

func (f *function) EqualTotalOrder(x, y value) (value, error) {
	return f.binary(compute.OpTypeEqualTotalOrder, compute.Function.EqualTotalOrder, x, y)
}

func (f *function) GreaterOrEqual(x, y value) (value, error) {
	return f.binary(compute.OpTypeGreaterOrEqual, compute.Function.GreaterOrEqual, x, y)
}

func (f *function) GreaterOrEqualTotalOrder(x, y value) (value, error) {
	return f.binary(compute.OpTypeGreaterOrEqualTotalOrder, compute.Function.GreaterOrEqualTotalOrder, x, y)
}

func (f *function) GreaterThan(x, y value) (value, error) {
	return f.binary(compute.OpTypeGreaterThan, compute.Function.GreaterThan, x, y)
}

func (f *function) GreaterThanTotalOrder(x, y value) (value, error) {
	return f.binary(compute.OpTypeGreaterThanTotalOrder, compute.Function.GreaterThanTotalOrder, x, y)
}

func (f *function) LessOrEqual(x, y value) (value, error) {
	return f.binary(compute.OpTypeLessOrEqual, compute.Function.LessOrEqual, x, y)
}

func (f *function) LessOrEqualTotalOrder(x, y value) (value, error) {
	return f.binary(compute.OpTypeLessOrEqualTotalOrder, compute.Function.LessOrEqualTotalOrder, x, y)
}

func (f *function) LessThan(x, y value) (value, error) {
	return f.binary(compute.OpTypeLessThan, compute.Function.LessThan, x, y)
}

func (f *function) LessThanTotalOrder(x, y value) (value, error) {
	return f.binary(compute.OpTypeLessThanTotalOrder, compute.Function.LessThanTotalOrder, x, y)
}

func (f *function) LogicalAnd(x, y value) (value, error) {
	return f.binary(compute.OpTypeLogicalAnd, compute.Function.LogicalAnd, x, y)
}

func (f *function) LogicalOr(x, y value) (value, error) {
	return f.binary(compute.OpTypeLogicalOr, compute.Function.LogicalOr, x, y)
}

func (f *function) LogicalXor(x, y value) (value, error) {
	return f.binary(compute.OpTypeLogicalXor, compute.Function.LogicalXor, x, y)
}

func (f *function) Max(x, y value) (value, error) {
	return f.binary(compute.OpTypeMax, compute.Function.Max, x, y)
}

func (f *function) Min(x, y value) (value, error) {
	return f.binary(compute.OpTypeMin, compute.Function.Min, x, y)
}

func (f *function) Mul(x, y value) (value, error) {
	return f.binary(compute.OpTypeMul, compute.Function.Mul, x, y)
}

func (f *function) NotEqual(x, y value) (value, error) {
	return f.binary(compute.OpTypeNotEqual, compute.Function.NotEqual, x, y)
}

func (f *function) NotEqualTotalOrder(x, y value) (value, error) {
	return f.binary(compute.OpTypeNotEqualTotalOrder, compute.Function.NotEqualTotalOrder, x, y)
}

func (f *function) Pow(x, y value) (value, error) {
	return f.binary(compute.OpTypePow, compute.Function.Pow, x, y)
}

func (f *function) Rem(x, y value) (value, error) {
	return f.binary(compute.OpTypeRem, compute.Function.Rem, x, y)
}

func (f *function) ShiftLeft(x, y value) (value, error) {
	return f.binary(compute.OpTypeShiftLeft, compute.Function.ShiftLeft, x, y)
}

func (f *function) ShiftRightArithmetic(x, y value) (value, error) {
	return f.binary(compute.OpTypeShiftRightArithmetic, compute.Function.ShiftRightArithmetic, x, y)
}

func (f *function) ShiftRightLogical(x, y value) (value, error) {
	return f.binary(compute.OpTypeShiftRightLogical, compute.Function.ShiftRightLogical, x, y)
}

func (f *function) Sub(x, y value) (value, error) {
	return f.binary(compute.OpTypeSub, compute.Function.Sub, x, y)
}

func (f *function) ReduceBitwiseAnd(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseAnd, compute.Function.ReduceBitwiseAnd, x, axes)
}

func (f *function) ReduceBitwiseOr(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseOr, compute.Function.ReduceBitwiseOr, x, axes)
}

func (f *function) ReduceBitwiseXor(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseXor, compute.Function.ReduceBitwiseXor, x, axes)
}

func (f *function) ReduceLogicalAnd(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceLogicalAnd, compute.Function.ReduceLogicalAnd, x, axes)
}

func (f *function) ReduceLogicalOr(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceLogicalOr, compute.Function.ReduceLogicalOr, x, axes)
}

func (f *function) ReduceLogicalXor(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceLogicalXor, compute.Function.ReduceLogicalXor, x, axes)
}

func (f *function) ReduceMax(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceMax, compute.Function.ReduceMax, x, axes)
}

func (f *function) ReduceMin(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceMin, compute.Function.ReduceMin, x, axes)
}

func (f *function) ReduceProduct(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceProduct, compute.Function.ReduceProduct, x, axes)
}

func (f *function) ReduceSum(x value, axes ...int) (value, error) {
	return f.reduce(compute.OpTypeReduceSum, compute.Function.ReduceSum, x, axes)
}

func (f *function) ArgMinMax(x value, axis int, outputDType dtypes.DType, isMin bool) (value, error) {
	return f.record1(compute.OpTypeArgMinMax, nil, func(g compute.Function, in []value) (value, error) {
		return g.ArgMinMax(in[0], axis, outputDType, isMin)
	}, x)
}

func (f *function) Bitcast(x value, target dtypes.DType) (value, error) {
	return f.record1(compute.OpTypeBitcast, nil, func(g compute.Function, in []value) (value, error) {
		return g.Bitcast(in[0], target)
	}, x)
}

func (f *function) BroadcastInDim(x value, outputShape shapes.Shape, broadcastAxes []int) (value, error) {
	outputShape, broadcastAxes = outputShape.Clone(), slices.Clone(broadcastAxes)
	return f.record1(compute.OpTypeBroadcastInDim, broadcastAxes, func(g compute.Function, in []value) (value, error) {
		return g.BroadcastInDim(in[0], outputShape, broadcastAxes)
	}, x)
}

func (f *function) Clamp(lo, x, hi value) (value, error) {
	return f.record1(compute.OpTypeClamp, nil, func(g compute.Function, in []value) (value, error) {
		return g.Clamp(in[0], in[1], in[2])
	}, lo, x, hi)
}

func (f *function) ConvertDType(x value, dtype dtypes.DType) (value, error) {
	return f.record1(compute.OpTypeConvertDType, nil, func(g compute.Function, in []value) (value, error) {
		return g.ConvertDType(in[0], dtype)
	}, x)
}

func (f *function) DynamicDimensionSize(x value, axis int) (value, error) {
	return f.record1(compute.OpTypeDynamicDimensionSize, nil, func(g compute.Function, in []value) (value, error) {
		return g.DynamicDimensionSize(in[0], axis)
	}, x)
}

func (f *function) DynamicShape(x value) (value, error) {
	return f.record1(compute.OpTypeDynamicShape, nil, func(g compute.Function, in []value) (value, error) {
		return g.DynamicShape(in[0])
	}, x)
}

func (f *function) FFT(x value, kind compute.FFTType, length []int) (value, error) {
	length = slices.Clone(length)
	return f.record1(compute.OpTypeFFT, nil, func(g compute.Function, in []value) (value, error) {
		return g.FFT(in[0], kind, length)
	}, x)
}

func (f *function) Reshape(x value, dimensions ...int) (value, error) {
	dimensions = slices.Clone(dimensions)
	return f.record1(compute.OpTypeReshape, nil, func(g compute.Function, in []value) (value, error) {
		return g.Reshape(in[0], dimensions...)
	}, x)
}

func (f *function) Reverse(x value, axes ...int) (value, error) {
	axes = slices.Clone(axes)
	return f.record1(compute.OpTypeReverse, axes, func(g compute.Function, in []value) (value, error) {
		return g.Reverse(in[0], axes...)
	}, x)
}

func (f *function) Transpose(x value, permutation ...int) (value, error) {
	permutation = slices.Clone(permutation)
	return f.record1(compute.OpTypeTranspose, permutation, func(g compute.Function, in []value) (value, error) {
		return g.Transpose(in[0], permutation...)
	}, x)
}

func (f *function) Slice(x value, starts, limits, strides []int) (value, error) {
	starts, limits, strides = slices.Clone(starts), slices.Clone(limits), slices.Clone(strides)
	return f.record1(compute.OpTypeSlice, sliceArgs{starts, limits, strides}, func(g compute.Function, in []value) (value, error) {
		return g.Slice(in[0], starts, limits, strides)
	}, x)
}

func (f *function) Pad(x, fill value, axes ...compute.PadAxis) (value, error) {
	axes = slices.Clone(axes)
	return f.record1(compute.OpTypePad, axes, func(g compute.Function, in []value) (value, error) {
		return g.Pad(in[0], in[1], axes...)
	}, x, fill)
}

func (f *function) Where(condition, onTrue, onFalse value) (value, error) {
	return f.record1(compute.OpTypeWhere, nil, func(g compute.Function, in []value) (value, error) {
		return g.Where(in[0], in[1], in[2])
	}, condition, onTrue, onFalse)
}

func (f *function) ReduceWindow(x value, kind compute.ReduceOpType, window, strides, inputDilations, windowDilations []int, paddings [][2]int) (value, error) {
	window, strides, inputDilations, windowDilations, paddings = slices.Clone(window), slices.Clone(strides), slices.Clone(inputDilations), slices.Clone(windowDilations), slices.Clone(paddings)
	return f.record1(compute.OpTypeReduceWindow, nil, func(g compute.Function, in []value) (value, error) {
		return g.ReduceWindow(in[0], kind, window, strides, inputDilations, windowDilations, paddings)
	}, x)
}

func (f *function) Gather(operand, start value, indexVectorAxis int, offsetOutputAxes, collapsedSliceAxes, startIndexMap, sliceSizes []int, sorted bool) (value, error) {
	offsetOutputAxes, collapsedSliceAxes, startIndexMap, sliceSizes = slices.Clone(offsetOutputAxes), slices.Clone(collapsedSliceAxes), slices.Clone(startIndexMap), slices.Clone(sliceSizes)
	return f.record1(compute.OpTypeGather, nil, func(g compute.Function, in []value) (value, error) {
		return g.Gather(in[0], in[1], indexVectorAxis, offsetOutputAxes, collapsedSliceAxes, startIndexMap, sliceSizes, sorted)
	}, operand, start)
}

func (f *function) ScatterMax(operand, indices, updates value, indexVectorAxis int, updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes []int, sorted, unique bool) (value, error) {
	updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes = slices.Clone(updateWindowAxes), slices.Clone(insertedWindowAxes), slices.Clone(scatterAxesToOperandAxes)
	return f.record1(compute.OpTypeScatterMax, nil, func(g compute.Function, in []value) (value, error) {
		return g.ScatterMax(in[0], in[1], in[2], indexVectorAxis, updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes, sorted, unique)
	}, operand, indices, updates)
}

func (f *function) ScatterMin(operand, indices, updates value, indexVectorAxis int, updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes []int, sorted, unique bool) (value, error) {
	updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes = slices.Clone(updateWindowAxes), slices.Clone(insertedWindowAxes), slices.Clone(scatterAxesToOperandAxes)
	return f.record1(compute.OpTypeScatterMin, nil, func(g compute.Function, in []value) (value, error) {
		return g.ScatterMin(in[0], in[1], in[2], indexVectorAxis, updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes, sorted, unique)
	}, operand, indices, updates)
}

func (f *function) ScatterSum(operand, indices, updates value, indexVectorAxis int, updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes []int, sorted, unique bool) (value, error) {
	updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes = slices.Clone(updateWindowAxes), slices.Clone(insertedWindowAxes), slices.Clone(scatterAxesToOperandAxes)
	return f.record1(compute.OpTypeScatterSum, nil, func(g compute.Function, in []value) (value, error) {
		return g.ScatterSum(in[0], in[1], in[2], indexVectorAxis, updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes, sorted, unique)
	}, operand, indices, updates)
}

func (f *function) SelectAndScatterMax(operand, source value, window, strides []int, paddings [][2]int) (value, error) {
	window, strides, paddings = slices.Clone(window), slices.Clone(strides), slices.Clone(paddings)
	return f.record1(compute.OpTypeSelectAndScatterMax, nil, func(g compute.Function, in []value) (value, error) {
		return g.SelectAndScatterMax(in[0], in[1], window, strides, paddings)
	}, operand, source)
}

func (f *function) SelectAndScatterMin(operand, source value, window, strides []int, paddings [][2]int) (value, error) {
	window, strides, paddings = slices.Clone(window), slices.Clone(strides), slices.Clone(paddings)
	return f.record1(compute.OpTypeSelectAndScatterMin, nil, func(g compute.Function, in []value) (value, error) {
		return g.SelectAndScatterMin(in[0], in[1], window, strides, paddings)
	}, operand, source)
}

func (f *function) Concatenate(axis int, operands ...value) (value, error) {
	return f.record1(compute.OpTypeConcatenate, axis, func(g compute.Function, in []value) (value, error) {
		return g.Concatenate(axis, in...)
	}, operands...)
}

func (f *function) ConvGeneral(input, kernel value, axes compute.ConvolveAxesConfig, strides []int, paddings [][2]int,
	inputDilations, kernelDilations []int, channelGroups, batchGroups int) (value, error) {
	c := convArgs{axes.Clone(), slices.Clone(strides), slices.Clone(paddings), slices.Clone(inputDilations),
		slices.Clone(kernelDilations), channelGroups, batchGroups}
	return f.record1(compute.OpTypeConvGeneral, c, func(g compute.Function, in []value) (value, error) {
		return g.ConvGeneral(in[0], in[1], c.axes, c.strides, c.paddings, c.inputDilations, c.kernelDilations, c.channelGroups, c.batchGroups)
	}, input, kernel)
}

func (f *function) DotGeneral(lhs value, lhsContracting, lhsBatch []int, rhs value, rhsContracting, rhsBatch []int,
	config compute.DotGeneralConfig) (value, error) {
	d := dotArgs{slices.Clone(lhsContracting), slices.Clone(lhsBatch), slices.Clone(rhsContracting), slices.Clone(rhsBatch), config}
	return f.record1(compute.OpTypeDotGeneral, d, func(g compute.Function, in []value) (value, error) {
		return g.DotGeneral(in[0], d.lhsContracting, d.lhsBatch, in[1], d.rhsContracting, d.rhsBatch, d.config)
	}, lhs, rhs)
}

func (f *function) DynamicSlice(operand value, startIndices []value, sizes []int) (value, error) {
	sizes = slices.Clone(sizes)
	return f.record1(compute.OpTypeDynamicSlice, nil, func(g compute.Function, in []value) (value, error) {
		return g.DynamicSlice(in[0], in[1:], sizes)
	}, append([]value{operand}, startIndices...)...)
}

func (f *function) DynamicUpdateSlice(operand, update value, startIndices []value) (value, error) {
	return f.record1(compute.OpTypeDynamicUpdateSlice, nil, func(g compute.Function, in []value) (value, error) {
		return g.DynamicUpdateSlice(in[0], in[1], in[2:])
	}, append([]value{operand, update}, startIndices...)...)
}

func (f *function) Iota(shape shapes.Shape, axis int) (value, error) {
	shape = shape.Clone()
	return f.record1(compute.OpTypeIota, nil, func(g compute.Function, _ []value) (value, error) { return g.Iota(shape, axis) })
}

func (f *function) RNGBitGenerator(state value, shape shapes.Shape) (newState, values value, err error) {
	shape = shape.Clone()
	out, err := f.record(compute.OpTypeRNGBitGenerator, nil, func(g compute.Function, in []value) ([]value, error) {
		s, v, err := g.RNGBitGenerator(in[0], shape)
		return []value{s, v}, err
	}, state)
	if err != nil {
		return nil, nil, err
	}
	return out[0], out[1], nil
}

func (f *function) OptimizationBarrier(operands ...value) ([]value, error) {
	return f.record(compute.OpTypeOptimizationBarrier, nil, func(g compute.Function, in []value) ([]value, error) {
		return g.OptimizationBarrier(in...)
	}, operands...)
}

func (f *function) SchedulingBarrier(operand value, dependencies ...value) (value, error) {
	return f.record1(compute.OpTypeSchedulingBarrier, nil, func(g compute.Function, in []value) (value, error) {
		return g.SchedulingBarrier(in[0], in[1:]...)
	}, append([]value{operand}, dependencies...)...)
}

func (f *function) AllReduce(operands []value, kind compute.ReduceOpType, groups [][]int) ([]value, error) {
	return f.record(compute.OpTypeAllReduce, nil, func(g compute.Function, in []value) ([]value, error) {
		return g.AllReduce(in, kind, groups)
	}, operands...)
}

// fusedTypes refuses a fused operation where the Go backend, which would compute it, does so only when it runs: GoMLX
// then takes the operation apart.
func (f *function) fusedTypes(op compute.OpType, x value) error {
	shape, err := f.builder.OpShape(x)
	if err == nil && shape.DType != dtypes.Float32 && shape.DType != dtypes.Float64 {
		return errors.Wrapf(compute.ErrNotImplemented, "onednn: %s of %s", op, shape)
	}
	return err
}

func (f *function) FusedSoftmax(x value, axis int) (value, error) {
	if err := f.fusedTypes(compute.OpTypeFusedSoftmax, x); err != nil {
		return nil, err
	}
	return f.record1(compute.OpTypeFusedSoftmax, axis, func(g compute.Function, in []value) (value, error) {
		return g.FusedSoftmax(in[0], axis)
	}, x)
}

func (f *function) FusedGelu(x value, exact bool) (value, error) {
	if shape, err := f.builder.OpShape(x); err == nil && !(exact && floatType(shape.DType) && shape.Rank() <= maxFusedRank && shape.Size() > 0) {
		if err := f.fusedTypes(compute.OpTypeFusedGelu, x); err != nil {
			return nil, err
		}
	}
	return f.record1(compute.OpTypeFusedGelu, exact, func(g compute.Function, in []value) (value, error) {
		return g.FusedGelu(in[0], exact)
	}, x)
}

func (f *function) FusedLayerNorm(x value, axes []int, epsilon float64, gamma, beta value) (value, error) {
	if err := f.fusedTypes(compute.OpTypeFusedLayerNorm, x); err != nil {
		return nil, err
	}
	axes = slices.Clone(axes)
	operands, at := present(x, gamma, beta)
	return f.record1(compute.OpTypeFusedLayerNorm, nil, func(g compute.Function, in []value) (value, error) {
		return g.FusedLayerNorm(in[0], axes, epsilon, at(in, 1), at(in, 2))
	}, operands...)
}

func (f *function) FusedDense(x, weight, bias value, activation compute.ActivationType) (value, error) {
	if err := f.fusedTypes(compute.OpTypeFusedDense, x); err != nil {
		return nil, err
	}
	operands, at := present(x, weight, bias)
	return f.record1(compute.OpTypeFusedDense, nil, func(g compute.Function, in []value) (value, error) {
		return g.FusedDense(in[0], in[1], at(in, 2), activation)
	}, operands...)
}

func (f *function) FusedAttentionQKVProjection(x, wQKV, biasQ, biasK, biasV value, queryDim, keyValueDim int) (q, k, v value, err error) {
	operands, at := present(x, wQKV, biasQ, biasK, biasV)
	out, err := f.record(compute.OpTypeFusedAttentionQKVProjection, nil, func(g compute.Function, in []value) ([]value, error) {
		q, k, v, err := g.FusedAttentionQKVProjection(in[0], in[1], at(in, 2), at(in, 3), at(in, 4), queryDim, keyValueDim)
		return []value{q, k, v}, err
	}, operands...)
	if err != nil {
		return nil, nil, nil, err
	}
	return out[0], out[1], out[2], nil
}

func (f *function) FusedQuantizedDense(x, weights, bias value, q *compute.Quantization, activation compute.ActivationType) (value, error) {
	if q == nil {
		return f.shadow.FusedQuantizedDense(nil, nil, nil, nil, activation)
	}
	operands, at := present(x, weights, bias, q.Scale, q.ZeroPoint)
	return f.record1(compute.OpTypeFusedQuantizedDense, nil, func(g compute.Function, in []value) (value, error) {
		replayed := *q
		replayed.Scale, replayed.ZeroPoint = at(in, 3), at(in, 4)
		return g.FusedQuantizedDense(in[0], in[1], at(in, 2), &replayed, activation)
	}, operands...)
}

func (f *function) QuantizedEmbeddingLookup(data, indices value, q *compute.Quantization) (value, error) {
	if q == nil {
		return f.shadow.QuantizedEmbeddingLookup(nil, nil, nil)
	}
	operands, at := present(data, indices, q.Scale, q.ZeroPoint)
	return f.record1(compute.OpTypeQuantizedEmbeddingLookup, nil, func(g compute.Function, in []value) (value, error) {
		replayed := *q
		replayed.Scale, replayed.ZeroPoint = at(in, 2), at(in, 3)
		return g.QuantizedEmbeddingLookup(in[0], in[1], &replayed)
	}, operands...)
}

// present drops the operands that are nil and returns how to find operand i again, nil where it was absent.
func present(all ...value) (operands []value, at func(in []value, i int) value) {
	position := make([]int, len(all))
	for i, v := range all {
		position[i] = -1
		if v != nil {
			position[i] = len(operands)
			operands = append(operands, v)
		}
	}
	return operands, func(in []value, i int) value {
		if position[i] < 0 {
			return nil
		}
		return in[position[i]]
	}
}

type sliceArgs struct{ starts, limits, strides []int }

type convArgs struct {
	axes                            compute.ConvolveAxesConfig
	strides                         []int
	paddings                        [][2]int
	inputDilations, kernelDilations []int
	channelGroups, batchGroups      int
}

type dotArgs struct {
	lhsContracting, lhsBatch, rhsContracting, rhsBatch []int
	config                                             compute.DotGeneralConfig
}

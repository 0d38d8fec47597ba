package graph

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"
)

// The operations of compute.StandardOps and compute.FusedOps. Each is recorded with a replay, which is all that
// shape inference and the fallback need; what the compiler looks at is kept in the node's attributes.

// Value is what functions record operations on.
type Value = compute.Value

func (f *Function) unary(op compute.OpType, m func(compute.Function, Value) (Value, error), x Value) (Value, error) {
	return f.record1(op, nil, func(g compute.Function, in []Value) (Value, error) { return m(g, in[0]) }, x)
}

func (f *Function) binary(op compute.OpType, m func(compute.Function, Value, Value) (Value, error), x, y Value) (Value,
	error) {
	return f.record1(op, nil, func(g compute.Function, in []Value) (Value, error) { return m(g, in[0], in[1]) }, x, y)
}

func (f *Function) reduce(op compute.OpType, m func(compute.Function, Value, ...int) (Value, error), x Value,
	axes []int) (Value, error) {
	axes = slices.Clone(axes)
	return f.record1(op, axes, func(g compute.Function, in []Value) (Value, error) { return m(g, in[0], axes...) }, x)
}

func (f *Function) Abs(x Value) (Value, error) {
	return f.unary(compute.OpTypeAbs, compute.Function.Abs, x)
}

func (f *Function) BitCount(x Value) (Value, error) {
	return f.unary(compute.OpTypeBitCount, compute.Function.BitCount, x)
}

func (f *Function) BitwiseNot(x Value) (Value, error) {
	return f.unary(compute.OpTypeBitwiseNot, compute.Function.BitwiseNot, x)
}

func (f *Function) Ceil(x Value) (Value, error) {
	return f.unary(compute.OpTypeCeil, compute.Function.Ceil, x)
}

func (f *Function) Clz(x Value) (Value, error) {
	return f.unary(compute.OpTypeClz, compute.Function.Clz, x)
}

func (f *Function) Conj(x Value) (Value, error) {
	return f.unary(compute.OpTypeConj, compute.Function.Conj, x)
}

func (f *Function) Cos(x Value) (Value, error) {
	return f.unary(compute.OpTypeCos, compute.Function.Cos, x)
}

func (f *Function) Erf(x Value) (Value, error) {
	return f.unary(compute.OpTypeErf, compute.Function.Erf, x)
}

func (f *Function) Exp(x Value) (Value, error) {
	return f.unary(compute.OpTypeExp, compute.Function.Exp, x)
}

func (f *Function) Expm1(x Value) (Value, error) {
	return f.unary(compute.OpTypeExpm1, compute.Function.Expm1, x)
}

func (f *Function) Floor(x Value) (Value, error) {
	return f.unary(compute.OpTypeFloor, compute.Function.Floor, x)
}

func (f *Function) Identity(x Value) (Value, error) {
	return f.unary(compute.OpTypeIdentity, compute.Function.Identity, x)
}

func (f *Function) Imag(x Value) (Value, error) {
	return f.unary(compute.OpTypeImag, compute.Function.Imag, x)
}

func (f *Function) IsFinite(x Value) (Value, error) {
	return f.unary(compute.OpTypeIsFinite, compute.Function.IsFinite, x)
}

func (f *Function) IsNaN(x Value) (Value, error) {
	return f.unary(compute.OpTypeIsNaN, compute.Function.IsNaN, x)
}

func (f *Function) Log(x Value) (Value, error) {
	return f.unary(compute.OpTypeLog, compute.Function.Log, x)
}

func (f *Function) Log1p(x Value) (Value, error) {
	return f.unary(compute.OpTypeLog1p, compute.Function.Log1p, x)
}

func (f *Function) LogicalNot(x Value) (Value, error) {
	return f.unary(compute.OpTypeLogicalNot, compute.Function.LogicalNot, x)
}

func (f *Function) Logistic(x Value) (Value, error) {
	return f.unary(compute.OpTypeLogistic, compute.Function.Logistic, x)
}

func (f *Function) Neg(x Value) (Value, error) {
	return f.unary(compute.OpTypeNeg, compute.Function.Neg, x)
}

func (f *Function) Real(x Value) (Value, error) {
	return f.unary(compute.OpTypeReal, compute.Function.Real, x)
}

func (f *Function) Round(x Value) (Value, error) {
	return f.unary(compute.OpTypeRound, compute.Function.Round, x)
}

func (f *Function) Rsqrt(x Value) (Value, error) {
	return f.unary(compute.OpTypeRsqrt, compute.Function.Rsqrt, x)
}

func (f *Function) Sign(x Value) (Value, error) {
	return f.unary(compute.OpTypeSign, compute.Function.Sign, x)
}

func (f *Function) Sin(x Value) (Value, error) {
	return f.unary(compute.OpTypeSin, compute.Function.Sin, x)
}

func (f *Function) Sqrt(x Value) (Value, error) {
	return f.unary(compute.OpTypeSqrt, compute.Function.Sqrt, x)
}

func (f *Function) Tanh(x Value) (Value, error) {
	return f.unary(compute.OpTypeTanh, compute.Function.Tanh, x)
}

func (f *Function) Add(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeAdd, compute.Function.Add, x, y)
}

func (f *Function) Atan2(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeAtan2, compute.Function.Atan2, x, y)
}

func (f *Function) BitwiseAnd(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeBitwiseAnd, compute.Function.BitwiseAnd, x, y)
}

func (f *Function) BitwiseOr(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeBitwiseOr, compute.Function.BitwiseOr, x, y)
}

func (f *Function) BitwiseXor(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeBitwiseXor, compute.Function.BitwiseXor, x, y)
}

func (f *Function) Complex(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeComplex, compute.Function.Complex, x, y)
}

func (f *Function) Div(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeDiv, compute.Function.Div, x, y)
}

func (f *Function) Equal(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeEqual, compute.Function.Equal, x, y)
}

func (f *Function) EqualTotalOrder(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeEqualTotalOrder, compute.Function.EqualTotalOrder, x, y)
}

func (f *Function) GreaterOrEqual(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeGreaterOrEqual, compute.Function.GreaterOrEqual, x, y)
}

func (f *Function) GreaterOrEqualTotalOrder(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeGreaterOrEqualTotalOrder, compute.Function.GreaterOrEqualTotalOrder, x, y)
}

func (f *Function) GreaterThan(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeGreaterThan, compute.Function.GreaterThan, x, y)
}

func (f *Function) GreaterThanTotalOrder(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeGreaterThanTotalOrder, compute.Function.GreaterThanTotalOrder, x, y)
}

func (f *Function) LessOrEqual(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeLessOrEqual, compute.Function.LessOrEqual, x, y)
}

func (f *Function) LessOrEqualTotalOrder(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeLessOrEqualTotalOrder, compute.Function.LessOrEqualTotalOrder, x, y)
}

func (f *Function) LessThan(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeLessThan, compute.Function.LessThan, x, y)
}

func (f *Function) LessThanTotalOrder(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeLessThanTotalOrder, compute.Function.LessThanTotalOrder, x, y)
}

func (f *Function) LogicalAnd(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeLogicalAnd, compute.Function.LogicalAnd, x, y)
}

func (f *Function) LogicalOr(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeLogicalOr, compute.Function.LogicalOr, x, y)
}

func (f *Function) LogicalXor(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeLogicalXor, compute.Function.LogicalXor, x, y)
}

func (f *Function) Max(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeMax, compute.Function.Max, x, y)
}

func (f *Function) Min(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeMin, compute.Function.Min, x, y)
}

func (f *Function) Mul(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeMul, compute.Function.Mul, x, y)
}

func (f *Function) NotEqual(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeNotEqual, compute.Function.NotEqual, x, y)
}

func (f *Function) NotEqualTotalOrder(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeNotEqualTotalOrder, compute.Function.NotEqualTotalOrder, x, y)
}

func (f *Function) Pow(x, y Value) (Value, error) {
	return f.binary(compute.OpTypePow, compute.Function.Pow, x, y)
}

func (f *Function) Rem(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeRem, compute.Function.Rem, x, y)
}

func (f *Function) ShiftLeft(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeShiftLeft, compute.Function.ShiftLeft, x, y)
}

func (f *Function) ShiftRightArithmetic(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeShiftRightArithmetic, compute.Function.ShiftRightArithmetic, x, y)
}

func (f *Function) ShiftRightLogical(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeShiftRightLogical, compute.Function.ShiftRightLogical, x, y)
}

func (f *Function) Sub(x, y Value) (Value, error) {
	return f.binary(compute.OpTypeSub, compute.Function.Sub, x, y)
}

func (f *Function) ReduceBitwiseAnd(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseAnd, compute.Function.ReduceBitwiseAnd, x, axes)
}

func (f *Function) ReduceBitwiseOr(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseOr, compute.Function.ReduceBitwiseOr, x, axes)
}

func (f *Function) ReduceBitwiseXor(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseXor, compute.Function.ReduceBitwiseXor, x, axes)
}

func (f *Function) ReduceLogicalAnd(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalAnd, compute.Function.ReduceLogicalAnd, x, axes)
}

func (f *Function) ReduceLogicalOr(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalOr, compute.Function.ReduceLogicalOr, x, axes)
}

func (f *Function) ReduceLogicalXor(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalXor, compute.Function.ReduceLogicalXor, x, axes)
}

func (f *Function) ReduceMax(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceMax, compute.Function.ReduceMax, x, axes)
}

func (f *Function) ReduceMin(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceMin, compute.Function.ReduceMin, x, axes)
}

func (f *Function) ReduceProduct(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceProduct, compute.Function.ReduceProduct, x, axes)
}

func (f *Function) ReduceSum(x Value, axes ...int) (Value, error) {
	return f.reduce(compute.OpTypeReduceSum, compute.Function.ReduceSum, x, axes)
}

func (f *Function) ArgMinMax(x Value, axis int, outputDType dtypes.DType, isMin bool) (Value, error) {
	return f.record1(compute.OpTypeArgMinMax, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.ArgMinMax(in[0], axis, outputDType, isMin)
	}, x)
}

func (f *Function) Bitcast(x Value, target dtypes.DType) (Value, error) {
	return f.record1(compute.OpTypeBitcast, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.Bitcast(in[0], target)
	}, x)
}

func (f *Function) BroadcastInDim(x Value, outputShape shapes.Shape, broadcastAxes []int) (Value, error) {
	outputShape, broadcastAxes = outputShape.Clone(), slices.Clone(broadcastAxes)
	return f.record1(compute.OpTypeBroadcastInDim, broadcastAxes, func(g compute.Function, in []Value) (Value, error) {
		return g.BroadcastInDim(in[0], outputShape, broadcastAxes)
	}, x)
}

func (f *Function) Clamp(lo, x, hi Value) (Value, error) {
	return f.record1(compute.OpTypeClamp, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.Clamp(in[0], in[1], in[2])
	}, lo, x, hi)
}

func (f *Function) ConvertDType(x Value, dtype dtypes.DType) (Value, error) {
	return f.record1(compute.OpTypeConvertDType, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.ConvertDType(in[0], dtype)
	}, x)
}

func (f *Function) DynamicDimensionSize(x Value, axis int) (Value, error) {
	return f.record1(compute.OpTypeDynamicDimensionSize, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.DynamicDimensionSize(in[0], axis)
	}, x)
}

func (f *Function) DynamicShape(x Value) (Value, error) {
	return f.record1(compute.OpTypeDynamicShape, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.DynamicShape(in[0])
	}, x)
}

func (f *Function) FFT(x Value, kind compute.FFTType, length []int) (Value, error) {
	length = slices.Clone(length)
	return f.record1(compute.OpTypeFFT, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.FFT(in[0], kind, length)
	}, x)
}

func (f *Function) Reshape(x Value, dimensions ...int) (Value, error) {
	dimensions = slices.Clone(dimensions)
	return f.record1(compute.OpTypeReshape, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.Reshape(in[0], dimensions...)
	}, x)
}

func (f *Function) Reverse(x Value, axes ...int) (Value, error) {
	axes = slices.Clone(axes)
	return f.record1(compute.OpTypeReverse, axes, func(g compute.Function, in []Value) (Value, error) {
		return g.Reverse(in[0], axes...)
	}, x)
}

func (f *Function) Transpose(x Value, permutation ...int) (Value, error) {
	permutation = slices.Clone(permutation)
	return f.record1(compute.OpTypeTranspose, permutation, func(g compute.Function, in []Value) (Value, error) {
		return g.Transpose(in[0], permutation...)
	}, x)
}

func (f *Function) Slice(x Value, starts, limits, strides []int) (Value, error) {
	starts, limits, strides = slices.Clone(starts), slices.Clone(limits), slices.Clone(strides)
	return f.record1(compute.OpTypeSlice, SliceArgs{starts, limits, strides},
		func(g compute.Function, in []Value) (Value, error) {
			return g.Slice(in[0], starts, limits, strides)
		}, x)
}

func (f *Function) Pad(x, fill Value, axes ...compute.PadAxis) (Value, error) {
	axes = slices.Clone(axes)
	return f.record1(compute.OpTypePad, axes, func(g compute.Function, in []Value) (Value, error) {
		return g.Pad(in[0], in[1], axes...)
	}, x, fill)
}

func (f *Function) Where(condition, onTrue, onFalse Value) (Value, error) {
	return f.record1(compute.OpTypeWhere, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.Where(in[0], in[1], in[2])
	}, condition, onTrue, onFalse)
}

func (f *Function) ReduceWindow(x Value, kind compute.ReduceOpType, window, strides, inputDilations,
	windowDilations []int, paddings [][2]int) (Value, error) {
	window, strides, inputDilations, windowDilations, paddings = slices.Clone(window), slices.Clone(strides),
		slices.Clone(inputDilations), slices.Clone(windowDilations), slices.Clone(paddings)
	return f.record1(compute.OpTypeReduceWindow, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.ReduceWindow(in[0], kind, window, strides, inputDilations, windowDilations, paddings)
	}, x)
}

func (f *Function) Gather(operand, start Value, indexVectorAxis int, offsetOutputAxes, collapsedSliceAxes,
	startIndexMap, sliceSizes []int, sorted bool) (Value, error) {
	offsetOutputAxes, collapsedSliceAxes, startIndexMap, sliceSizes = slices.Clone(offsetOutputAxes),
		slices.Clone(collapsedSliceAxes), slices.Clone(startIndexMap), slices.Clone(sliceSizes)
	return f.record1(compute.OpTypeGather, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.Gather(in[0], in[1], indexVectorAxis, offsetOutputAxes, collapsedSliceAxes, startIndexMap, sliceSizes,
			sorted)
	}, operand, start)
}

func (f *Function) ScatterMax(operand, indices, updates Value, indexVectorAxis int, updateWindowAxes,
	insertedWindowAxes, scatterAxesToOperandAxes []int, sorted, unique bool) (Value, error) {
	updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes = slices.Clone(updateWindowAxes),
		slices.Clone(insertedWindowAxes), slices.Clone(scatterAxesToOperandAxes)
	return f.record1(compute.OpTypeScatterMax, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.ScatterMax(in[0], in[1], in[2], indexVectorAxis, updateWindowAxes, insertedWindowAxes,
			scatterAxesToOperandAxes, sorted, unique)
	}, operand, indices, updates)
}

func (f *Function) ScatterMin(operand, indices, updates Value, indexVectorAxis int, updateWindowAxes,
	insertedWindowAxes, scatterAxesToOperandAxes []int, sorted, unique bool) (Value, error) {
	updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes = slices.Clone(updateWindowAxes),
		slices.Clone(insertedWindowAxes), slices.Clone(scatterAxesToOperandAxes)
	return f.record1(compute.OpTypeScatterMin, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.ScatterMin(in[0], in[1], in[2], indexVectorAxis, updateWindowAxes, insertedWindowAxes,
			scatterAxesToOperandAxes, sorted, unique)
	}, operand, indices, updates)
}

func (f *Function) ScatterSum(operand, indices, updates Value, indexVectorAxis int, updateWindowAxes,
	insertedWindowAxes, scatterAxesToOperandAxes []int, sorted, unique bool) (Value, error) {
	updateWindowAxes, insertedWindowAxes, scatterAxesToOperandAxes = slices.Clone(updateWindowAxes),
		slices.Clone(insertedWindowAxes), slices.Clone(scatterAxesToOperandAxes)
	return f.record1(compute.OpTypeScatterSum, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.ScatterSum(in[0], in[1], in[2], indexVectorAxis, updateWindowAxes, insertedWindowAxes,
			scatterAxesToOperandAxes, sorted, unique)
	}, operand, indices, updates)
}

func (f *Function) SelectAndScatterMax(operand, source Value, window, strides []int, paddings [][2]int) (Value, error) {
	window, strides, paddings = slices.Clone(window), slices.Clone(strides), slices.Clone(paddings)
	return f.record1(compute.OpTypeSelectAndScatterMax, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.SelectAndScatterMax(in[0], in[1], window, strides, paddings)
	}, operand, source)
}

func (f *Function) SelectAndScatterMin(operand, source Value, window, strides []int, paddings [][2]int) (Value, error) {
	window, strides, paddings = slices.Clone(window), slices.Clone(strides), slices.Clone(paddings)
	return f.record1(compute.OpTypeSelectAndScatterMin, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.SelectAndScatterMin(in[0], in[1], window, strides, paddings)
	}, operand, source)
}

func (f *Function) Concatenate(axis int, operands ...Value) (Value, error) {
	return f.record1(compute.OpTypeConcatenate, axis, func(g compute.Function, in []Value) (Value, error) {
		return g.Concatenate(axis, in...)
	}, operands...)
}

func (f *Function) ConvGeneral(input, kernel Value, axes compute.ConvolveAxesConfig, strides []int, paddings [][2]int,
	inputDilations, kernelDilations []int, channelGroups, batchGroups int) (Value, error) {
	c := ConvArgs{axes.Clone(), slices.Clone(strides), slices.Clone(paddings), slices.Clone(inputDilations),
		slices.Clone(kernelDilations), channelGroups, batchGroups}
	return f.record1(compute.OpTypeConvGeneral, c, func(g compute.Function, in []Value) (Value, error) {
		return g.ConvGeneral(in[0], in[1], c.Axes, c.Strides, c.Paddings, c.InputDilations, c.KernelDilations,
			c.ChannelGroups, c.BatchGroups)
	}, input, kernel)
}

func (f *Function) DotGeneral(lhs Value, lhsContracting, lhsBatch []int, rhs Value, rhsContracting, rhsBatch []int,
	config compute.DotGeneralConfig) (Value, error) {
	d := DotArgs{slices.Clone(lhsContracting), slices.Clone(lhsBatch), slices.Clone(rhsContracting),
		slices.Clone(rhsBatch), config}
	return f.record1(compute.OpTypeDotGeneral, d, func(g compute.Function, in []Value) (Value, error) {
		return g.DotGeneral(in[0], d.LhsContracting, d.LhsBatch, in[1], d.RhsContracting, d.RhsBatch, d.config)
	}, lhs, rhs)
}

func (f *Function) DynamicSlice(operand Value, startIndices []Value, sizes []int) (Value, error) {
	sizes = slices.Clone(sizes)
	return f.record1(compute.OpTypeDynamicSlice, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.DynamicSlice(in[0], in[1:], sizes)
	}, append([]Value{operand}, startIndices...)...)
}

func (f *Function) DynamicUpdateSlice(operand, update Value, startIndices []Value) (Value, error) {
	return f.record1(compute.OpTypeDynamicUpdateSlice, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.DynamicUpdateSlice(in[0], in[1], in[2:])
	}, append([]Value{operand, update}, startIndices...)...)
}

func (f *Function) Iota(shape shapes.Shape, axis int) (Value, error) {
	shape = shape.Clone()
	return f.record1(compute.OpTypeIota, nil, func(g compute.Function, _ []Value) (Value, error) {
		return g.Iota(shape,
			axis)
	})
}

func (f *Function) RNGBitGenerator(state Value, shape shapes.Shape) (newState, values Value, err error) {
	shape = shape.Clone()
	out, err := f.record(compute.OpTypeRNGBitGenerator, nil, func(g compute.Function, in []Value) ([]Value, error) {
		s, v, err := g.RNGBitGenerator(in[0], shape)
		return []Value{s, v}, err
	}, state)
	if err != nil {
		return nil, nil, err
	}
	return out[0], out[1], nil
}

func (f *Function) OptimizationBarrier(operands ...Value) ([]Value, error) {
	return f.record(compute.OpTypeOptimizationBarrier, nil, func(g compute.Function, in []Value) ([]Value, error) {
		return g.OptimizationBarrier(in...)
	}, operands...)
}

func (f *Function) SchedulingBarrier(operand Value, dependencies ...Value) (Value, error) {
	return f.record1(compute.OpTypeSchedulingBarrier, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.SchedulingBarrier(in[0], in[1:]...)
	}, append([]Value{operand}, dependencies...)...)
}

func (f *Function) AllReduce(operands []Value, kind compute.ReduceOpType, groups [][]int) ([]Value, error) {
	return f.record(compute.OpTypeAllReduce, nil, func(g compute.Function, in []Value) ([]Value, error) {
		return g.AllReduce(in, kind, groups)
	}, operands...)
}

// fusedTypes refuses a fused operation where the Go backend, which would compute it, does so only when it runs: GoMLX
// then takes the operation apart.
func (f *Function) fusedTypes(op compute.OpType, x Value) error {
	shape, err := f.builder.OpShape(x)
	if err == nil && shape.DType != dtypes.Float32 && shape.DType != dtypes.Float64 {
		return errors.Wrapf(compute.ErrNotImplemented, "onednn: %s of %s", op, shape)
	}
	return err
}

func (f *Function) FusedSoftmax(x Value, axis int) (Value, error) {
	if err := f.fusedTypes(compute.OpTypeFusedSoftmax, x); err != nil {
		return nil, err
	}
	return f.record1(compute.OpTypeFusedSoftmax, axis, func(g compute.Function, in []Value) (Value, error) {
		return g.FusedSoftmax(in[0], axis)
	}, x)
}

func (f *Function) FusedGelu(x Value, exact bool) (Value, error) {
	if shape, err := f.builder.OpShape(x); err == nil && !(exact && IsFloat(shape.DType) && shape.Rank() <= MaxRank &&
		shape.Size() > 0) {
		if err := f.fusedTypes(compute.OpTypeFusedGelu, x); err != nil {
			return nil, err
		}
	}
	return f.record1(compute.OpTypeFusedGelu, exact, func(g compute.Function, in []Value) (Value, error) {
		return g.FusedGelu(in[0], exact)
	}, x)
}

func (f *Function) FusedLayerNorm(x Value, axes []int, epsilon float64, gamma, beta Value) (Value, error) {
	if err := f.fusedTypes(compute.OpTypeFusedLayerNorm, x); err != nil {
		return nil, err
	}
	axes = slices.Clone(axes)
	operands, at := present(x, gamma, beta)
	return f.record1(compute.OpTypeFusedLayerNorm, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.FusedLayerNorm(in[0], axes, epsilon, at(in, 1), at(in, 2))
	}, operands...)
}

func (f *Function) FusedDense(x, weight, bias Value, activation compute.ActivationType) (Value, error) {
	if err := f.fusedTypes(compute.OpTypeFusedDense, x); err != nil {
		return nil, err
	}
	operands, at := present(x, weight, bias)
	return f.record1(compute.OpTypeFusedDense, nil, func(g compute.Function, in []Value) (Value, error) {
		return g.FusedDense(in[0], in[1], at(in, 2), activation)
	}, operands...)
}

func (f *Function) FusedAttentionQKVProjection(x, wQKV, biasQ, biasK, biasV Value, queryDim, keyValueDim int) (q, k,
	v Value, err error) {
	operands, at := present(x, wQKV, biasQ, biasK, biasV)
	out, err := f.record(compute.OpTypeFusedAttentionQKVProjection, nil,
		func(g compute.Function, in []Value) ([]Value, error) {
			q, k, v, err := g.FusedAttentionQKVProjection(in[0], in[1], at(in, 2), at(in, 3), at(in, 4), queryDim,
				keyValueDim)
			return []Value{q, k, v}, err
		}, operands...)
	if err != nil {
		return nil, nil, nil, err
	}
	return out[0], out[1], out[2], nil
}

func (f *Function) FusedQuantizedDense(x, weights, bias Value, q *compute.Quantization,
	activation compute.ActivationType) (Value, error) {
	if q == nil {
		return f.shadow.FusedQuantizedDense(nil, nil, nil, nil, activation)
	}
	operands, at := present(x, weights, bias, q.Scale, q.ZeroPoint)
	return f.record1(compute.OpTypeFusedQuantizedDense, nil, func(g compute.Function, in []Value) (Value, error) {
		replayed := *q
		replayed.Scale, replayed.ZeroPoint = at(in, 3), at(in, 4)
		return g.FusedQuantizedDense(in[0], in[1], at(in, 2), &replayed, activation)
	}, operands...)
}

func (f *Function) QuantizedEmbeddingLookup(data, indices Value, q *compute.Quantization) (Value, error) {
	if q == nil {
		return f.shadow.QuantizedEmbeddingLookup(nil, nil, nil)
	}
	operands, at := present(data, indices, q.Scale, q.ZeroPoint)
	return f.record1(compute.OpTypeQuantizedEmbeddingLookup, nil, func(g compute.Function, in []Value) (Value, error) {
		replayed := *q
		replayed.Scale, replayed.ZeroPoint = at(in, 2), at(in, 3)
		return g.QuantizedEmbeddingLookup(in[0], in[1], &replayed)
	}, operands...)
}

// present drops the operands that are nil and returns how to find operand i again, nil where it was absent.
func present(all ...Value) (operands []Value, at func(in []Value, i int) Value) {
	position := make([]int, len(all))
	for i, v := range all {
		position[i] = -1
		if v != nil {
			position[i] = len(operands)
			operands = append(operands, v)
		}
	}
	return operands, func(in []Value, i int) Value {
		if position[i] < 0 {
			return nil
		}
		return in[position[i]]
	}
}

// SliceArgs is the attribute of a Slice; no Strides are ones.
type SliceArgs struct{ Starts, Limits, Strides []int }

// ConvArgs is the attribute of a ConvGeneral.
type ConvArgs struct {
	Axes                            compute.ConvolveAxesConfig
	Strides                         []int
	Paddings                        [][2]int
	InputDilations, KernelDilations []int
	ChannelGroups, BatchGroups      int
}

// DotArgs is the attribute of a DotGeneral.
type DotArgs struct {
	LhsContracting, LhsBatch, RhsContracting, RhsBatch []int
	config                                             compute.DotGeneralConfig
}

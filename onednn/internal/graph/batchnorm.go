package graph

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"
)

// Batch normalization (Ioffe & Szegedy 2015) is recorded as its statistics and element-wise arithmetic, so that the
// arithmetic fuses with whatever stands around it.

// terms writes arithmetic on values of a function; the first error sticks.
type terms struct {
	g   compute.Function
	err error
}

func (t *terms) do(f func() (Value, error)) Value {
	if t.err != nil {
		return nil
	}
	v, err := f()
	t.err = err
	return v
}

func (t *terms) add(x, y Value) Value { return t.do(func() (Value, error) { return t.g.Add(x, y) }) }
func (t *terms) sub(x, y Value) Value { return t.do(func() (Value, error) { return t.g.Sub(x, y) }) }
func (t *terms) mul(x, y Value) Value { return t.do(func() (Value, error) { return t.g.Mul(x, y) }) }
func (t *terms) rsqrt(x Value) Value  { return t.do(func() (Value, error) { return t.g.Rsqrt(x) }) }

func (t *terms) sum(x Value, axes []int) Value {
	if len(axes) == 0 { // which ReduceSum takes for all
		return x
	}
	return t.do(func() (Value, error) { return t.g.ReduceSum(x, axes...) })
}

// along spreads a vector over an axis of shape.
func (t *terms) along(x Value, shape shapes.Shape, axis int) Value {
	return t.do(func() (Value, error) { return t.g.BroadcastInDim(x, shape, []int{axis}) })
}

// constant is an array of copies of v.
func (t *terms) constant(v float64, dtype dtypes.DType, dims ...int) Value {
	return t.do(func() (Value, error) {
		c, err := t.g.Constant(flatOf(dtype, v))
		if err != nil {
			return nil, err
		}
		return t.g.BroadcastInDim(c, shapes.Make(dtype, dims...), nil)
	})
}

func otherAxes(rank, axis int) []int {
	var axes []int
	for a := range rank {
		if a != axis {
			axes = append(axes, a)
		}
	}
	return axes
}

func (f *Function) featureAxis(op compute.OpType, operand Value, vectors []Value, axis int) (shape shapes.Shape,
	err error) {
	shape, err = f.builder.OpShape(operand)
	if err != nil {
		return shape, err
	}
	if axis < 0 || axis >= shape.Rank() {
		return shape, errors.Errorf("onednn: %s: feature axis %d is not an axis of the operand %s", op, axis, shape)
	}
	if !shape.DType.IsFloat() {
		return shape, errors.Wrapf(compute.ErrNotImplemented, "onednn: %s of %s", op, shape)
	}
	want := shapes.Make(shape.DType, shape.Dimensions[axis])
	for i, v := range vectors {
		got, err := f.builder.OpShape(v)
		if err != nil {
			return shape, err
		}
		if !got.Equal(want) {
			return shape, errors.Errorf("onednn: %s: vector #%d has shape %s, operand %s with feature axis %d wants %s",
				op, i, got, shape, axis, want)
		}
	}
	return shape, nil
}

// moments records mean and biased variance over all axes but one.
func (f *Function) moments(x Value, shape shapes.Shape, axis int) (mean, variance Value, err error) {
	axes := otherAxes(shape.Rank(), axis)
	if len(axes) == 0 {
		t := &terms{g: f}
		return x, t.constant(0, shape.DType, shape.Dimensions...), t.err
	}
	out, err := f.record(OpMoments, axes, MomentsReplay(shape, axes), x)
	if err != nil {
		return nil, nil, err
	}
	return out[0], out[1], nil
}

func MomentsReplay(shape shapes.Shape, axes []int) Replay {
	var kept, dims []int
	for a, d := range shape.Dimensions {
		if !slices.Contains(axes, a) {
			kept, dims = append(kept, a), append(dims, d)
		}
	}
	return func(g compute.Function, in []Value) ([]Value, error) {
		t := &terms{g: g}
		size := shapes.Make(shape.DType, dims...).Size()
		n := t.constant(float64(size)/float64(max(shape.Size(), 1)), shape.DType, dims...)
		mean := t.mul(t.sum(in[0], axes), n)
		centred := t.sub(in[0], t.do(func() (Value, error) { return t.g.BroadcastInDim(mean, shape, kept) }))
		variance := t.mul(t.sum(t.mul(centred, centred), axes), n)
		return []Value{mean, variance}, t.err
	}
}

// normalize is (x − mean)/√(variance + ε)·scale + offset, as one multiplication and one addition for each element.
func (t *terms) normalize(x, scale, offset, mean, variance Value, shape shapes.Shape, epsilon float32, axis int) Value {
	a := t.mul(scale, t.rsqrt(t.add(variance, t.constant(float64(epsilon), shape.DType, shape.Dimensions[axis]))))
	b := t.sub(offset, t.mul(mean, a))
	return t.add(t.mul(x, t.along(a, shape, axis)), t.along(b, shape, axis))
}

// Float32 is what narrow floats are normalized in: differences from the mean would have few digits left.
func (t *terms) convert(to dtypes.DType, values ...*Value) {
	for _, v := range values {
		x := *v
		*v = t.do(func() (Value, error) { return t.g.ConvertDType(x, to) })
	}
}

func narrow(d dtypes.DType) bool { return d == dtypes.BFloat16 || d == dtypes.Float16 }

func (f *Function) BatchNormForTraining(operand, scale, offset Value, epsilon float32, axis int) (normalized, mean,
	variance Value, err error) {
	shape, err := f.featureAxis(compute.OpTypeBatchNormForTraining, operand, []Value{scale, offset}, axis)
	if err != nil {
		return nil, nil, nil, err
	}
	if dtype := shape.DType; narrow(dtype) {
		t := &terms{g: f}
		t.convert(dtypes.Float32, &operand, &scale, &offset)
		if t.err == nil {
			normalized, mean, variance, t.err = f.BatchNormForTraining(operand, scale, offset, epsilon, axis)
		}
		t.convert(dtype, &normalized, &mean, &variance)
		return normalized, mean, variance, t.err
	}
	mean, variance, err = f.moments(operand, shape, axis)
	if err != nil {
		return nil, nil, nil, err
	}
	t := &terms{g: f}
	return t.normalize(operand, scale, offset, mean, variance, shape, epsilon, axis), mean, variance, t.err
}

func (f *Function) BatchNormForInference(operand, scale, offset, mean, variance Value, epsilon float32,
	axis int) (Value, error) {
	shape, err := f.featureAxis(compute.OpTypeBatchNormForInference, operand, []Value{scale, offset, mean, variance},
		axis)
	if err != nil {
		return nil, err
	}
	t := &terms{g: f}
	if dtype := shape.DType; narrow(dtype) {
		t.convert(dtypes.Float32, &operand, &scale, &offset, &mean, &variance)
		y := t.do(func() (Value, error) {
			return f.BatchNormForInference(operand, scale, offset, mean, variance, epsilon, axis)
		})
		t.convert(dtype, &y)
		return y, t.err
	}
	return t.normalize(operand, scale, offset, mean, variance, shape, epsilon, axis), t.err
}

// BatchNormGradient, with x̂ = (x − mean)·r, r = 1/√(variance + ε) and m elements for each feature:
// ∂offset = Σ∂y, ∂scale = Σ∂y·x̂, ∂x = scale·r·(∂y − ∂offset/m − x̂·∂scale/m).
func (f *Function) BatchNormGradient(operand, scale, mean, variance, gradOutput Value, epsilon float32,
	axis int) (gradOperand, gradScale, gradOffset Value, err error) {
	shape, err := f.featureAxis(compute.OpTypeBatchNormGradient, operand, []Value{scale, mean, variance}, axis)
	if err != nil {
		return nil, nil, nil, err
	}
	t := &terms{g: f}
	if dtype := shape.DType; narrow(dtype) {
		t.convert(dtypes.Float32, &operand, &scale, &mean, &variance, &gradOutput)
		if t.err == nil {
			gradOperand, gradScale, gradOffset, t.err = f.BatchNormGradient(operand, scale, mean, variance, gradOutput,
				epsilon, axis)
		}
		t.convert(dtype, &gradOperand, &gradScale, &gradOffset)
		return gradOperand, gradScale, gradOffset, t.err
	}
	axes, channels := otherAxes(shape.Rank(), axis), shape.Dimensions[axis]
	r := t.rsqrt(t.add(variance, t.constant(float64(epsilon), shape.DType, channels)))
	normalized := t.mul(t.sub(operand, t.along(mean, shape, axis)), t.along(r, shape, axis))
	gradOffset = t.sum(gradOutput, axes)
	gradScale = t.sum(t.mul(gradOutput, normalized), axes)
	// ∂x = a·∂y + b·x + c with vectors a, b, c.
	n := t.constant(float64(channels)/float64(max(shape.Size(), 1)), shape.DType, channels)
	a := t.mul(scale, r)
	k := t.mul(t.mul(a, r), t.mul(gradScale, n))
	c := t.sub(t.mul(k, mean), t.mul(a, t.mul(gradOffset, n)))
	gradOperand = t.add(t.sub(t.mul(gradOutput, t.along(a, shape, axis)), t.mul(operand, t.along(k, shape, axis))),
		t.along(c, shape, axis))
	return gradOperand, gradScale, gradOffset, t.err
}

package graph

import (
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"
)

// FusedScaledDotProductAttention is one native operation with oneDNN, for queries, keys and values of Float32, or of
// BFloat16 where the CPU multiplies that, in AxesLayoutBSHD, with as many heads each, and without masks and biases.
// GoMLX takes others apart.
func (f *Function) FusedScaledDotProductAttention(query, key, value Value, layout compute.AxesLayout,
	options *compute.ScaledDotProductAttentionConfig) (Value, []Value, error) {
	o := compute.ScaledDotProductAttentionConfig{}
	if options != nil {
		o = *options
	}
	o.QuantizedMatmuls = false // a hint
	scale := o.Scale
	o.Scale = 0
	var shape [3]shapes.Shape
	for i, v := range []any{query, key, value} {
		s, err := f.builder.OpShape(v)
		if err != nil {
			return nil, nil, err
		}
		shape[i] = s
	}
	q, k := shape[0], shape[1]
	if scale == 0 && q.Rank() == 4 {
		scale = 1 / math.Sqrt(float64(q.Dimensions[3]))
	}
	if !(scale > 0) || layout != compute.AxesLayoutBSHD || o != (compute.ScaledDotProductAttentionConfig{}) ||
		!f.builder.target.Attends(q.DType) || k.DType != q.DType || !shape[2].Equal(k) || q.Rank() != 4 ||
		k.Rank() != 4 || q.Size() == 0 || k.Size() == 0 ||
		q.Dimensions[0] != k.Dimensions[0] || q.Dimensions[2] != k.Dimensions[2] || q.Dimensions[3] != k.Dimensions[3] {
		return nil, nil, errors.Wrapf(compute.ErrNotImplemented, "onednn: attention of %s on %s", q, k)
	}
	y, err := f.record1(compute.OpTypeFusedScaledDotProductAttention, scale, attentionReplay(q, k, scale), query, key,
		value)
	return y, nil, err
}

// attentionReplay is the operation taken apart.
func attentionReplay(q, k shapes.Shape, scale float64) func(compute.Function, []Value) (Value, error) {
	return func(g compute.Function, in []Value) (Value, error) {
		t := &terms{g: g}
		dot := func(x Value, xContracting, xBatch []int, y Value, yContracting, yBatch []int) Value {
			return t.do(func() (Value, error) {
				return g.DotGeneral(x, xContracting, xBatch, y, yContracting, yBatch, compute.DotGeneralConfig{})
			})
		}
		convert := func(x Value, dtype dtypes.DType) Value {
			return t.do(func() (Value, error) { return g.ConvertDType(x, dtype) })
		}
		scores := convert(dot(in[0], []int{3}, []int{0, 2}, in[1], []int{3}, []int{0, 2}), dtypes.Float32)
		factor := t.do(func() (Value, error) {
			c, err := g.Constant(flatOf(dtypes.Float32, scale))
			if err != nil {
				return nil, err
			}
			return g.BroadcastInDim(c, shapes.Make(dtypes.Float32, q.Dimensions[0], q.Dimensions[2], q.Dimensions[1],
				k.Dimensions[1]), nil)
		})
		scores = t.mul(scores, factor)
		shares := convert(t.do(func() (Value, error) { return g.FusedSoftmax(scores, 3) }), q.DType)
		y := dot(shares, []int{3}, []int{0, 1}, in[2], []int{1}, []int{0, 2})
		return t.do(func() (Value, error) { return g.Transpose(y, 0, 2, 1, 3) }), t.err
	}
}

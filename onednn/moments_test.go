package onednn

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// TestSharedMoments has group normalization's mean and variance come from one pass, also where channels lie far from
// their group's mean, and leaves other sums alone.
func TestSharedMoments(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	norm := func(groups int, axes ...int) func([]*Node) []*Node {
		return func(in []*Node) []*Node {
			x := in[0]
			d := x.Shape().Dimensions
			batch, channels := d[0], d[len(d)-1]
			along := func(v *Node) *Node {
				shape := []int{batch, 1, 1, channels}
				return BroadcastToShape(Reshape(v, shape...), x.Shape())
			}
			mean := func(x *Node) *Node {
				m := ReduceAndKeep(Reshape(ReduceMean(x, axes...), batch, groups, -1), ReduceMean, -1)
				return Reshape(BroadcastToDims(m, batch, groups, channels/groups), batch, channels)
			}
			m := mean(x)
			centred := Sub(x, along(m))
			variance := mean(Square(centred))
			return []*Node{m, variance, Mul(centred, along(Rsqrt(AddScalar(variance, 1e-5))))}
		}
	}
	for _, c := range []struct{ batch, height, width, channels, groups int }{{2, 7, 5, 32, 4}, {1, 40, 40, 16, 16},
		{3, 64, 9, 48, 2}, {2, 1, 9, 32, 32}} {
		x := random(r, c.batch, c.height, c.width, c.channels)
		values := floats(t, x)
		for i := range values {
			values[i] += float32(i % c.channels * 3)
		}
		f, apart := norm(c.groups, 1, 2), tensors.FromFlatDataAndDimensions(values, c.batch, c.height, c.width,
			c.channels)
		name := fmt.Sprintf("%+v", c)
		agree(t, name, 1e-5, f, x)
		agree(t, name+" channels apart", 1e-5, f, apart)
		if table := profiled(t, f, x); !strings.Contains(table, "moments") ||
			strings.Contains(table, fmt.Sprintf("ReduceSum (Float32)[%d, %d", c.batch, c.height)) {
			t.Errorf("%s: not one pass:\n%s", name, table)
		}
	}
	// A mean that varies along the axes, differences from a matrix of other values, a single scalar, and a batch's own
	// mean.
	agree(t, "another mean", 1e-5, func(in []*Node) []*Node {
		x, y := in[0], in[1]
		return []*Node{ReduceSum(x, 1), ReduceSum(Square(Sub(x, y)), 1),
			ReduceSum(Square(Sub(x, BroadcastToShape(Slice(y, AxisElem(0)), x.Shape()))), 1)}
	}, random(r, 2, 30, 32), random(r, 2, 30, 32))
	agree(t, "a scalar", 1e-5, func(in []*Node) []*Node {
		return []*Node{ReduceSum(in[0], 1), ReduceSum(Square(SubScalar(in[0], 0.5)), 1)}
	}, random(r, 2, 30, 32))
	agree(t, "all rows' mean", 1e-5, func(in []*Node) []*Node {
		x := in[0]
		m := ReduceAndKeep(x, ReduceMean, 0, 1)
		return []*Node{ReduceSum(x, 1), ReduceSum(Square(Sub(x, BroadcastToShape(m, x.Shape()))), 1)}
	}, random(r, 4, 30, 32))
}

// TestShiftedMoments has the bias before a batch normalization moved to its mean.
func TestShiftedMoments(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 80))
	f := func(in []*Node) []*Node {
		// an array of bfloat16
		x := Add(Sin(ConvertDType(in[0], dtypes.BFloat16)), ConvertDType(in[0], dtypes.BFloat16))
		x = Add(ConvertDType(Concatenate([]*Node{x, x}, 0), dtypes.Float32),
			BroadcastToShape(Reshape(in[1], 1, 1, 32), shapes.Make(dtypes.Float32, 8, 30, 32)))
		y, mean, variance := InternalBatchNormForTraining(x, in[1], in[1], 1e-5, 2)
		return []*Node{y, mean, variance}
	}
	x, v := floats(t, random(r, 4, 30, 32)), floats(t, random(r, 32))
	in := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(x, 4, 30, 32), tensors.FromFlatDataAndDimensions(v, 32)}
	local := func() []any {
		return []any{tensors.FromFlatDataAndDimensions(x, 4, 30, 32), tensors.FromFlatDataAndDimensions(v, 32)}
	}
	if table := profiled(t, f, in...); !strings.Contains(table, "moments (BFloat16)") {
		t.Errorf("the moments are not of the array:\n%s", table)
	}
	// GoMLX's Go backend has no batch normalization: it computes the same from primitives.
	norm := func(in []*Node) []*Node {
		x := Add(in[0], BroadcastToShape(Reshape(in[1], 1, 1, 32), in[0].Shape()))
		y, mean, variance := InternalBatchNormForTraining(x, in[1], in[1], 1e-5, 2)
		return []*Node{y, mean, variance}
	}
	apart := func(in []*Node) []*Node {
		x := Add(in[0], BroadcastToShape(Reshape(in[1], 1, 1, 32), in[0].Shape()))
		along := func(v *Node) *Node { return BroadcastToShape(Reshape(v, 1, 1, 32), x.Shape()) }
		m := ReduceMean(x, 0, 1)
		v := ReduceMean(Square(Sub(x, along(m))), 0, 1)
		return []*Node{Add(Mul(Mul(Sub(x, along(m)), along(Rsqrt(AddScalar(v, 1e-5)))), along(in[1])), along(in[1])), m,
			v}
	}
	ours, reference := backends(t)
	got, want := MustNewExec(ours, norm).MustExec(local()...), MustNewExec(reference, apart).MustExec(local()...)
	for i := range got {
		g, w := floats(t, got[i]), floats(t, want[i])
		for k := range g {
			if d := g[k] - w[k]; d > 1e-5 || d < -1e-5 {
				t.Fatalf("result %d, element %d: got %g, want %g", i, k, g[k], w[k])
			}
		}
	}
}

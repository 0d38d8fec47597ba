package onednn

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// TestGeluGradient compares the derivative of GELU with its definition, on every instruction set and interpreted, and
// of several ways to write GELU.
func TestGeluGradient(t *testing.T) {
	t.Cleanup(func() { limitISA(2) })
	want := func(x float64) float64 {
		if math.IsInf(x, 0) {
			return (1 + math.Copysign(1, x)) / 2
		}
		return (1+math.Erf(x*math.Sqrt(0.5)))/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	}
	x := []float32{0, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32,
		-math.MaxFloat32, math.SmallestNonzeroFloat32}
	for i := range 4001 {
		x = append(x, float32(i-2000)/200)
	}
	erf := func(x *Node) *Node { return Erf(MulScalar(x, math.Sqrt(0.5))) }
	gelus := map[string]func(x *Node) *Node{
		"x·(½·(1+erf))": func(x *Node) *Node { return Mul(x, MulScalar(AddScalar(erf(x), 1), 0.5)) },
		"(½·x)·(1+erf)": func(x *Node) *Node { return Mul(MulScalar(x, 0.5), OnePlus(erf(x))) },
	}
	for level := range ownLevel() + 1 {
		limitISA(level)
		for _, config := range []string{"", "without=code"} {
			configure(t, config)
			for name, gelu := range gelus {
				name := ownISA() + " " + config + " " + name
				f := func(in []*Node) []*Node { return []*Node{Gradient(ReduceAllSum(gelu(in[0])), in[0])[0]} }
				in := tensors.FromFlatDataAndDimensions(x, len(x))
				ours, _ := backends(t)
				out, err := ExecOnce(ours, func(x *Node) *Node { return f([]*Node{x})[0] }, in)
				if err != nil {
					t.Fatal(err)
				}
				for i, got := range floats(t, out) {
					if want := want(float64(x[i])); !same(got, float32(want)) &&
						!(math.Abs(float64(got)-want) <= 2.5e-7) {
						t.Fatalf("%s: of %g: got %g, want %g", name, x[i], got, want)
					}
				}
				if table := profiled(t, f, in); !strings.Contains(table, "GeluGradient") ||
					strings.Contains(table, "Erf") || strings.Contains(table, "Exp") {
					t.Errorf("%s: computed in another way:\n%s", name, table)
				}
			}
		}
	}
	limitISA(2)
	configure(t, "")
	// What no cluster takes stays as it is.
	for _, shape := range [][]int{{0, 3}, {1, 2, 1, 2, 1, 2, 1, 2, 1}} {
		in := tensors.FromFlatDataAndDimensions(make([]float32, shapes.Make(dtypes.Float32, shape...).Size()), shape...)
		ours, _ := backends(t)
		out, err := ExecOnce(ours, func(x *Node) *Node {
			return Gradient(ReduceAllSum(gelus["(½·x)·(1+erf)"](x)),
				x)[0]
		}, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range floats(t, out) {
			if v != 0.5 {
				t.Errorf("%v: the derivative at 0 is %g", shape, v)
			}
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	x1, d := random(r, 40, 50), random(r, 40, 50)
	// Scaled operands and several factors; then what looks like it and is not.
	for name, c := range map[string]struct {
		gelu func(x, d *Node) *Node
		fold bool
	}{
		"scaled": {func(x, d *Node) *Node {
			return Mul(gelus["x·(½·(1+erf))"](MulScalar(x, -1.5)), Mul(d, MulScalar(d, 3)))
		}, true},
		"product":   {func(x, d *Node) *Node { return gelus["(½·x)·(1+erf)"](Mul(x, d)) }, true},
		"wider":     {func(x, d *Node) *Node { return Mul(Mul(x, d), OnePlus(Erf(MulScalar(x, 0.6)))) }, false},
		"minus":     {func(x, d *Node) *Node { return Mul(Mul(x, d), AddScalar(erf(x), -1)) }, false},
		"of others": {func(x, d *Node) *Node { return Mul(d, OnePlus(erf(x))) }, false},
	} {
		f := func(in []*Node) []*Node { return Gradient(ReduceAllSum(c.gelu(in[0], in[1])), in[0], in[1]) }
		agree(t, name, 1e-6, f, x1, d)
		if folded := strings.Contains(profiled(t, f, x1, d), "GeluGradient"); folded != c.fold {
			t.Errorf("%s: folded %v, want %v", name, folded, c.fold)
		}
	}
}

package passes

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/onednn/internal/graph"
	"github.com/unnoise/unnoise/onednn/internal/graph/graphtest"
)

// operations counts the operations of a graph, but for parameters and constants.
func operations(g *graph.Graph) map[string]int {
	n := map[string]int{}
	for _, node := range g.Nodes {
		n[graph.OpName(node.Op)]++
	}
	delete(n, "Parameter")
	delete(n, "Constant")
	return n
}

func float32s(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }

// Each pass finds what it is for, and leaves what only looks like it.
func TestPasses(t *testing.T) {
	convolve := func(in []*Node) *Node { return Convolve(in[0], in[1]).PadSame().Done() }
	channels := func(v *Node) *Node { return ExpandAndBroadcast(v, []int{2, 8, 8, 16}, []int{0, 1, 2}) }
	x, w, b := float32s(2, 8, 8, 16), float32s(3, 3, 16, 16), float32s(16)
	for _, c := range []struct {
		name string
		f    func(in []*Node) []*Node
		in   []shapes.Shape
		want string // numbers of operations
		not  string // operations that are gone
	}{
		{"dead", func(in []*Node) []*Node { Exp(in[0]); return []*Node{Neg(in[0])} }, []shapes.Shape{b}, "Neg 1",
			"Exp"},
		{"same", func(in []*Node) []*Node { return []*Node{Add(Exp(in[0]), Sin(Exp(Identity(in[0]))))} },
			[]shapes.Shape{b}, "Exp 1, Sin 1, Add 1", "Identity"},
		{"gradients of convolutions", func(in []*Node) []*Node {
			return Gradient(ReduceAllSum(Square(convolve(in))),
				in...)
		}, []shapes.Shape{x, w},
			"Conv 1, ConvBackwardData 1, ConvBackwardWeights 1", "ConvGeneral, Reverse"},
		{"a bias", func(in []*Node) []*Node { return []*Node{Add(convolve(in), channels(in[2]))} },
			[]shapes.Shape{x, w, b}, "Conv 1", "Add"},
		{"no bias", func(in []*Node) []*Node { return []*Node{Add(convolve(in), in[2])} },
			[]shapes.Shape{x, w, float32s(1, 8, 1, 1)}, "Conv 1, Add 1", ""},
		{"an activation", func(in []*Node) []*Node {
			return []*Node{ConvertDType(Exp(AddScalar(Mul(convolve(in), channels(in[2])), 0)), dtypes.BFloat16)}
		}, []shapes.Shape{x, w, b}, "Conv 1, Exp 1", ""},
		{"the derivative of GELU", func(in []*Node) []*Node {
			y := Mul(MulScalar(in[0], 0.5), OnePlus(Erf(MulScalar(in[0], 0.7071067811865476))))
			return Gradient(ReduceAllSum(y), in[0])
		}, []shapes.Shape{x}, "GeluGradient 1", "Erf, Exp"},
		{"moments", func(in []*Node) []*Node {
			mean := ReduceAndKeep(in[0], ReduceMean, 1, 2)
			return []*Node{mean, ReduceSum(Square(Sub(in[0], mean)), 1, 2)}
		}, []shapes.Shape{x}, "Moments 1", "ReduceSum"},
		{"conversions", func(in []*Node) []*Node { return []*Node{ReduceMax(ConvertDType(in[0], dtypes.Float32), 0)} },
			[]shapes.Shape{shapes.Make(dtypes.BFloat16, 4, 16)}, "ReduceMax 1", "ConvertDType"},
		{"axes that stand apart", func(in []*Node) []*Node { return []*Node{ReduceMax(in[0], 0, 2)} },
			[]shapes.Shape{x}, "ReduceMax 2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := graphtest.Record(t, c.f, c.in...)
			Run(g, nil, func(pass string) { ordered(t, pass, g) })
			n := operations(g)
			for _, want := range strings.Split(c.want, ", ") {
				op, _, _ := strings.Cut(want, " ")
				if got := fmt.Sprint(op, " ", n[op]); got != want {
					t.Errorf("expected %s, found %s:\n%s", want, got, g)
				}
			}
			for _, op := range strings.Split(c.not, ", ") {
				if n[op] > 0 {
					t.Errorf("expected no %s, found %d:\n%s", op, n[op], g)
				}
			}
		})
	}
}

// ordered checks that every node follows its inputs, as passes must leave it.
func ordered(t *testing.T, pass string, g *graph.Graph) {
	t.Helper()
	seen := map[*graph.Node]bool{}
	for _, n := range g.Nodes {
		for _, r := range n.In {
			if !seen[r.Node] {
				t.Fatalf("after pass %q %s stands before its input %s:\n%s", pass, graph.OpName(n.Op),
					graph.OpName(r.Node.Op), g)
			}
		}
		seen[n] = true
	}
	for _, r := range g.Outputs {
		if !seen[r.Node] {
			t.Fatalf("after pass %q an output is computed nowhere:\n%s", pass, g)
		}
	}
}

// A pass that is left out does nothing.
func TestWithout(t *testing.T) {
	f := func(in []*Node) []*Node { return []*Node{Add(Exp(in[0]), Exp(in[0]))} }
	for _, name := range Names() {
		if slices.Contains([]string{"dead", "convolution gradients", "reductions"}, name) {
			t.Errorf("%q can be left out", name)
		}
	}
	g := graphtest.Record(t, f, float32s(5))
	Run(g, map[string]bool{"same": true}, func(pass string) {
		if pass == "same" {
			t.Error("the pass ran")
		}
	})
	if n := operations(g)["Exp"]; n != 2 {
		t.Errorf("expected both Exp, found %d", n)
	}
}

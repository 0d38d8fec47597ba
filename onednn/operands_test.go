package onednn_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/onednn"
)

func newBackend(t testing.TB, config string) compute.Backend {
	t.Helper()
	b, err := onednn.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return b
}

func newReference(t testing.TB) compute.Backend {
	t.Helper()
	b, err := gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return b
}

// input is a parameter's value.
type input struct {
	dtype  dtypes.DType
	dims   []int
	values []float64
}

// evaluate builds, compiles and runs a graph once.
func evaluate(b compute.Backend, in []input, f func(x []*Node) []*Node) (out [][]float64, err error) {
	c := &computation{backend: b}
	defer c.finalize()
	err = try(func() {
		c.graph = NewGraph(b, "test")
		var x []*Node
		for i, v := range in {
			x = append(x, Parameter(c.graph, fmt.Sprint("x", i), shapes.Make(v.dtype, v.dims...)))
		}
		if err := c.graph.Compile(f(x)...); err != nil {
			panic(err)
		}
		for _, v := range in {
			buffer, err := b.BufferFromFlatData(0, flatOf(v.dtype, v.values), shapes.Make(v.dtype, v.dims...))
			if err != nil {
				panic(err)
			}
			c.inputs = append(c.inputs, buffer)
		}
	})
	if err != nil {
		return nil, err
	}
	return c.run(true)
}

// TestSpecialOperands compares operations on NaN, infinities, zeros and numbers at the ends of the range.
func TestSpecialOperands(t *testing.T) {
	reference := newReference(t)
	for _, c := range contenders(t) {
		t.Run(c.name, func(t *testing.T) {
			onednn.LimitISA(c.isa)
			defer onednn.LimitISA(2)
			specialOperands(t, c.backend, reference)
		})
	}
}

func specialOperands(t *testing.T, ours, reference compute.Backend) {
	special := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1, -1, 2, -2, 0.5, -0.5, 3,
		2.5, -2.5, 100, -100, 1e4, -1e4, 1e-4, -1e-4}
	var left, right []float64
	for _, x := range special {
		for _, y := range special {
			left, right = append(left, x), append(right, y)
		}
	}
	one := func(f func(*Node) *Node) func([]*Node) []*Node {
		return func(x []*Node) []*Node { return []*Node{f(x[0])} }
	}
	check := func(name string, dtype dtypes.DType, f func(x []*Node) []*Node, dims []int, args ...[]float64) {
		var in []input
		for _, v := range args {
			in = append(in, input{dtype, dims, v})
		}
		want, err := evaluate(reference, in, f)
		if err != nil {
			return // nothing to compare with
		}
		got, err := evaluate(ours, in, f)
		if err != nil {
			t.Errorf("%s of %s: %v", name, dtype, err)
			return
		}
		n := len(args[0]) / len(want[0]) // elements that make one of the result
		for i, w := range want[0] {
			g, at := got[0][i], []float64{}
			for _, v := range args {
				at = append(at, v[i*n:(i+1)*n]...)
			}
			if name == "Sign" && math.IsNaN(at[0]) {
				w = at[0] // as with XLA; 0 on the Go backend
			}
			tolerance := 16 * math.Ldexp(max(math.Abs(w), 1e-3), -digits(dtype))
			if dtype == dtypes.Float16 || name == "conversion to Float16" {
				tolerance += 1e-4 // the Go backend has no Float16 below 2^-14
			}
			if name == "Gelu" && !math.IsInf(at[0], 0) {
				tolerance += 2 * math.Abs(math.Ldexp(at[0], -digits(dtype)))
			}
			if same := math.IsNaN(g) == math.IsNaN(w) && (math.IsNaN(w) || g == w ||
				math.Abs(g-w) <= tolerance); !same {
				t.Errorf("%s of %s at %v: got %v, want %v", name, dtype, at, g, w)
			}
		}
	}
	n := []int{len(special)}
	for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16, dtypes.Float16} {
		check("IsNaN", dtype, one(IsNaN), n, special)
		check("IsFinite", dtype, one(IsFinite), n, special)
		for name, f := range unaryBuilders {
			if name != "LogicalNot" {
				check(name, dtype, one(f), n, special)
			}
		}
		for _, to := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16, dtypes.Float16, dtypes.Float64,
			dtypes.Bool} {
			check("conversion to "+to.String(), dtype, one(func(x *Node) *Node { return ConvertDType(x, to) }), n,
				special)
		}
		for name, f := range binaryBuilders {
			if !strings.HasPrefix(name, "Logical") {
				check(name, dtype, func(x []*Node) []*Node { return []*Node{f(x[0], x[1])} }, []int{len(left)}, left,
					right)
			}
		}
		for name, f := range reduceBuilders {
			if strings.HasPrefix(name, "Reduce") {
				check(name, dtype, one(func(x *Node) *Node { return f(x, 1) }), []int{len(left) / 4, 4}, left)
				check(name, dtype, one(func(x *Node) *Node { return f(x, 1) }), []int{len(left), 2},
					interleaved(left, right))
			}
		}
	}
}

func interleaved(x, y []float64) (v []float64) {
	for i := range x {
		v = append(v, x[i], y[i])
	}
	return v
}

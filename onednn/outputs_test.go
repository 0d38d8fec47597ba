package onednn_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

func numbers(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(i*7%23) - 11
	}
	return v
}

// same runs a graph of exact values on both backends.
func same(t *testing.T, name string, in []input, f func(x []*Node) []*Node) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		want, err := evaluate(newReference(t), in, f)
		if err != nil {
			t.Fatal("the reference: ", err)
		}
		got, err := evaluate(newBackend(t, ""), in, f)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, slices.Equal[[]float64]) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	})
}

// TestOutputs returns what needs no computation: parameters, constants, parts and views of them, one result twice.
func TestOutputs(t *testing.T) {
	x := input{dtypes.Float32, []int{4, 6}, numbers(24)}
	i := input{dtypes.Int32, []int{4, 6}, numbers(24)}
	for _, in := range []input{x, i} {
		name := in.dtype.String() + " "
		one := []input{in}
		same(t, name+"parameter", one, func(x []*Node) []*Node { return x })
		same(t, name+"parameter twice", one, func(x []*Node) []*Node { return []*Node{x[0], x[0]} })
		same(t, name+"views", one, func(x []*Node) []*Node {
			return []*Node{Reshape(x[0], 2, 12), x[0], Reshape(x[0], 24), ExpandAxes(x[0], 0), Identity(x[0])}
		})
		same(t, name+"slices", one, func(x []*Node) []*Node {
			return []*Node{Slice(x[0], AxisRange(1, 3)), Slice(x[0], AxisRange(0, 2)),
				Slice(x[0], AxisElem(3), AxisRange(2, 5)), Slice(x[0], AxisRange(), AxisRange().Stride(2))}
		})
		same(t, name+"a slice of a slice", one, func(x []*Node) []*Node {
			return []*Node{Slice(Reshape(Slice(x[0], AxisRange(1, 3)), 12), AxisRange(3, 9))}
		})
		same(t, name+"computed, whole and in parts", one, func(x []*Node) []*Node {
			y := Add(x[0], x[0])
			return []*Node{Slice(y, AxisRange(2)), y, Reshape(y, 24), y, Slice(y, AxisRange(0, 1)), Transpose(y, 0, 1)}
		})
		same(t, name+"only a part", one,
			func(x []*Node) []*Node { return []*Node{Slice(Mul(x[0], x[0]), AxisRange(1, 2))} })
		same(t, name+"constants", one, func(x []*Node) []*Node {
			c := ConvertDType(Const(x[0].Graph(), []float32{1, 2, 3, 4}), x[0].DType())
			return []*Node{c, Reshape(c, 2, 2), Slice(c, AxisRange(1, 3)),
				Add(x[0], Scalar(x[0].Graph(), x[0].DType(), 1)), c}
		})
		same(t, name+"broadcasts", one, func(x []*Node) []*Node {
			row := Slice(x[0], AxisElem(1))
			b := BroadcastToDims(row, 3, 6)
			return []*Node{b, row, BroadcastPrefix(b, 2), Add(b, b)}
		})
		same(t, name+"an unused parameter", []input{in, in}, func(x []*Node) []*Node { return []*Node{Neg(x[1])} })
	}
	same(t, "an axis of many", []input{{dtypes.Float32, []int{1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 2}, numbers(64)}},
		func(x []*Node) []*Node {
			y := TransposeAllAxes(x[0], 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
			return []*Node{y, Add(y, y), ReduceSum(x[0], 1, 5, 10), Reverse(x[0], 1, 3),
				Mul(x[0], ReduceAndKeep(x[0], ReduceSum, 1, 5, 9))}
		})
	many := []int{2, 2, 2, 2, 2, 2, 2, 2, 2, 2}
	alternate := []int{1, 2, 1, 2, 1, 2, 1, 2, 1, 2}
	same(t, "many axes apart", []input{{dtypes.Float32, many, numbers(1024)}, {dtypes.Float32, alternate, numbers(32)}},
		func(x []*Node) []*Node {
			y := Mul(AddScalar(x[0], 1), x[1])
			return []*Node{y, ReduceSum(x[0], 0, 2, 4, 6, 8), BroadcastToDims(x[1], many...),
				TransposeAllAxes(y, 9, 7, 5, 3, 1, 0, 2, 4, 6, 8), ReduceAllSum(y)}
		})
	same(t, "nothing in it", []input{{dtypes.Float32, []int{0, 3}, nil}, {dtypes.Float32, []int{2, 3}, numbers(6)}},
		func(x []*Node) []*Node {
			return []*Node{Exp(x[0]), Concatenate([]*Node{x[0], x[1]}, 0),
				Concatenate([]*Node{x[0], AddScalar(x[1], 1)}, 0), ReduceSum(x[0], 0), ReduceSum(x[0], 1)}
		})
	same(t, "moments of nothing", []input{{dtypes.Float32, []int{0, 5, 16}, nil}}, func(x []*Node) []*Node {
		mean := DivScalar(ReduceAndKeep(x[0], ReduceSum, 1), 5)
		return []*Node{ReduceSum(x[0], 1), ReduceSum(Square(Sub(x[0], mean)), 1)}
	})
	same(t, "many operands", []input{x}, func(x []*Node) []*Node { // more registers than a cluster has
		y := x[0]
		var out []*Node
		for k := range 150 {
			v, c := numbers(24), make([]float64, 24)
			v[k%24] += float64(k)
			for i := range c {
				c[i] = float64(k >> (i % 8) & 1)
			}
			y = Where(constant(y.Graph(), dtypes.Bool, c, []int{4, 6}), constant(y.Graph(), y.DType(), v, []int{4, 6}),
				y)
			out = append(out, y)
		}
		return out
	})
}

// TestControlFlow runs functions and closures.
func TestControlFlow(t *testing.T) {
	x := input{dtypes.Float32, []int{3}, []float64{1, 2, 3}}
	same(t, "while", []input{x, {dtypes.Int32, nil, []float64{5}}}, func(in []*Node) []*Node {
		g, scale := in[0].Graph(), MulScalar(in[0], 2) // captured
		cond := NewClosure(g, func(g *Graph) []*Node {
			i := Parameter(g, "i", shapes.Make(dtypes.Int32))
			_ = Parameter(g, "y", shapes.Make(dtypes.Float32, 3))
			return []*Node{LessThan(i, in[1])}
		})
		body := NewClosure(g, func(g *Graph) []*Node {
			i := Parameter(g, "i", shapes.Make(dtypes.Int32))
			y := Parameter(g, "y", shapes.Make(dtypes.Float32, 3))
			return []*Node{AddScalar(i, 1), Add(Mul(y, MinusOne(MulScalar(y, 0.25))), scale)}
		})
		out := While(cond, body, Const(g, int32(0)), Neg(in[0]))
		return append(out, Mul(out[1], scale))
	})
	for _, p := range []float64{0, 1} {
		same(t, "if", []input{x, {dtypes.Bool, nil, []float64{p}}}, func(in []*Node) []*Node {
			g, y := in[0].Graph(), Square(in[0])
			out := If(in[1], NewClosure(g, func(g *Graph) []*Node { return []*Node{Add(y, in[0]), ReduceAllSum(y)} }),
				NewClosure(g, func(g *Graph) []*Node { return []*Node{in[0], ReduceAllMax(y)} }))
			return append(out, Add(out[0], in[0]))
		})
	}
	same(t, "call", []input{x}, func(in []*Node) []*Node {
		f := NewFunction(in[0].Graph(), "f", func(g *Graph) []*Node {
			a, b := Parameter(g, "a", shapes.Make(dtypes.Float32, 3)), Parameter(g, "b", shapes.Make(dtypes.Float32, 3))
			return []*Node{Add(Mul(a, b), a), a, Const(g, float32(3))}
		})
		out := f.Call(in[0], Neg(in[0]))
		return append(append(out, f.Call(out[0], out[1])...), f.Call(in[0], in[0])...)
	})
	same(t, "sort", []input{{dtypes.Float32, []int{4, 6}, numbers(24)}}, func(in []*Node) []*Node {
		values, at := TopK(in[0], 3, 1)
		return []*Node{Sort(in[0], 0, true), Sort(Neg(in[0]), 1, false), values, at}
	})
}

// TestNestedClosures has a branch in a loop's body, with values of both functions around it. GoMLX's graphs can't say
// that.
func TestNestedClosures(t *testing.T) {
	for _, b := range []compute.Backend{newReference(t), newBackend(t, "")} {
		builder := b.Builder("nested")
		f := builder.Main()
		shape := shapes.Make(dtypes.Float32)
		must := func(v compute.Value, err error) compute.Value {
			if err != nil {
				t.Fatal(b.Name(), ": ", err)
			}
			return v
		}
		closure := func(in compute.Function, define func(c compute.Function) []compute.Value) compute.Function {
			c, err := in.Closure()
			if err == nil {
				err = c.Return(define(c), nil)
			}
			if err != nil {
				t.Fatal(b.Name(), ": ", err)
			}
			return c
		}
		x := must(f.Parameter("x", shape, nil))
		double := must(f.Add(x, x))
		cond := closure(f, func(c compute.Function) []compute.Value {
			return []compute.Value{must(c.LessThan(must(c.Parameter("y", shape, nil)),
				must(c.Constant([]float32{100}))))}
		})
		body := closure(f, func(c compute.Function) []compute.Value {
			y := must(c.Parameter("y", shape, nil))
			small := must(c.LessThan(y, must(c.Constant([]float32{10}))))
			next, err := c.If(small,
				closure(c, func(c compute.Function) []compute.Value { return []compute.Value{must(c.Add(y, double))} }),
				closure(c, func(c compute.Function) []compute.Value { return []compute.Value{must(c.Mul(y, x))} }))
			if err != nil {
				t.Fatal(b.Name(), ": ", err)
			}
			return next
		})
		out, err := f.While(cond, body, x)
		if err == nil {
			err = f.Return(out, nil)
		}
		if err != nil {
			t.Fatal(b.Name(), ": ", err)
		}
		e, err := builder.Compile()
		if err != nil {
			t.Fatal(b.Name(), ": ", err)
		}
		in, err := b.BufferFromFlatData(0, []float32{3}, shape)
		if err != nil {
			t.Fatal(err)
		}
		if got := execute(t, e, []compute.Buffer{in}, nil)[0][0]; got != 135 { // 3, 9, 15, 45, 135
			t.Errorf("%s: got %g", b.Name(), got)
		}
		e.Finalize()
	}
}

// execute runs a compiled computation without GoMLX's layer above it.
func execute(t testing.TB, e compute.Executable, in []compute.Buffer, donate []bool) [][]float64 {
	t.Helper()
	buffers, err := e.Execute(in, donate, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]float64
	for _, b := range buffers {
		flat, err := b.Data()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, float64s(flat))
		if err := b.Finalize(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// affine compiles a·x + b with a = 2, b = offset, and x itself, on n numbers.
func affine(t testing.TB, b compute.Backend, n int, offset float32) compute.Executable {
	t.Helper()
	builder := b.Builder("affine")
	f := builder.Main()
	must := func(v compute.Value, err error) compute.Value {
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	x := must(f.Parameter("x", shapes.Make(dtypes.Float32, n), nil))
	two, shift := must(f.Constant([]float32{2})), must(f.Constant([]float32{offset}))
	y := must(f.Add(must(f.Mul(x, two)), shift))
	if err := f.Return([]compute.Value{y, x, must(f.ReduceSum(y))}, nil); err != nil {
		t.Fatal(err)
	}
	e, err := builder.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func buffer(t testing.TB, b compute.Backend, v []float64) compute.Buffer {
	t.Helper()
	x, err := b.BufferFromFlatData(0, flatOf(dtypes.Float32, v), shapes.Make(dtypes.Float32, len(v)))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestDonation: inputs that are not donated stay as they are, those that are can't be used again.
func TestDonation(t *testing.T) {
	b := newBackend(t, "")
	const n = 1000
	e := affine(t, b, n, 1)
	defer e.Finalize()
	v := numbers(n)
	x := buffer(t, b, v)
	for range 3 {
		out := execute(t, e, []compute.Buffer{x}, nil)
		if !slices.Equal(out[1], v) {
			t.Fatal("the parameter as an output has other values")
		}
		// The outputs' storage is used again here: the input must not share it.
		again := buffer(t, b, make([]float64, n))
		if after, err := x.Data(); err != nil || !slices.Equal(float64s(after), v) {
			t.Fatalf("an input that was not donated has changed (%v)", err)
		}
		if err := again.Finalize(); err != nil {
			t.Fatal(err)
		}
	}
	held, err := e.Execute([]compute.Buffer{x}, []bool{true}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Data(); err == nil {
		t.Error("a donated buffer can still be read")
	}
	if _, err := e.Execute([]compute.Buffer{x}, nil, 0); err == nil {
		t.Error("a donated buffer can be an input again")
	}
	other := buffer(t, b, make([]float64, n)) // probably in what was x's storage
	for i, want := range [][]float64{nil, v} {
		if flat, err := held[i].Data(); err != nil || want != nil && !slices.Equal(float64s(flat), want) {
			t.Errorf("output %d shares the storage of a donated input (%v)", i, err)
		}
	}
	// One buffer as two inputs, donated twice.
	two, err := b.BufferFromFlatData(0, []float32{1, 2}, shapes.Make(dtypes.Float32, 2))
	if err != nil {
		t.Fatal(err)
	}
	g := NewGraph(b, "sum")
	p := func(name string) *Node { return Parameter(g, name, shapes.Make(dtypes.Float32, 2)) }
	if err := g.Compile(Add(p("x"), p("y"))); err != nil {
		t.Fatal(err)
	}
	defer g.Finalize()
	out := g.RunWithBuffers([]compute.Buffer{two, two}, []bool{true, true}, 0)
	if got := out[0].Value().([]float32); !slices.Equal(got, []float32{2, 4}) {
		t.Errorf("x + x = %v, want [2 4]", got)
	}
	_ = other.Finalize()
}

// TestRefusals: mistakes are errors.
func TestRefusals(t *testing.T) {
	b, other := newBackend(t, ""), newReference(t)
	e := affine(t, b, 4, 1)
	x := buffer(t, b, []float64{1, 2, 3, 4})
	for what, in := range map[string][]compute.Buffer{
		"too many inputs": {x, x}, "no input": {}, "a nil buffer": {nil}, "another size": {buffer(t, b, []float64{1})},
		"another backend's buffer": {buffer(t, other, []float64{1, 2, 3, 4})},
	} {
		if _, err := e.Execute(in, nil, 0); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := e.Execute([]compute.Buffer{x}, []bool{true, false}, 0); err == nil {
		t.Error("too many flags: no error")
	}
	for _, flat := range []any{nil, float32(1)} {
		if _, err := b.BufferFromFlatData(0, flat, shapes.Make(dtypes.Float32, 0)); err == nil {
			t.Errorf("a buffer of %v: no error", flat)
		}
	}
	if _, err := b.BufferFromFlatData(0, []int32{1}, shapes.Make(dtypes.Float32, 1)); err == nil {
		t.Error("integers in a buffer of floats: no error")
	}
	if err := x.ToFlatData(make([]int32, 4)); err == nil {
		t.Error("floats read as integers: no error")
	}
	if got := execute(t, e, []compute.Buffer{x}, nil); got[0][3] != 9 || math.Abs(got[2][0]-24) > 0 {
		t.Errorf("after the refusals: got %v", got)
	}
}

// Products of more axes than native code has room for.
func TestManyAxes(t *testing.T) {
	same(t, "nine axes", []input{{dtypes.Float32, slices.Repeat([]int{2}, 9), numbers(512)}, {dtypes.Float32,
		[]int{2, 2, 2, 2}, numbers(16)}},
		func(x []*Node) []*Node { return []*Node{Einsum("abcdefghi,aceg->bdfhi", x[0], x[1])} })
	same(t, "five batch axes apart", []input{{dtypes.Float32, []int{2, 2, 2, 2, 2, 2, 3}, numbers(192)},
		{dtypes.Float32, []int{2, 2, 2, 2, 2, 3, 2}, numbers(192)}},
		func(x []*Node) []*Node { return []*Node{Einsum("abcdemk,edcbakn->abcdemn", x[0], x[1])} })
}

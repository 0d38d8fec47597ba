package onednn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// configuration is that of the backends under test.
var configuration string

func backends(t testing.TB) (ours, reference compute.Backend) {
	t.Helper()
	ours, err := New(configuration)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ours.Finalize)
	reference, err = gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	return ours, reference
}

func random(r *rand.Rand, dims ...int) *tensors.Tensor {
	v := make([]float32, shapes.Make(dtypes.Float32, dims...).Size())
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return tensors.FromFlatDataAndDimensions(v, dims...)
}

func floats(t testing.TB, x *tensors.Tensor) []float32 {
	t.Helper()
	v, err := tensors.CopyFlatData[float32](x)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// agree runs a graph on both backends and compares, relative to each output's largest value.
func agree(t *testing.T, name string, tolerance float64, f func(in []*Node) []*Node, in ...*tensors.Tensor) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		ours, reference := backends(t)
		args := make([]any, len(in))
		for i, x := range in {
			args[i] = x
		}
		run := func(b compute.Backend) []*tensors.Tensor {
			exec, err := NewExec(b, f)
			if err != nil {
				t.Fatal(err)
			}
			defer exec.Finalize()
			local := make([]any, len(in))
			for i, x := range in {
				c, err := x.LocalClone()
				if err != nil {
					t.Fatal(err)
				}
				local[i] = c
			}
			out, err := exec.Exec(local...)
			if err != nil {
				t.Fatalf("%s: %v", b.Name(), err)
			}
			return out
		}
		got, want := run(ours), run(reference)
		for i := range want {
			g, w := floats(t, got[i]), floats(t, want[i])
			scale := 1e-6
			for _, v := range w {
				scale = max(scale, math.Abs(float64(v)))
			}
			for j := range w {
				if d := math.Abs(float64(g[j]-w[j])) / scale; !(d <= tolerance) {
					t.Fatalf("output %d element %d: got %g, want %g", i, j, g[j], w[j])
				}
			}
		}
	})
}

// withGradients returns the outputs of f's first result and the gradients of a weighted sum of it.
func withGradients(f func(in []*Node) *Node) func(in []*Node) []*Node {
	return func(in []*Node) []*Node {
		y := f(in)
		weights := Sin(IotaFull(y.Graph(), y.Shape()))
		loss := ReduceAllSum(Mul(y, weights))
		return append([]*Node{y}, Gradient(loss, in...)...)
	}
}

func TestConvolutions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		size, in, out, kernel, stride int
		pad                           [2]int
	}{
		{8, 3, 5, 3, 1, [2]int{1, 1}}, {8, 16, 32, 3, 2, [2]int{1, 1}}, {9, 4, 4, 3, 2, [2]int{1, 1}},
		{7, 1, 16, 3, 1, [2]int{1, 1}},
		{6, 16, 1, 3, 1, [2]int{1, 1}}, {8, 8, 8, 1, 1, [2]int{0, 0}}, {8, 4, 6, 5, 1, [2]int{2, 2}},
		{8, 4, 6, 3, 1, [2]int{0, 0}}, {8, 4, 6, 3, 1, [2]int{1, 0}},
	} {
		agree(t, fmt.Sprintf("%+v", c), 2e-5, withGradients(func(in []*Node) *Node {
			return Add(Convolve(in[0], in[1]).Strides(c.stride).PaddingPerDim([][2]int{c.pad, c.pad}).Done(),
				ExpandLeftToRank(in[2], 4))
		}), random(r, 3, c.size, c.size, c.in), random(r, c.kernel, c.kernel, c.in, c.out), random(r, c.out))
	}
}

func TestElementwise(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	x, y, v, m := random(r, 5, 7, 33), random(r, 5, 7, 33), random(r, 33), random(r, 5, 1, 33)
	agree(t, "arithmetic", 2e-6, withGradients(func(in []*Node) *Node {
		return Div(Mul(Add(in[0], ExpandLeftToRank(in[2], 3)), Tanh(in[1])), AddScalar(Exp(in[3]), 1))
	}), x, y, v, m)
	agree(t, "selection", 1e-6, withGradients(func(in []*Node) *Node {
		return Where(GreaterThan(in[0], in[1]), Max(in[0], ExpandLeftToRank(in[2], 3)), Neg(Sqrt(Abs(in[1]))))
	}), x, y, v)
	agree(t, "erf", 2e-6, withGradients(func(in []*Node) *Node { return Mul(Erf(in[0]), Sigmoid(in[1])) }), x, y)
	agree(t, "sums", 2e-6, withGradients(func(in []*Node) *Node {
		s := ReduceSum(Mul(in[0], in[1]), 0, 1)
		return Mul(in[0], ExpandLeftToRank(Add(s, ReduceSum(Exp(in[0]), 0, 1)), 3))
	}), x, y)
	agree(t, "means", 2e-6, withGradients(func(in []*Node) *Node {
		return Add(ReduceAllMean(Square(in[0])), ReduceMax(ReduceMean(in[1], 0, 2), 0))
	}), x, y)
}

func TestProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	agree(t, "matrix", 1e-5, withGradients(func(in []*Node) *Node { return Dot(in[0], in[1]).Product() }),
		random(r, 17, 33), random(r, 33, 9))
	agree(t, "batched", 1e-5, withGradients(func(in []*Node) *Node { return Einsum("bqhd,bkhd->bhqk", in[0], in[1]) }),
		random(r, 2, 5, 3, 8), random(r, 2, 7, 3, 8))
}

func TestMovement(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	agree(t, "mix", 1e-6, withGradients(func(in []*Node) *Node {
		a := Concatenate([]*Node{in[0], in[1]}, -1)
		b := TransposeAllAxes(Reshape(a, 4, 3, 2, 2, 2), 0, 3, 1, 4, 2)
		c := Slice(b, AxisRange(1, 3), AxisRange(), AxisRange().Stride(2))
		return Mul(c, Reverse(StopGradient(c), 1))
	}), random(r, 4, 3, 5), random(r, 4, 3, 3))
	agree(t, "windows", 1e-6, func(in []*Node) []*Node {
		x := in[0]
		return []*Node{
			Pad(x, Scalar(x.Graph(), x.DType(), 2.5), PadAxis{Start: 1, End: 2}, PadAxis{Interior: 2}, PadAxis{End: 1}),
			BroadcastToDims(Slice(x, AxisElem(1), AxisRange(), AxisElem(2)), 6, 3, 4),
			Concatenate([]*Node{Slice(x, AxisRange(0, 2)), Reverse(x, 0, 2)}, 0),
		}
	}, random(r, 4, 3, 5))
}

// A value may go to more places than a cluster has registers.
func TestConcatenateManyTimes(t *testing.T) {
	agree(t, "400 times", 1e-6, func(in []*Node) []*Node {
		e := Exp(in[0])
		return []*Node{Concatenate(slices.Repeat([]*Node{e}, 400), 0), Concatenate(slices.Repeat([]*Node{e}, 3), 1)}
	}, random(rand.New(rand.NewPCG(3, 9)), 2, 48))
}

// TestBatchNorm compares with the same mathematics written as primitives, in float64 on the host.
func TestBatchNorm(t *testing.T) {
	for _, dims := range [][]int{{3, 4, 5, 7}, {1, 7}, {7}} {
		t.Run(fmt.Sprint(dims), func(t *testing.T) { testBatchNorm(t, dims) })
	}
}

// testBatchNorm normalizes the last of the axes.
func testBatchNorm(t *testing.T, dims []int) {
	ours, _ := backends(t)
	r := rand.New(rand.NewPCG(9, 10))
	const epsilon = 1e-5
	axis := len(dims) - 1
	channels := dims[axis]
	rows := shapes.Make(dtypes.Float32, dims[:axis]...).Size()
	n := float64(rows)
	x, scale, offset, weights := random(r, dims...), random(r, channels), random(r, channels), random(r, dims...)
	exec, err := NewExec(ours, func(in []*Node) []*Node {
		y, mean, variance := InternalBatchNormForTraining(in[0], in[1], in[2], epsilon, axis)
		loss := ReduceAllSum(Mul(y, in[3]))
		return append([]*Node{y, mean, variance}, Gradient(loss, in[:3]...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Exec(x, scale, offset, weights)
	if err != nil {
		t.Fatal(err)
	}
	fx, fs, fo, fw := floats(t, x), floats(t, scale), floats(t, offset), floats(t, weights)
	for c := range channels {
		mean, variance, dScale, dOffset := 0.0, 0.0, 0.0, 0.0
		for i := range rows {
			mean += float64(fx[i*channels+c]) / n
		}
		for i := range rows {
			d := float64(fx[i*channels+c]) - mean
			variance += d * d / n
		}
		inverse := 1 / math.Sqrt(variance+epsilon)
		for i := range rows {
			dOffset += float64(fw[i*channels+c])
			dScale += float64(fw[i*channels+c]) * (float64(fx[i*channels+c]) - mean) * inverse
		}
		check := func(what string, got float32, want float64) {
			t.Helper()
			if d := math.Abs(float64(got) - want); !(d <= 2e-5*max(1, inverse, math.Abs(want))) {
				t.Errorf("channel %d %s: got %g, want %g", c, what, got, want)
			}
		}
		check("mean", floats(t, out[1])[c], mean)
		check("variance", floats(t, out[2])[c], variance)
		check("∂scale", floats(t, out[4])[c], dScale)
		check("∂offset", floats(t, out[5])[c], dOffset)
		for i := range rows {
			y := (float64(fx[i*channels+c]) - mean) * inverse
			check("normalized", floats(t, out[0])[i*channels+c], y*float64(fs[c])+float64(fo[c]))
			check("∂x", floats(t, out[3])[i*channels+c],
				float64(fs[c])*inverse*(float64(fw[i*channels+c])-dOffset/n-y*dScale/n))
		}
	}
}

// What is added to a convolution is its bias only if it is a vector along the channels: not one number for all, nor a
// vector along pixels of which there are as many.
func TestSpreadAdditions(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	x, w := random(r, 2, 5, 5, 3), random(r, 3, 3, 3, 5)
	for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16} {
		tolerance := 2e-5
		if dtype == dtypes.BFloat16 {
			tolerance = 0.03
		}
		conv := func(in []*Node) *Node {
			return ConvertDType(Convolve(ConvertDType(in[0], dtype), ConvertDType(in[1], dtype)).PadSame().Done(),
				dtypes.Float32)
		}
		for name, add := range map[string]struct {
			dims   []int
			spread func(v *Node) *Node
		}{
			"channels": {[]int{5}, func(v *Node) *Node {
				return ExpandAndBroadcast(v, []int{2, 5, 5, 5},
					[]int{0, 1, 2})
			}},
			"rows": {[]int{5}, func(v *Node) *Node {
				return ExpandAndBroadcast(v, []int{2, 5, 5, 5},
					[]int{0, 2, 3})
			}},
			"columns": {[]int{5}, func(v *Node) *Node {
				return ExpandAndBroadcast(v, []int{2, 5, 5, 5},
					[]int{0, 1, 3})
			}},
			"one number": {nil, func(v *Node) *Node { return BroadcastToDims(v, 2, 1, 1, 1) }},
			"one each": {[]int{2}, func(v *Node) *Node {
				return ExpandAndBroadcast(v, []int{2, 1, 1, 1},
					[]int{1, 2, 3})
			}},
		} {
			agree(t, fmt.Sprint(dtype, ", ", name), tolerance,
				func(in []*Node) []*Node { return []*Node{Add(conv(in), add.spread(in[2]))} }, x, w,
				random(r, add.dims...))
			agree(t, fmt.Sprint(dtype, ", scaled by ", name), tolerance,
				func(in []*Node) []*Node { return []*Node{Add(Mul(conv(in), add.spread(in[2])), add.spread(in[3]))} },
				x, w, random(r, add.dims...), random(r, add.dims...))
		}
	}
}

// A window that is turned along one axis is no gradient's.
func TestTurnedWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for _, axes := range [][]int{{0}, {1}, {0, 1}, {2}, {0, 1, 3}} {
		agree(t, fmt.Sprint(axes), 2e-5,
			func(in []*Node) []*Node { return []*Node{Convolve(in[0], Reverse(in[1], axes...)).PadSame().Done()} },
			random(r, 2, 5, 6, 3), random(r, 3, 3, 3, 4))
	}
}

// Sums and extremes of more than one thread takes at once, and that don't part evenly.
func TestLongReductions(t *testing.T) {
	v := make([]float32, 200_003)
	for i := range v {
		v[i] = float32(i % 3)
	}
	a, b := make([]float32, 20_011), make([]float32, 601*40)
	for i := range a {
		a[i] = float32(i%7) - 3
	}
	a[len(a)-1] = 100
	for i := range b {
		b[i] = float32(i % 5)
		if i >= 600*40 {
			b[i] = -100
		}
	}
	for _, threads := range []string{"1", "2", "5"} {
		t.Run(threads, func(t *testing.T) {
			configure(t, "threads="+threads)
			agree(t, "one sum", 0, func(in []*Node) []*Node { return []*Node{ReduceAllSum(Square(in[0]))} },
				tensors.FromFlatDataAndDimensions(v, len(v)))
			agree(t, "sums of columns", 0, func(in []*Node) []*Node { return []*Node{ReduceSum(Square(in[0]), 0)} },
				tensors.FromFlatDataAndDimensions(v[:8192], 2, 4096))
			agree(t, "extremes", 0, func(in []*Node) []*Node {
				return []*Node{ReduceAllMax(in[0]), ReduceAllMin(in[0]), ReduceMin(in[1], 0), ReduceMax(in[1], 0),
					ReduceSum(in[1], 0), ReduceSum(in[1], 1)}
			}, tensors.FromFlatDataAndDimensions(a, len(a)), tensors.FromFlatDataAndDimensions(b, 601, 40))
		})
	}
}

// Sums of groups of rows, on every instruction set, with threads that share a group: over a chain, over a product, and
// beside a sum of all of them.
func TestSumsOfGroups(t *testing.T) {
	test := func(t *testing.T) {
		for _, s := range [][]int{{3, 5, 7, 8}, {5, 20, 9}, {2, 4, 6, 5, 32}, {2, 600, 24}} {
			r := rand.New(rand.NewPCG(3, uint64(len(s))))
			agree(t, fmt.Sprint(s), 2e-5, func(in []*Node) []*Node {
				x, y := in[0], in[1]
				last := len(s) - 2
				d := Add(Mul(x, y), x)
				sums := []*Node{ReduceSum(d, last), ReduceSum(Mul(d, y), last)}
				if last > 1 {
					sums = append(sums, ReduceSum(d, last-1, last), ReduceSum(d, 0, 1))
				}
				return append(sums, ReduceAllSum(d), d)
			}, random(r, s...), random(r, s...))
		}
	}
	everyISA(t, test)
	configure(t, "threads=3")
	test(t)
}

// A chain over two arrays that is summed up and then read again is not written to memory.
func TestChainsAfterSums(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	f := func(in []*Node) []*Node {
		silu := func(x *Node) *Node { return Mul(x, Logistic(x)) }
		y := Convolve(in[0], in[1]).PadSame().Done()
		m := ReduceAndKeep(y, ReduceMean, 1, 2)
		y = Mul(Sub(y, m), Inverse(Sqrt(AddScalar(ReduceAndKeep(Square(Sub(y, m)), ReduceMean, 1, 2), 1))))
		y = Convolve(silu(y), in[1]).PadSame().Done()
		return Gradient(ReduceAllSum(Square(y)), in...)
	}
	in := []*tensors.Tensor{random(r, 2, 8, 8, 32), random(r, 3, 3, 32, 32)}
	if table := profiled(t, f, in...); !strings.Contains(table, " 0 out, ") {
		t.Errorf("no cluster makes sums alone:\n%s", table)
	}
	agree(t, "gradients", 2e-4, f, in...)
}

package onednn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// specials are the float32 values around which processors and compilers differ: signed zeros, subnormals, infinities,
// NaN, ties of rounding, and a random choice of all bit patterns.
func specials() []float32 {
	v := []float32{float32(math.NaN()), float32(math.Inf(1)), 0, 1, 0.5, 1.5, 2.5, 3.5, 1e-45, 1.1754944e-38,
		1.17549e-38, math.MaxFloat32,
		6e-8, 2.98e-8, 2.9802322e-8, 2.98023259e-8, 6.1e-5, 6.1035156e-5, 65504, 65519.996, 65520, 3.3895314e38,
		3.3961775e38,
		1 + 1./256, 1 + 3./256, 1 + 1./2048, 1 + 3./2048, 20, 88.7, 88.8, 103.9, 104.1, 200, 8388609, 2147483648, 3e9}
	for _, x := range v[:len(v):len(v)] {
		v = append(v, -x)
	}
	r := rand.New(rand.NewPCG(11, 12))
	for range 20000 {
		v = append(v, math.Float32frombits(r.Uint32()))
	}
	return v
}

// rounded is x in a format with so many bits of significand, smallest normal exponent and largest exponent: to nearest,
// ties to even.
func rounded(x float32, bits, low, high int) float32 {
	v := float64(x)
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return x
	}
	_, e := math.Frexp(v) // |v| in [2^(e-1), 2^e)
	r := math.RoundToEven(math.Ldexp(v, bits-max(e-1, low)-1))
	r = math.Ldexp(r, max(e-1, low)+1-bits)
	if math.Abs(r) >= math.Ldexp(1, high+1) {
		r = math.Inf(int(math.Copysign(1, v)))
	}
	return float32(math.Copysign(r, v))
}

func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

func compute1(t *testing.T, b compute.Backend, x []float32, f func(x *Node) *Node) []float32 {
	t.Helper()
	exec, err := NewExec(b, f)
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	y, err := exec.Exec1(tensors.FromFlatDataAndDimensions(x, len(x)))
	if err != nil {
		t.Fatal(err)
	}
	return floats(t, y)
}

// everyISA runs a test on each instruction set that the CPU has, with and without generated code and the CPU's own
// rounding to bfloat16.
func everyISA(t *testing.T, test func(t *testing.T)) {
	level, cpu := ownLevel(), roundsBF16
	t.Cleanup(func() { limitISA(2); roundsBF16 = cpu })
	for l := range level + 1 {
		for _, options := range []string{"", "without=code"} {
			for _, own := range []bool{cpu, false} {
				limitISA(l)
				roundsBF16 = own
				t.Run(fmt.Sprint(ownISA(), " ", options, " ", own), func(t *testing.T) {
					configure(t, options)
					test(t)
				})
			}
		}
	}
}

func TestHalfPrecision(t *testing.T) { everyISA(t, testHalfPrecision) }

func testHalfPrecision(t *testing.T) {
	ours, _ := backends(t)
	x := specials()
	for _, c := range []struct {
		dtype           dtypes.DType
		bits, low, high int
	}{{dtypes.BFloat16, 8, -126, 127}, {dtypes.Float16, 11, -14, 15}} {
		// Once stored as an array, which the reversal is there for, and once rounded in a register.
		stored := compute1(t, ours, x, func(x *Node) *Node {
			return ConvertDType(Reverse(Reverse(ConvertDType(x, c.dtype), 0), 0), dtypes.Float32)
		})
		register := compute1(t, ours, x, func(x *Node) *Node {
			return ConvertDType(ConvertDType(x, c.dtype),
				dtypes.Float32)
		})
		for i, v := range x {
			want := rounded(v, c.bits, c.low, c.high)
			if c.dtype == dtypes.BFloat16 && roundsBF16 && math.Abs(float64(v)) < 0x1p-126 && stored[i] == 0 {
				continue // the CPU's own conversion takes subnormal numbers for zero
			}
			if !same(stored[i], want) || !same(register[i], want) {
				t.Fatalf("%s of %g (%#08x): %g stored, %g in a register, want %g", c.dtype, v, math.Float32bits(v),
					stored[i], register[i], want)
			}
		}
	}
}

func TestSpecialValues(t *testing.T) { everyISA(t, testSpecialValues) }

func testSpecialValues(t *testing.T) {
	ours, _ := backends(t)
	x := specials()
	for name, c := range map[string]struct {
		graph func(*Node) *Node
		want  func(float64) float64
		exact bool
	}{
		"exp":      {Exp, math.Exp, false},
		"tanh":     {Tanh, math.Tanh, false},
		"erf":      {Erf, math.Erf, false},
		"logistic": {Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, false},
		"log":      {Log, math.Log, false},
		"sqrt":     {Sqrt, math.Sqrt, true},
		"abs":      {Abs, math.Abs, true},
		"neg":      {Neg, func(x float64) float64 { return -x }, true},
		"floor":    {Floor, math.Floor, true},
		"ceil":     {Ceil, math.Ceil, true},
		"round":    {Round, math.RoundToEven, true},
		"sign":     {Sign, sign, true},
		"max": {func(x *Node) *Node { return Max(x, Scalar(x.Graph(), dtypes.Float32, 1)) },
			func(x float64) float64 { return max(x, 1) }, true},
		"min": {func(x *Node) *Node { return Min(Scalar(x.Graph(), dtypes.Float32, 1), x) },
			func(x float64) float64 { return min(x, 1) }, true},
	} {
		got := compute1(t, ours, x, c.graph)
		for i, v := range x {
			want := float32(c.want(float64(v)))
			if same(got[i], want) || !c.exact && math.Abs(float64(got[i]-want)) <= 2e-6*math.Abs(float64(want))+1e-37 {
				continue
			}
			t.Errorf("%s of %g (%#08x): got %g, want %g", name, v, math.Float32bits(v), got[i], want)
			break
		}
	}
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

// TestSoftmax compares softmax with GoMLX's Go backend, rows of all lengths and with extremes, and checks that it runs
// natively.
func TestSoftmax(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	softmax := func(in []*Node) []*Node { return []*Node{Softmax(in[0], -1)} }
	for _, dims := range [][]int{{1, 1}, {3, 7}, {2, 3, 16}, {5, 77}, {2, 2, 9, 333}, {4096, 8}} {
		agree(t, fmt.Sprint(dims), 1e-6, softmax, random(r, dims...))
	}
	low, high := float32(math.Inf(-1)), float32(3e38)
	agree(t, "extremes", 1e-6, softmax, tensors.FromFlatDataAndDimensions([]float32{low, 0, 1, high, high, low, -high,
		5, 5, low, low, 80}, 4, 3))
	agree(t, "far below", 1e-6, softmax, tensors.FromFlatDataAndDimensions([]float32{-200, -201, -1000, -3e38, -3e38,
		-3.1e38}, 2, 3))
	ours, _ := backends(t)
	nan := float32(math.NaN())
	for _, x := range [][]float32{{nan, 1, 2}, {1, 2, nan}, {low, low, low}} {
		for i, v := range compute1(t, ours, x, func(x *Node) *Node { return Softmax(x, -1) }) {
			if v == v {
				t.Errorf("element %d of the softmax of %v is %g, want NaN", i, x, v)
			}
		}
	}
	if table := profiled(t, softmax, random(r, 64, 128)); !strings.Contains(table, "softmax (Float32)[64, 128]") {
		t.Errorf("softmax is computed in another way:\n%s", table)
	}
}

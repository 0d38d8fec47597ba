package onednn_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/unnoise/unnoise/onednn"
)

// scaledConvolution is a convolution with a bias, a scale and a shift for each channel, and GELU, as networks have it
// in evaluation.
func scaledConvolution(x, w, bias, scale, shift *Node) *Node {
	dtype := dtypes.BFloat16
	spread := func(v, y *Node) *Node { return BroadcastToShape(ExpandLeftToRank(v, 4), y.Shape()) }
	y := Convolve(ConvertDType(x, dtype), ConvertDType(w, dtype)).PadSame().Done()
	y = ConvertDType(Add(y, spread(ConvertDType(bias, dtype), y)), dtypes.Float32)
	y = Add(Mul(y, spread(Sqrt(scale), y)), spread(Neg(shift), y))
	gelu := Mul(Mul(y, Scalar(y.Graph(), dtypes.Float32, 0.5)), OnePlus(Erf(MulScalar(y, math.Sqrt2/2))))
	gelu, _ = InternalFusedOpCaller(func() *Node { return BackendFusedGelu(y, true) }, func() *Node { return gelu },
		true)
	return ConvertDType(ConvertDType(gelu, dtype), dtypes.Float32)
}

func values(n int, seed float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(seed + 1.7*float64(i)))
	}
	return v
}

func TestPreparedWeights(t *testing.T) {
	for _, options := range []string{"", "portable"} {
		t.Run("options "+options, func(t *testing.T) { testPreparedWeights(t, options) })
	}
}

func testPreparedWeights(t *testing.T, options string) {
	b, err := onednn.New(options)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	shape := [][]int{{2, 9, 7, 16}, {3, 3, 16, 32}, {32}, {32}, {32}}
	params := func(g *Graph) (list []*Node) {
		for i, s := range shape {
			list = append(list, Parameter(g, string(rune('a'+i)), shapes.Make(dtypes.Float32, s...)))
		}
		return list
	}
	g := NewGraph(b, "scaled convolution")
	p := params(g)
	if err := g.Compile(scaledConvolution(p[0], p[1], p[2], p[3], p[4])); err != nil {
		t.Fatal(err)
	}
	defer g.Finalize()
	reference, err := compute.NewWithConfig("go")
	if err != nil {
		t.Fatal(err)
	}
	defer reference.Finalize()
	want := MustNewExec(reference, func(in []*Node) *Node {
		return scaledConvolution(in[0], in[1], in[2], in[3],
			in[4])
	})

	buffer := func(i int, v []float32) compute.Buffer {
		buf, err := b.BufferFromFlatData(0, v, shapes.Make(dtypes.Float32, shape[i]...))
		if err != nil {
			t.Fatal(err)
		}
		return buf
	}
	inputs := func(seed float64) (v [][]float32, buffers []compute.Buffer) {
		for i, s := range shape {
			x := values(shapes.Make(dtypes.Float32, s...).Size(), seed+float64(i))
			if i == 3 {
				for k := range x {
					x[k] = x[k]*x[k] + 0.1
				}
			}
			v, buffers = append(v, x), append(buffers, buffer(i, x))
		}
		return v, buffers
	}
	check := func(what string, in []compute.Buffer, v [][]float32) {
		t.Helper()
		var args []any
		for i, x := range v {
			args = append(args, tensors.FromFlatDataAndDimensions(x, shape[i]...))
		}
		expected := tensors.MustCopyFlatData[float32](want.MustExec(args...)[0])
		out := g.RunWithBuffers(in, make([]bool, len(in)), 0)[0]
		defer out.FinalizeAll()
		for i, got := range tensors.MustCopyFlatData[float32](out) {
			// Rounded once to bfloat16 here, several times in the reference, of sums over 144 products.
			if d := math.Abs(float64(got - expected[i])); d > 0.05+0.02*math.Abs(float64(expected[i])) {
				t.Fatalf("%s: element %d is %g, want %g", what, i, got, expected[i])
			}
		}
	}
	v, in := inputs(1)
	check("not frozen", in, v)
	// A buffer that is not frozen may change in place.
	data, err := in[1].Data()
	if err != nil {
		t.Fatal(err)
	}
	copy(data.([]float32), values(len(v[1]), 77))
	v[1] = values(len(v[1]), 77)
	check("changed in place", in, v)

	freeze := func(in []compute.Buffer) {
		for _, buf := range in[1:] {
			buf.(*onednn.Buffer).Freeze()
		}
	}
	freeze(in)
	check("frozen", in, v)
	for seed := range 3 { // other data, the same weights
		v[0] = values(len(v[0]), float64(100+seed))
		in[0] = buffer(0, v[0])
		check("frozen again", in, v)
	}
	v2, in2 := inputs(5)
	freeze(in2)
	check("other frozen weights", in2, v2)
	check("the first ones again", in, v)
	for k := 1; k < len(in); k++ { // one of them is another, frozen too
		mixed, values := slices.Clone(in), slices.Clone(v)
		mixed[k], values[k] = in2[k], v2[k]
		check(fmt.Sprint("all but parameter ", k), mixed, values)
		check("the first ones again", in, v)
	}
	v[3][4] = 9
	in[3] = buffer(3, v[3])
	check("one of them not frozen", in, v)
}

// What a convolution takes in the library's layout as weights, it may read as it stands as its source.
func TestWeightsAsSource(t *testing.T) {
	b, reference := newBackend(t, ""), newReference(t)
	shape := shapes.Make(dtypes.Float32, 4, 4, 8, 8)
	v := values(shape.Size(), 3)
	convolve := func(x *Node) *Node { return Convolve(x, x).NoPadding().Done() }
	want := tensors.MustCopyFlatData[float32](MustNewExec(reference,
		convolve).MustExec(tensors.FromFlatDataAndDimensions(v, shape.Dimensions...))[0])
	g := NewGraph(b, "squared")
	if err := g.Compile(convolve(Parameter(g, "x", shape))); err != nil {
		t.Fatal(err)
	}
	defer g.Finalize()
	x, err := b.BufferFromFlatData(0, v, shape)
	if err != nil {
		t.Fatal(err)
	}
	x.(*onednn.Buffer).Freeze()
	for range 2 {
		out := g.RunWithBuffers([]compute.Buffer{x}, []bool{false}, 0)[0]
		for i, got := range tensors.MustCopyFlatData[float32](out) {
			if d := math.Abs(float64(got - want[i])); !(d <= 1e-4*(1+math.Abs(float64(want[i])))) {
				t.Fatalf("element %d is %g, want %g", i, got, want[i])
			}
		}
		out.FinalizeAll()
	}
}

// Weights frozen on one backend are laid out once, and those on another in each run, also where both run at once.
func TestPreparedBesideAnother(t *testing.T) {
	const runs = 300
	for _, options := range []string{"threads=1", "threads=1,without=winograd"} {
		var wait sync.WaitGroup
		for _, frozen := range []bool{true, false} {
			b, err := onednn.New(options)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Finalize()
			g := NewGraph(b, "convolution")
			x := Parameter(g, "x", shapes.Make(dtypes.Float32, 1, 8, 8, 16))
			if err := g.Compile(Convolve(x, Parameter(g, "w", shapes.Make(dtypes.Float32, 3, 3, 16,
				32))).PadSame().Done()); err != nil {
				t.Fatal(err)
			}
			defer g.Finalize()
			run := func(seed float64, w compute.Buffer) float32 {
				in, err := b.BufferFromFlatData(0, values(8*8*16, 1), shapes.Make(dtypes.Float32, 1, 8, 8, 16))
				if err == nil && w == nil {
					w, err = b.BufferFromFlatData(0, values(3*3*16*32, seed), shapes.Make(dtypes.Float32, 3, 3, 16, 32))
				}
				if err != nil {
					t.Error(err)
					return 0
				}
				out := g.RunWithBuffers([]compute.Buffer{in, w}, []bool{true, false}, 0)[0]
				defer out.FinalizeAll()
				return tensors.MustCopyFlatData[float32](out)[100]
			}
			var kept compute.Buffer
			want := map[float64]float32{}
			for seed := range 2 {
				want[float64(seed)] = run(float64(seed), nil)
			}
			if frozen {
				kept, err = b.BufferFromFlatData(0, values(3*3*16*32, 1), shapes.Make(dtypes.Float32, 3, 3, 16, 32))
				if err != nil {
					t.Fatal(err)
				}
				kept.(*onednn.Buffer).Freeze()
			}
			wait.Go(func() {
				wrong := 0
				for i := range runs {
					seed := float64(i % 2)
					if frozen {
						seed = 1
					}
					if run(seed, kept) != want[seed] {
						wrong++
					}
				}
				if wrong > 0 {
					t.Errorf("%s, frozen %t: %d of %d results are wrong", options, frozen, wrong, runs)
				}
			})
		}
		wait.Wait()
	}
}

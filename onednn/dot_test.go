package onednn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// TestRandomProducts compares products with GoMLX's Go backend: any number of batch, contracting and free axes, in any
// order.
func TestRandomProducts(t *testing.T) {
	ours, reference := backends(t)
	r := rand.New(rand.NewPCG(15, 16))
	for range 100 {
		// Each operand has its axes in an order of its own.
		var lhs, rhs struct{ dims, batch, contracting []int }
		type axis struct{ dim, kind, number int }
		var left, right []axis
		number := [2]int{r.IntN(4), r.IntN(3)}
		for kind, n := range number {
			for i := range n {
				a := axis{1 + r.IntN(6), kind, i}
				left, right = append(left, a), append(right, a)
			}
		}
		for range r.IntN(3) {
			left = append(left, axis{1 + r.IntN(20), 2, 0})
		}
		for range r.IntN(3) {
			right = append(right, axis{1 + r.IntN(40), 2, 0})
		}
		for i, list := range [][]axis{left, right} {
			if r.IntN(3) > 0 {
				r.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
			}
			to := &lhs
			if i == 1 {
				to = &rhs
			}
			to.batch, to.contracting = make([]int, number[0]), make([]int, number[1])
			for position, a := range list {
				to.dims = append(to.dims, a.dim)
				switch a.kind {
				case 0:
					to.batch[a.number] = position
				case 1:
					to.contracting[a.number] = position
				}
			}
		}
		dtype := []dtypes.DType{dtypes.Float32, dtypes.BFloat16, dtypes.Float16}[r.IntN(3)]
		values := func(dims []int) []float32 { // exact in every element type
			v := make([]float32, shapes.Make(dtypes.Float32, dims...).Size())
			for i := range v {
				v[i] = float32(r.IntN(9)-4) / 2
			}
			return v
		}
		x, y := values(lhs.dims), values(rhs.dims)
		run := func(b compute.Backend, dtype dtypes.DType) []float32 {
			value := func(v compute.Value, err error) compute.Value {
				if err != nil {
					t.Fatalf("%v·%v: %v", lhs, rhs, err)
				}
				return v
			}
			builder := b.Builder("product")
			f := builder.Main()
			in := value(f.ConvertDType(value(f.Parameter("x", shapes.Make(dtypes.Float32, lhs.dims...), nil)), dtype))
			weights := value(f.ConvertDType(value(f.Parameter("y", shapes.Make(dtypes.Float32, rhs.dims...), nil)),
				dtype))
			out := value(f.DotGeneral(in, lhs.contracting, lhs.batch, weights, rhs.contracting, rhs.batch,
				compute.DotGeneralConfig{}))
			if err := f.Return([]compute.Value{value(f.ConvertDType(out, dtypes.Float32))}, nil); err != nil {
				t.Fatal(err)
			}
			exec, err := builder.Compile()
			if err != nil {
				t.Fatal(err)
			}
			defer exec.Finalize()
			if b == ours {
				native(t, exec)
			}
			var buffers []compute.Buffer
			for i, v := range [][]float32{x, y} {
				buffer, err := b.BufferFromFlatData(0, v, shapes.Make(dtypes.Float32, [][]int{lhs.dims,
					rhs.dims}[i]...))
				if err != nil {
					t.Fatal(err)
				}
				buffers = append(buffers, buffer)
			}
			result, err := exec.Execute(buffers, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float32, exec.Outputs()[0].Size())
			if err := result[0].ToFlatData(got); err != nil {
				t.Fatal(err)
			}
			return got
		}
		got, want := run(ours, dtype), run(reference, dtypes.Float32)
		tolerance := map[dtypes.DType]float64{dtypes.Float32: 1e-6, dtypes.BFloat16: 4e-3, dtypes.Float16: 5e-4}[dtype]
		if !slices.EqualFunc(got, want,
			func(g, w float32) bool { return math.Abs(float64(g-w)) <= tolerance*(1e-3+math.Abs(float64(w))) }) {
			t.Fatalf("%s %+v·%+v: got %v, want %v", dtype, lhs, rhs, got, want)
		}
	}
}

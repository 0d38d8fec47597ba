package onednn_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/unnoise/unnoise/onednn"
)

// fusedAttention is attention as networks ask for it: the backend's, or else taken apart. fused tells which it was.
func fusedAttention(q, k, v *Node, scale float64) (y *Node, fused bool) {
	return InternalFusedOpCaller(func() *Node {
		y, _ := BackendFusedScaledDotProductAttention(q, k, v, compute.AxesLayoutBSHD,
			&compute.ScaledDotProductAttentionConfig{Scale: scale})
		return y
	}, func() *Node {
		scores := MulScalar(ConvertDType(Einsum("nqhd,nkhd->nhqk", q, k), dtypes.Float32), scale)
		return Einsum("nhqk,nkhd->nqhd", ConvertDType(Softmax(scores), v.DType()), v)
	}, true)
}

// Attention comes as near to sums in float64 as roundings to bfloat16 allow, in the native operation, taken apart, and
// on the Go backend.
func TestAttention(t *testing.T) {
	plain, err := compute.NewWithConfig("go")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Finalize()
	backends := map[string]compute.Backend{"go": plain}
	for _, options := range []string{"", "portable", "without=attention"} {
		b, err := onednn.New(options)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Finalize()
		backends["onednn "+options] = b
	}
	for _, c := range []struct {
		batch, queries, keys, heads, dim int
		size                             float64 // of queries
	}{
		{1, 1, 1, 1, 2, 1}, {2, 7, 5, 3, 8, 1}, {1, 64, 141, 2, 64, 1}, {2, 13, 64, 1, 66, 4}, {1, 6, 333, 2, 130, 40},
		{1, 5, 17, 1, 16, 3000}, {1, 100, 65, 1, 64, 0},
		{1, 20, 1101, 2, 64, 1}, {2, 9, 700, 1, 8, 2}, {1, 3, 129, 1, 16, 1}, // several pieces of keys
	} {
		scale := 1 / math.Sqrt(float64(c.dim))
		q := narrowed(times(values(c.batch*c.queries*c.heads*c.dim, 1), c.size))
		k, v := narrowed(values(c.batch*c.keys*c.heads*c.dim, 2)), narrowed(values(c.batch*c.keys*c.heads*c.dim, 3))
		want := make([]float64, len(q))
		largest := 0.0 // score, which is rounded where attention is taken apart
		for n := range c.batch {
			for h := range c.heads {
				for i := range c.queries {
					at := func(rows, row int) int { return ((n*rows+row)*c.heads + h) * c.dim }
					scores, most, sum := make([]float64, c.keys), math.Inf(-1), 0.0
					for j := range scores {
						for d := range c.dim {
							scores[j] += scale * float64(q[at(c.queries, i)+d].Float32()) * float64(k[at(c.keys,
								j)+d].Float32())
						}
						most, largest = max(most, scores[j]), max(largest, math.Abs(scores[j]))
					}
					for j := range scores {
						scores[j] = math.Exp(scores[j] - most)
						sum += scores[j]
					}
					for j, s := range scores {
						for d := range c.dim {
							want[at(c.queries, i)+d] += s / sum * float64(v[at(c.keys, j)+d].Float32())
						}
					}
				}
			}
		}
		for run := range 2 * len(backends) {
			name := slices.Sorted(maps.Keys(backends))[run/2]
			b, dtype := backends[name], []dtypes.DType{dtypes.BFloat16, dtypes.Float32}[run%2]
			fused := false
			e, err := NewExec(b, func(in []*Node) *Node {
				var y *Node
				y, fused = fusedAttention(ConvertDType(in[0], dtype), ConvertDType(in[1], dtype),
					ConvertDType(in[2], dtype), scale)
				return ConvertDType(y, dtypes.Float32)
			})
			if err != nil {
				t.Fatal(err)
			}
			var tensor []any
			for i, x := range [][]bfloat16.BFloat16{q, k, v} {
				tensor = append(tensor, tensors.FromFlatDataAndDimensions(x, c.batch, []int{c.queries, c.keys,
					c.keys}[i], c.heads, c.dim))
			}
			got := tensors.MustCopyFlatData[float32](e.MustExec(tensor...)[0])
			l := onednn.Library()
			if wanted := name == "onednn " && l.Path != "" && (dtype == dtypes.Float32 || l.BF16); fused != wanted {
				t.Errorf("%s, %s: attention is one operation: %v, want %v", name, dtype, fused, wanted)
			}
			allowed := 1e-6 * (4 + largest) // values are at most 1
			if dtype == dtypes.BFloat16 {
				allowed = 1.0 / 256 // shares and results are rounded to 8 bits
				if !fused {
					allowed += largest / 128
				}
			}
			for i, y := range got {
				if d := math.Abs(float64(y) - want[i]); !(d <= allowed) {
					t.Errorf("%s %s %+v: element %d is %g, want %g, allowed %g", name, dtype, c, i, y, want[i], allowed)
					break
				}
			}
		}
	}
}

func times(v []float32, by float64) []float32 {
	for i := range v {
		v[i] *= float32(by)
	}
	return v
}

func narrowed(v []float32) []bfloat16.BFloat16 { return bfloat16.FromFloat32s(v...) }

// Attention of 32×32 pixels as the smallest DeepFloyd IF has it.
func BenchmarkAttention(b *testing.B) {
	for _, options := range []string{"", "without=attention"} {
		b.Run(fmt.Sprintf("options %s", options), func(b *testing.B) {
			backend, err := onednn.New(options)
			if err != nil {
				b.Fatal(err)
			}
			defer backend.Finalize()
			g := NewGraph(backend, "attention")
			var in []*Node
			var buffers []compute.Buffer
			for i, rows := range []int{1024, 1101, 1101} {
				shape := shapes.Make(dtypes.BFloat16, 2, rows, 6, 64)
				in = append(in, Parameter(g, string(rune('q'+i)), shape))
				buffer, err := backend.BufferFromFlatData(0, narrowed(values(shape.Size(), float64(i))), shape)
				if err != nil {
					b.Fatal(err)
				}
				buffers = append(buffers, buffer)
			}
			y, _ := fusedAttention(in[0], in[1], in[2], 0.125)
			if err := g.Compile(y); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for _, out := range g.RunWithBuffers(buffers, make([]bool, 3), 0) {
					out.FinalizeAll()
				}
			}
		})
	}
}

// What the native operation does not compute is left to the network's own graph.
func TestAttentionRefuses(t *testing.T) {
	b := newBackend(t, "")
	of := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
	usual := of(2, 8, 4, 16) // batch, sequence, heads, dim
	for name, c := range map[string]struct {
		q, k   shapes.Shape
		layout compute.AxesLayout
		config func(q *Node) compute.ScaledDotProductAttentionConfig
		fused  bool
	}{
		"as it is":       {usual, usual, compute.AxesLayoutBSHD, nil, true},
		"another layout": {usual, usual, compute.AxesLayoutBHSD, nil, false},
		"causal": {usual, usual, compute.AxesLayoutBSHD, func(*Node) compute.ScaledDotProductAttentionConfig {
			return compute.ScaledDotProductAttentionConfig{Causal: true}
		}, false},
		"fewer key heads":   {usual, of(2, 8, 2, 16), compute.AxesLayoutBSHD, nil, false},
		"another batch":     {usual, of(1, 8, 4, 16), compute.AxesLayoutBSHD, nil, false},
		"another head size": {usual, of(2, 8, 4, 8), compute.AxesLayoutBSHD, nil, false},
	} {
		fused := false
		g := NewGraph(b, name)
		err := try(func() {
			q, k := Parameter(g, "q", c.q), Parameter(g, "k", c.k)
			config := compute.ScaledDotProductAttentionConfig{}
			if c.config != nil {
				config = c.config(q)
			}
			InternalFusedOpCaller(func() *Node {
				y, _ := BackendFusedScaledDotProductAttention(q, k, k, c.layout, &config)
				fused = true
				return y
			}, func() *Node { return q }, true)
		})
		if wanted := c.fused && onednn.Library().Path != ""; fused != wanted {
			t.Errorf("%s: the operation is native: %v, want %v (%v)", name, fused, wanted, err)
		}
	}
}

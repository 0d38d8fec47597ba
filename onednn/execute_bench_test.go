package onednn_test

import (
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// BenchmarkExecute is what an execution costs beside the arithmetic: one cluster, three outputs.
func BenchmarkExecute(b *testing.B) {
	backend := newBackend(b, "")
	e := affine(b, backend, 16, 1)
	x := buffer(b, backend, numbers(16))
	in := []compute.Buffer{x}
	b.ReportAllocs()
	for b.Loop() {
		out, err := e.Execute(in, nil, 0)
		if err != nil {
			b.Fatal(err)
		}
		for _, y := range out {
			_ = y.Finalize()
		}
	}
}

// BenchmarkUpdate is one with a hundred donated inputs, as a training step has.
func BenchmarkUpdate(b *testing.B) {
	backend := newBackend(b, "")
	const n = 100
	builder := backend.Builder("update")
	f := builder.Main()
	var in []compute.Buffer
	var out []compute.Value
	donate := make([]bool, n)
	for i := range n {
		p, err := f.Parameter(string(rune('a'+i)), shapes.Make(dtypes.Float32, 16), nil)
		if err != nil {
			b.Fatal(err)
		}
		y, err := f.Mul(p, p)
		if err != nil {
			b.Fatal(err)
		}
		in, out, donate[i] = append(in, buffer(b, backend, make([]float64, 16))), append(out, y), true
	}
	if err := f.Return(out, nil); err != nil {
		b.Fatal(err)
	}
	e, err := builder.Compile()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		next, err := e.Execute(in, donate, 0)
		if err != nil {
			b.Fatal(err)
		}
		in = next
	}
}

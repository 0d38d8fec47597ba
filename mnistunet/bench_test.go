package mnistunet

import (
	"os"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/onednn"
)

// BenchmarkStep is a training step of the class-conditional network, dim 64, batch 128, float32.
func BenchmarkStep(b *testing.B) {
	c := Default(Class)
	backend := enginetest.Backend(b)
	t, in := newTrainer(b, backend, c, benchType(), nil), noiseBatch(c, 128).inputs()
	step := func() {
		if _, err := t.Step(in, 1e-3, 0); err != nil {
			b.Fatal(err)
		}
	}
	step() // compiles
	step() // fills the pool of buffers
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	if os.Getenv("PROFILE") != "" {
		onednn.StartProfile(backend)
		for range 5 {
			step()
		}
		onednn.StopProfile(backend, os.Stderr)
	}
}

// BenchmarkEvaluation is one evaluation of the same network.
func BenchmarkEvaluation(b *testing.B) {
	m, err := New(enginetest.Backend(b), Default(Class), benchType(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	data := noiseBatch(m.Config, 128)
	x := diffusion.Images{N: data.n, C: 1, H: Size, W: Size, Data: data.x}
	if _, err := m.Evaluate(b.Context(), x, data.t, data.class); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Evaluate(b.Context(), x, data.t, data.class); err != nil {
			b.Fatal(err)
		}
	}
}

func benchType() dtypes.DType {
	if os.Getenv("DTYPE") == "bf16" {
		return dtypes.BFloat16
	}
	return dtypes.Float32
}

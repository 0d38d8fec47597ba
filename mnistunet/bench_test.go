package mnistunet

import (
	"os"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/onednn"
)

func benchModel(b *testing.B) (*Trainer, Batch) {
	const batch = 128
	c := Default(Class)
	m, err := New(enginetest.Backend(b), c, benchType(), 0)
	if err != nil {
		b.Fatal(err)
	}
	t, err := NewTrainer(m)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(t.Close)
	data := Batch{N: batch, X: make([]float32, batch*Size*Size), Target: make([]float32, batch*Size*Size), T: make([]float32, batch), Class: make([]float32, batch*c.Classes)}
	g := diffusion.NewGenerator(0)
	g.Normal(data.X)
	g.Normal(data.Target)
	g.Uniform(data.T)
	return t, data
}

// BenchmarkStep is a training step of the class-conditional network, dim 64, batch 128, float32.
func BenchmarkStep(b *testing.B) {
	t, data := benchModel(b)
	for range 2 { // compiles, and fills the pool of buffers
		if _, err := t.Step(data, 1e-3); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := t.Step(data, 1e-3); err != nil {
			b.Fatal(err)
		}
	}
	if os.Getenv("PROFILE") != "" {
		onednn.StartProfile(t.backend)
		for range 5 {
			_, _ = t.Step(data, 1e-3)
		}
		onednn.StopProfile(t.backend, os.Stderr)
	}
}

// BenchmarkEvaluation is one evaluation of the same network.
func BenchmarkEvaluation(b *testing.B) {
	t, data := benchModel(b)
	x := diffusion.Images{N: data.N, C: 1, H: Size, W: Size, Data: data.X}
	if _, err := t.Evaluate(b.Context(), x, data.T, data.Class); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := t.Evaluate(b.Context(), x, data.T, data.Class); err != nil {
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

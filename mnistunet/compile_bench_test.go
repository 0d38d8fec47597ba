package mnistunet

import (
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/engine"
)

// BenchmarkCompile times the compilation of the training step at batch 128: GoMLX's graph, the passes, oneDNN's primitives.
func BenchmarkCompile(b *testing.B) {
	backend, _, err := engine.New(engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Finalize()
	m, err := New(backend, Default(Class), dtypes.Float32, 0)
	if err != nil {
		b.Fatal(err)
	}
	t, err := NewTrainer(m)
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	for b.Loop() {
		e, err := t.compiled(128)
		if err != nil {
			b.Fatal(err)
		}
		e.Finalize()
		clear(t.steps)
	}
}

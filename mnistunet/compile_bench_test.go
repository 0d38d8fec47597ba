package mnistunet

import (
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
)

// BenchmarkCompile times the compilation of the gradients at batch 128, and one run: GoMLX's graph, the passes,
// oneDNN's primitives.
func BenchmarkCompile(b *testing.B) {
	c := Default(Class)
	t, in := newTrainer(b, enginetest.Backend(b), c, dtypes.Float32, nil), noiseBatch(c, 128).inputs()
	for b.Loop() {
		if _, _, err := t.Gradients(in); err != nil {
			b.Fatal(err)
		}
	}
}

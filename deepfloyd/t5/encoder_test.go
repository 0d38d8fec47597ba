package t5

import (
	"path/filepath"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/weights"
)

func backend(t testing.TB) compute.Backend {
	t.Helper()
	b, err := onednn.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return b
}

func load(t testing.TB, dir, variant string, dtype dtypes.DType) *Encoder {
	t.Helper()
	e, err := Load(backend(t), dir, variant, dtype)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// rows returns an I32 tensor [N,L] as rows.
func rows(t testing.TB, f *weights.File, name string) [][]int32 {
	t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.Int32()
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]int32, x.Shape[0])
	for i := range out {
		out[i] = v[i*x.Shape[1]:][:x.Shape[1]]
	}
	return out
}

func TestGolden(t *testing.T) {
	e := load(t, filepath.Join(golden.Dir(t), "if_tiny", "text_encoder"), "", dtypes.Float32)
	f := golden.Open(t, "if_tiny_modules.safetensors")
	got, err := e.Encode(t.Context(), rows(t, f, "text.ids"), rows(t, f, "text.mask"))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := golden.Float32(t, f, "text.embeds")
	golden.Close(t, got.Data, want, 1e-4, "text.embeds")
}

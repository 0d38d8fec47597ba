package unet

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// load opens a folder with config.json and diffusion_pytorch_model.safetensors.
func load(t testing.TB, dir string, dtype dtypes.DType) *Model {
	return loadOn(t, enginetest.Backend(t), dir, dtype)
}

func loadOn(t testing.TB, b compute.Backend, dir string, dtype dtypes.DType) *Model {
	t.Helper()
	c, err := ReadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(filepath.Join(dir, "diffusion_pytorch_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m, err := New(b, c, dtype, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func images(t testing.TB, f *weights.File, name string) diffusion.Images {
	t.Helper()
	v, s := golden.Float32(t, f, name)
	if len(s) != 4 {
		t.Fatalf("%s: shape %d, expected four dimensions", name, s)
	}
	return diffusion.Images{N: s[0], C: s[1], H: s[2], W: s[3], Data: v}
}

func embeddings(t testing.TB, f *weights.File, name string) model.Embeddings {
	t.Helper()
	v, s := golden.Float32(t, f, name)
	if len(s) != 3 {
		t.Fatalf("%s: shape %d, expected three dimensions", name, s)
	}
	return model.Embeddings{N: s[0], Tokens: s[1], Dim: s[2], Data: v}
}

// compare checks the outputs that a file has under names such as unet.t999 or unet.t321.noise250, the timestep and the
// class label.
func compare(t *testing.T, m *Model, f *weights.File, text model.Embeddings) {
	t.Helper()
	x := images(t, f, "unet.x")
	compared := 0
	for _, name := range f.Names() {
		var step, level int
		var class []float64
		if n, _ := fmt.Sscanf(name, "unet.t%d.noise%d", &step, &level); n == 0 {
			continue
		} else if n == 2 {
			for range x.N {
				class = append(class, float64(level))
			}
		}
		times := make([]float64, x.N)
		for i := range times {
			times[i] = float64(step)
		}
		got, err := m.Evaluate(t.Context(), x, times, text.Slice(0, x.N), class)
		if err != nil {
			t.Fatal(err)
		}
		want := images(t, f, name)
		golden.Close(t, got.Data, want.Data, 1e-4, name)
		compared++
	}
	if compared == 0 {
		t.Error("no outputs to compare with")
	}
}

func TestGoldenStageI(t *testing.T) {
	f := golden.Open(t, "if_tiny_modules.safetensors")
	m := load(t, filepath.Join(golden.Dir(t), "if_tiny", "unet"), dtypes.Float32)
	compare(t, m, f, embeddings(t, f, "text.embeds"))
}

func TestGoldenStageII(t *testing.T) {
	text := golden.Open(t, "if_tiny_modules.safetensors")
	m := load(t, filepath.Join(golden.Dir(t), "if_sr_tiny", "unet"), dtypes.Float32)
	compare(t, m, golden.Open(t, "trace_superres.safetensors"), embeddings(t, text, "text.embeds"))
}

// Other configurations, from folders as diffusers saves them, in float16, bfloat16 and float32; also on GoMLX's own
// backend.
func TestEqualsDiffusers(t *testing.T) {
	plain, err := gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Finalize()
	for _, name := range []string{"lists", "classes", "odd", "textless"} {
		for _, b := range []compute.Backend{enginetest.Backend(t), plain} {
			t.Run(name+" on "+b.Name(), func(t *testing.T) {
				dir := filepath.Join("testdata", name)
				f, err := weights.Open(filepath.Join(dir, "reference.safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				compare(t, loadOn(t, b, dir, dtypes.Float32), f, embeddings(t, f, "text"))
			})
		}
	}
}

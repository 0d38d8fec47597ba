package deepfloyd

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/weights"
)

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func images(t testing.TB, f *weights.File, name string) diffusion.Images {
	t.Helper()
	v, s := golden.Float32(t, f, name)
	if len(s) != 4 {
		t.Fatalf("%s: shape %d, expected four dimensions", name, s)
	}
	return diffusion.Images{N: s[0], C: s[1], H: s[2], W: s[3], Data: v}
}

// trace is an entry of traces.json.
type trace struct {
	File       string
	Model      string
	TextModel  string `json:"text_model"`
	Technique  string
	Steps      int
	Guidance   float32
	NoiseLevel int `json:"noise_level"`
	Prompts    []string
}

// encode encodes texts with a model of the golden folder.
func encode(t testing.TB, b compute.Backend, model string, texts ...string) Prompts {
	t.Helper()
	e := TextEncoder{Dir: filepath.Join(golden.Dir(t), model), DType: dtypes.Float32}
	p, err := e.Encode(t.Context(), b, texts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func selected(t testing.TB, p Prompts, texts ...string) unet.Embeddings {
	t.Helper()
	e, err := p.Select(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Whole walks from the prompts' texts, with the noise that diffusers' pipelines drew.
func TestGoldenTraces(t *testing.T) {
	var traces []trace
	readJSON(t, filepath.Join(golden.Dir(t), "traces.json"), &traces)
	b := enginetest.Backend(t, "winograd")
	walked := 0
	for _, tr := range traces {
		if tr.Technique != "text2image" && tr.Technique != "superres" {
			continue
		}
		walked++
		f := golden.Open(t, tr.File)
		s := openStage(t, b, filepath.Join(golden.Dir(t), tr.Model))
		prompts := encode(t, b, cmp.Or(tr.TextModel, tr.Model), tr.Prompts[0], "")
		condition := unet.Condition{Text: selected(t, prompts, tr.Prompts[0])}
		if tr.Technique == "superres" {
			var err error
			if condition, err = s.SuperResolution(condition.Text, images(t, f, "small"), images(t, f, "upscale_noise"), tr.NoiseLevel); err != nil {
				t.Fatal(err)
			}
		}
		timesteps, err := s.Scheduler.Timesteps(tr.Steps)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(f.Names(), "timesteps") {
			tensor, _ := f.Tensor("timesteps")
			want, err := tensor.Int32()
			if err != nil || fmt.Sprint(timesteps) != fmt.Sprint(want) {
				t.Errorf("%s: timesteps %d, expected %d, %v", tr.File, timesteps, want, err)
			}
		}
		start := images(t, f, "start")
		if want := s.Images(start.N); !want.SameShape(start) {
			t.Errorf("%s starts from %s, and the stage draws %s", tr.File, start.Shape(), want.Shape())
		}
		recorded := func(index, _ int, dst diffusion.Images) error {
			copy(dst.Data, images(t, f, fmt.Sprintf("noise.%d", index)).Data)
			return nil
		}
		d := s.UNet.GuidedDenoiser(condition, selected(t, prompts, ""), tr.Guidance)
		got, err := s.Scheduler.Sampler(timesteps, recorded).Sample(t.Context(), d, start)
		if err != nil {
			t.Fatalf("%s: %v", tr.File, err)
		}
		golden.Close(t, got.Data, images(t, f, "image").Data, 1e-3, tr.File)
	}
	if walked < 2 {
		t.Errorf("traces.json has %d traces of the techniques text2image and superres, expected both", walked)
	}
}

package deepfloyd

import (
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
	Technique  string
	Steps      int
	Guidance   float32
	NoiseLevel int `json:"noise_level"`
	Prompts    []string
}

// textOf returns the recorded embeddings of a prompt; they are those of one text encoder for both stages.
func textOf(t testing.TB, prompt string) unet.Embeddings {
	t.Helper()
	var list struct{ Prompts []string }
	readJSON(t, filepath.Join(golden.Dir(t), "if_tiny_prompts.json"), &list)
	i := slices.Index(list.Prompts, prompt)
	if i < 0 {
		t.Fatalf("no embeddings of %q", prompt)
	}
	v, s := golden.Float32(t, golden.Open(t, "if_tiny_modules.safetensors"), "text.embeds")
	return unet.Embeddings{N: s[0], Tokens: s[1], Dim: s[2], Data: v}.Slice(i, i+1)
}

// Whole walks with the noise that diffusers' pipelines drew.
func TestGoldenTraces(t *testing.T) {
	var traces []trace
	readJSON(t, filepath.Join(golden.Dir(t), "traces.json"), &traces)
	b := backend(t)
	walked := 0
	for _, tr := range traces {
		if tr.Technique != "text2image" && tr.Technique != "superres" {
			continue
		}
		walked++
		f := golden.Open(t, tr.File)
		s, err := OpenStage(b, filepath.Join(golden.Dir(t), tr.Model), dtypes.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()

		condition := unet.Condition{Text: textOf(t, tr.Prompts[0])}
		if tr.Technique == "superres" {
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
		d := s.UNet.GuidedDenoiser(condition, textOf(t, ""), tr.Guidance)
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

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
	"github.com/unnoise/unnoise/model"
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
	FirstStep  int `json:"first_step"`
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

func selected(t testing.TB, p Prompts, texts ...string) model.Embeddings {
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
	walked := map[string]bool{"text2image": false, "sdedit": false, "inpaint": false, "superres": false}
	for _, tr := range traces {
		if _, known := walked[tr.Technique]; !known {
			continue
		}
		walked[tr.Technique] = true
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
			if err != nil || fmt.Sprint(timesteps[tr.FirstStep:]) != fmt.Sprint(want) {
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
		got := start
		for step, err := range s.Scheduler.Sampler(timesteps, recorded).From(tr.FirstStep).Steps(t.Context(), d, start) {
			if err != nil {
				t.Fatalf("%s: %v", tr.File, err)
			}
			if tr.Technique == "inpaint" {
				overwrite(t, s, f, step)
			}
			got = step.X
		}
		golden.Close(t, got.Data, images(t, f, "image").Data, 1e-3, tr.File)
	}
	for technique, ok := range walked {
		if !ok {
			t.Errorf("traces.json has no trace of the technique %s", technique)
		}
	}
}

// overwrite puts the original, noised as x is, where the mask is 0 (RePaint, arXiv:2201.09865, eq. 8, without its jumps).
func overwrite(t *testing.T, s *Stage, f *weights.File, step diffusion.Step) {
	t.Helper()
	known := images(t, f, "original")
	if step.Next >= 0 {
		var err error
		if known, err = s.Scheduler.Schedule.AddNoise(known, images(t, f, fmt.Sprintf("known_noise.%d", step.Index)), step.Next); err != nil {
			t.Fatal(err)
		}
	}
	mask := images(t, f, "mask")
	pixels := mask.H * mask.W
	for i := range step.X.Data {
		if mask.Data[i/step.X.Size()*pixels+i%pixels] == 0 {
			step.X.Data[i] = known.Data[i]
		}
	}
}

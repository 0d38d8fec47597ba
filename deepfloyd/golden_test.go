package deepfloyd

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/illusion"
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
	Views      []string
	Bands      []string
	Kernel     int
	Sigma      float64
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

// Whole runs from the prompts' texts, with the noise that diffusers' pipelines drew.
func TestGoldenTraces(t *testing.T) {
	var traces []trace
	readJSON(t, filepath.Join(golden.Dir(t), "traces.json"), &traces)
	b := enginetest.Backend(t, "winograd")
	seen := map[string]bool{}
	for _, tr := range traces {
		seen[tr.Technique] = true
		t.Run(tr.Technique, func(t *testing.T) { run(t, b, tr) })
	}
	for _, technique := range []string{"text2image", "sdedit", "inpaint", "superres", "anagram", "hybrid"} {
		if !seen[technique] {
			t.Errorf("traces.json has no trace of the technique %s", technique)
		}
	}
}

// parts returns a trace's views and bands, nil where it has none.
func parts(t *testing.T, tr trace) (all []illusion.Part) {
	for _, name := range tr.Views {
		v, err := illusion.ParseView(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, illusion.Part{View: v})
	}
	for _, name := range tr.Bands {
		if tr.Kernel > 0 {
			name = fmt.Sprintf("%s:%g,%d,0", name, tr.Sigma, tr.Kernel)
		}
		b, err := illusion.ParseBand(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, illusion.Part{Band: b})
	}
	return all
}

// run draws what a trace records.
func run(t *testing.T, b compute.Backend, tr trace) {
	f := golden.Open(t, tr.File)
	s := openStage(t, b, filepath.Join(golden.Dir(t), tr.Model))
	prompts := encode(t, b, cmp.Or(tr.TextModel, tr.Model), append(slices.Clone(tr.Prompts), "")...)
	condition := unet.Condition{Text: selected(t, prompts, tr.Prompts[0])}
	timesteps, err := s.Scheduler.Timesteps(tr.Steps)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(f.Names(), "timesteps") {
		tensor, _ := f.Tensor("timesteps")
		want, err := tensor.Int32()
		if err != nil || fmt.Sprint(timesteps[tr.FirstStep:]) != fmt.Sprint(want) {
			t.Errorf("timesteps %d, expected %d, %v", timesteps, want, err)
		}
	}
	recorded := func(name string) diffusion.NoiseSource {
		return func(index int, _ float64, dst diffusion.Images) error {
			copy(dst.Data, images(t, f, fmt.Sprintf("%s.%d", name, index)).Data)
			return nil
		}
	}
	sampler := s.Scheduler.Sampler(timesteps, recorded("noise")).From(tr.FirstStep)
	start := images(t, f, "start")
	if want := s.Images(start.N); !want.SameShape(start) {
		t.Errorf("it starts from %s, and the stage draws %s", start.Shape(), want.Shape())
	}
	keep := func(steps iter.Seq2[diffusion.Step, error]) iter.Seq2[diffusion.Step, error] { return steps }
	switch tr.Technique {
	case "text2image":
	case "superres":
		condition.Class = tr.NoiseLevel
		if condition.Beside, err = s.Beside(images(t, f, "small"), images(t, f, "upscale_noise"),
			tr.NoiseLevel); err != nil {
			t.Fatal(err)
		}
	case "sdedit":
		from := golden.Open(t, "sdedit_start.safetensors")
		noised, err := sampler.Start(images(t, from, "image"), images(t, from, "noise"))
		if err != nil {
			t.Fatal(err)
		}
		golden.Close(t, noised.Data, start.Data, 1e-5, "start")
		start = noised
	case "inpaint":
		keep = diffusion.Known{
			Process: sampler.Process, Images: images(t, f, "original"), Mask: images(t, f, "mask"),
			Noise: recorded("known_noise"),
		}.Keep
	case "anagram", "hybrid":
	default:
		t.Fatalf("%s: this test knows no technique %q", tr.File, tr.Technique)
	}
	d := s.UNet.GuidedDenoiser(condition, selected(t, prompts, ""), tr.Guidance)
	if parts := parts(t, tr); parts != nil {
		condition.Text = selected(t, prompts, tr.Prompts...) // a batch of one image for each part
		together := s.UNet.GuidedDenoiser(condition, selected(t, prompts, ""), tr.Guidance)
		combination := illusion.Combination{Parts: parts, Together: together}
		if tr.Technique == "hybrid" {
			combination.Reduction = illusion.Sum
		}
		d = combination.Denoise
	}
	got := start
	for step, err := range keep(sampler.Steps(t.Context(), d, start)) {
		if err != nil {
			t.Fatal(err)
		}
		got = step.X
	}
	golden.Close(t, got.Data, images(t, f, "image").Data, 1e-3, tr.File)
}

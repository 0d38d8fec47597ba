package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
)

// Pure noise is what the last timestep has: a run that begins earlier takes it for a digit with less noise.
func TestRunsBeginWithNoise(t *testing.T) {
	c := mnistunet.Default(mnistunet.Class)
	for _, name := range c.Spec().Samplers {
		for _, steps := range []int{1, 2, 20, 160, 299, 300} {
			_, s, err := c.Plan(model.Sampling{Sampler: name, Steps: steps})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Path) != steps || s.Path[0].From != 299 {
				t.Errorf("%s, %d steps: %d moves from %g", name, steps, len(s.Path), s.Path[0].From)
			}
			if name != "ddpm" {
				continue
			}
			if last := s.Path[len(s.Path)-1].From; steps > 1 && last != 0 {
				t.Errorf("ddpm, %d steps: the last timestep is %g", steps, last)
			}
			want := diffusion.DDPM{}
			if steps == 300 {
				want.Variance = diffusion.FixedLarge
			}
			if s.Method != want {
				t.Errorf("ddpm, %d steps: %+v, want %+v", steps, s.Method, want)
			}
		}
	}
}

// Guidance takes two evaluations, and so does a step of the midpoint method; a model without classes has no guidance to tell of.
func TestEvaluations(t *testing.T) {
	class := mnistunet.Default(mnistunet.Class)
	for _, c := range []struct {
		config mnistunet.Config
		want   int
		s      sampling
	}{
		{mnistunet.Default(mnistunet.Time), 20, sampling{sampler: "ddim", steps: 20, guidance: 1}},
		{class.ForFlow(), 21, sampling{sampler: "euler", steps: 21, guidance: 1, guided: true}},
		{class, 44, sampling{sampler: "dpm++", steps: 22, guidance: 0, guided: true}},
		{class.ForFlow(), 92, sampling{sampler: "midpoint", steps: 23, guidance: 5, guided: true}},
	} {
		if got := c.s.evaluations(c.config); got != c.want {
			t.Errorf("%+v takes %d evaluations, want %d", c.s, got, c.want)
		}
		var p figure.Parameters
		c.s.describe(&p)
		if _, told := p.Get("guidance"); told != c.s.guided {
			t.Errorf("%+v is described by %v", c.s, p)
		}
	}
}

// TestBackends draws the same with GoMLX's own backend, and has plugins refused that are not there.
func TestBackends(t *testing.T) {
	dir := t.TempDir()
	draw := func(backend string) (result, string) {
		out := filepath.Join(dir, backend[:2]+".safetensors")
		return unnoise(t, "sample", "--model", "mnist-time", "--count", "2", "--steps", "2", "--seed", "5", "--dtype", "f32", "--backend", backend, "--out", out), out
	}
	var images []diffusion.Images
	for _, backend := range []string{"onednn", "go"} {
		r, out := draw(backend)
		if r.code != 0 {
			t.Fatalf("--backend %s: %s", backend, r.stderr)
		}
		x, _, err := evaluation.ReadSamples(out, 10)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, x)
	}
	for i, v := range images[0].Data {
		if d := math.Abs(float64(v - images[1].Data[i])); !(d < 1e-3) {
			t.Fatalf("pixel %d is %g with onednn and %g with go", i, v, images[1].Data[i])
		}
	}
	for _, args := range [][]string{{"train", "mnist", "--out", filepath.Join(dir, "run")}, {"demo", "--fresh", "--out", dir}} {
		if r := unnoise(t, append(args, "--backend", "go")...); r.code != exitUsage || !strings.Contains(r.stderr, "--backend go does not train") {
			t.Errorf("%v: exit code %d, %q, %q", args, r.code, r.stdout, r.stderr)
		}
	}
	for backend, want := range map[string]string{"xla": `XLA has no plugin "" here`, "xla:none": `XLA has no plugin "none" here`, "xla:/none/such.so": "/none/such.so"} {
		if r, _ := draw(backend); r.code != exitFailure || !strings.Contains(r.stderr, want) {
			t.Errorf("--backend %s: exit code %d, %q; want %q", backend, r.code, r.stderr, want)
		}
	}
}

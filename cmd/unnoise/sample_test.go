package main

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
)

// Pure noise is what the last timestep has: a walk that begins earlier takes it for a digit with less noise.
func TestWalksBeginWithNoise(t *testing.T) {
	schedule, err := diffusion.Linear(300, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	for _, sampler := range noiseSamplers {
		for _, steps := range []int{1, 2, 20, 160, 299, 300} {
			timesteps, method, err := sampling{sampler: sampler, steps: steps}.plan(schedule)
			if err != nil {
				t.Fatal(err)
			}
			if len(timesteps) != steps || timesteps[0] != 299 {
				t.Errorf("%s, %d steps: %d timesteps from %d", sampler, steps, len(timesteps), timesteps[0])
			}
			if sampler != "ddpm" {
				continue
			}
			if last := timesteps[len(timesteps)-1]; steps > 1 && last != 0 {
				t.Errorf("ddpm, %d steps: the last timestep is %d", steps, last)
			}
			want := diffusion.DDPM{Variance: diffusion.FixedSmall}
			if steps == 300 {
				want.Variance = diffusion.FixedLarge
			}
			if method != want {
				t.Errorf("ddpm, %d steps: %+v, want %+v", steps, method, want)
			}
		}
	}
}

// Each frame says which x it shows, beside what the network made of it; the first is pure noise, the last the result.
func TestFilm(t *testing.T) {
	x := func(v float32) diffusion.Images {
		x := diffusion.NewImages(1, 1, 1, 1)
		x.Data[0] = v
		return x
	}
	for _, c := range []struct {
		most, timestep int // of the walk's last step
		captions       []string
		x, x0          []float32
	}{
		{9, 0, []string{"t = 4", "t = 3", "t = 2", "t = 1", "t = 0", "result"}, []float32{-1, 0, 1, 2, 3, 4}, []float32{10, 11, 12, 13, 14, 4}},
		{4, 0, []string{"t = 4", "t = 3", "t = 1", "result"}, []float32{-1, 0, 2, 4}, []float32{10, 11, 13, 4}},
		{1, 0, []string{"result"}, []float32{4}, []float32{4}},
		{3, -5, []string{"t = 0.00", "t = 0.40", "t = 1.00"}, []float32{-1, 1, 4}, []float32{10, 12, 4}},
	} {
		f := film{most: c.most, x: x(-1)}
		for i := range 5 {
			f.add(diffusion.Step{Index: i, Total: 5, Timestep: c.timestep + 4 - i, X: x(float32(i)), X0: x(float32(10 + i))})
		}
		var captions []string
		var xs, x0s []float32
		for _, frame := range f.frames {
			captions, xs, x0s = append(captions, frame.Caption), append(xs, frame.X.Data[0]), append(x0s, frame.X0.Data[0])
		}
		if !slices.Equal(captions, c.captions) || !slices.Equal(xs, c.x) || !slices.Equal(x0s, c.x0) {
			t.Errorf("%d frames: %q of %v beside %v, want %q of %v beside %v", c.most, captions, xs, x0s, c.captions, c.x, c.x0)
		}
	}
}

// Guidance takes two evaluations, and so does a step of the midpoint method; a model without classes has no guidance to tell of.
func TestEvaluations(t *testing.T) {
	for want, s := range map[int]sampling{
		20: {sampler: "ddim", steps: 20, guidance: 5},
		21: {sampler: "euler", steps: 21, guidance: 1, guided: true},
		44: {sampler: "dpm++", steps: 22, guidance: 0, guided: true},
		92: {sampler: "midpoint", steps: 23, guidance: 5, guided: true},
	} {
		if got := s.evaluations(); got != want {
			t.Errorf("%+v takes %d evaluations, want %d", s, got, want)
		}
		var p figure.Parameters
		s.describe(&p)
		if _, told := p.Get("guidance"); told != s.guided {
			t.Errorf("%+v is described by %v", s, p)
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

package deepfloyd

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// models holds the folders that testdata/pipelines.safetensors was recorded with, whatever UNNOISE_GOLDEN names.
var models = filepath.Join("..", "testdata", "golden")

// openPipeline opens a pipeline; it is closed with the test.
func openPipeline(t testing.TB, b compute.Backend, dir string, warn func(string)) *Pipeline {
	t.Helper()
	p, err := OpenPipeline(b, dir, Options{DType: dtypes.Float32, Warn: warn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// drawing says what draw draws: an image for each prompt.
type drawing struct {
	model.Sampling
	model.Ask
	small diffusion.Images
}

// draw asks the generator for what diffusers' pipelines ask theirs for, in their order: the start,
// the noise of the small images, the noise of the steps.
func draw(t testing.TB, p *Pipeline, w drawing, g *diffusion.Generator) diffusion.Images {
	t.Helper()
	s, sampler, err := p.Plan(w.Sampling)
	if err != nil {
		t.Fatal(err)
	}
	ask := w.Ask
	sampler.Noise, ask.Guidance = g.Noise, s.Scale()
	x := p.Spec().Images(len(ask.Show))
	g.Normal(x.Data)
	if w.small.N > 0 {
		noise := x.Like()
		g.Normal(noise.Data)
		if ask.Beside, err = p.Beside(w.small, noise, ask.Level); err != nil {
			t.Fatal(err)
		}
	}
	d, err := p.Bind(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if x, err = sampler.Sample(t.Context(), d, x); err != nil {
		t.Fatal(err)
	}
	return x
}

func sampling(steps int, guidance float64) model.Sampling {
	return model.Sampling{Steps: steps, Guidance: &guidance}
}

// Texts and a seed give what diffusers' pipelines draw of them, one after the other with one generator. How many
// evaluations it takes changes nothing.
func TestPipelinesEqualDiffusers(t *testing.T) {
	f, err := weights.Open(filepath.Join("testdata", "pipelines.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	texts := f.Metadata()
	one, two, negative := texts["prompt.0"], texts["prompt.1"], texts["negative"]
	b := enginetest.Backend(t, "winograd")
	var warnings []string
	first := openPipeline(t, b, filepath.Join(models, "if_tiny"), func(s string) { warnings = append(warnings, s) })
	second := openPipeline(t, b, filepath.Join(models, "if_sr_tiny"), nil)
	prompts, err := first.Encode(t.Context(), []string{one, two, negative}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], two) ||
		!strings.Contains(warnings[0], "only the first 76 are read") {
		t.Errorf("warnings %q, expected one on the second prompt's length", warnings)
	}
	compare := func(got []float32, name string, tolerance float64) {
		t.Helper()
		want, _ := golden.Float32(t, f, name)
		golden.Close(t, got, want, tolerance, name)
	}
	compare(slices.Concat(prompts[0].Embedding.Data, prompts[1].Embedding.Data), "embeds", 1e-4)
	compare(prompts[2].Embedding.Data, "negative", 1e-4)

	ask := model.Ask{Show: []model.Prompt{prompts[0], prompts[0], prompts[1], prompts[1]}, Away: prompts[2]}
	g := diffusion.NewGenerator(1<<32 + 7)
	small := draw(t, first, drawing{Sampling: sampling(4, 5), Ask: ask}, g)
	compare(small.Data, "small", 1e-3)
	larger := drawing{Sampling: sampling(4, 2), Ask: ask, small: small}
	larger.Level = 100
	// Two runs in a row: the first one's rounding grows in the second.
	compare(draw(t, second, larger, g).Data, "large", 5e-3)
	plain := draw(t, first, drawing{Sampling: sampling(3, 1), Ask: model.Ask{Show: prompts[:1]}}, g)
	compare(plain.Data, "plain", 1e-3)

	ask.Batch = 3
	g = diffusion.NewGenerator(7) // it takes 32 bits of a seed
	compare(draw(t, first, drawing{Sampling: sampling(4, 5), Ask: ask}, g).Data, "small", 1e-3)
}

// Every sampler of the table draws images with every stage, of the folder's clipping.
func TestEverySampler(t *testing.T) {
	b := enginetest.Backend(t, "winograd")
	first := openPipeline(t, b, filepath.Join(models, "if_tiny"), nil)
	prompts, err := first.Encode(t.Context(), []string{"a man", ""}, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := first.Spec()
	if !slices.Equal(spec.Samplers, model.Samplers()) {
		t.Errorf("the stage knows %v, expected %v", spec.Samplers, model.Samplers())
	}
	for _, name := range spec.Samplers {
		s := sampling(3, 3)
		s.Sampler = name
		_, sampler, err := first.Plan(s)
		if err != nil {
			t.Fatal(err)
		}
		if sampler.Clip != first.stage.Scheduler.Clip {
			t.Errorf("%s clips by %+v, the folder says %+v", name, sampler.Clip, first.stage.Scheduler.Clip)
		}
		ask := model.Ask{Show: prompts[:1], Away: prompts[1]}
		x := draw(t, first, drawing{Sampling: s, Ask: ask}, diffusion.NewGenerator(1))
		if want := spec.Images(1); !x.SameShape(want) || !diffusion.Finite(x.Data) {
			t.Errorf("%s draws %s", name, x.Shape())
		}
		limit := float32(1.001)
		if name == "midpoint" {
			limit = 1.5 // its last step ends beside its estimate
		}
		if low, high := slices.Min(x.Data), slices.Max(x.Data); low < -limit || high > limit || high-low < 0.1 {
			t.Errorf("%s draws values from %g to %g, expected some in [-1, 1]", name, low, high)
		}
	}
}

func TestPipelineMisuse(t *testing.T) {
	b := enginetest.Backend(t, "winograd")
	open := func(name string) *Pipeline { return openPipeline(t, b, filepath.Join(golden.Dir(t), name), nil) }
	first, second, closed := open("if_tiny"), open("if_sr_tiny"), open("if_tiny")
	closed.Close()
	prompts, err := first.Encode(t.Context(), []string{"a man", ""}, nil)
	if err != nil {
		t.Fatal(err)
	}
	man, wide, long := prompts[0], prompts[0], prompts[0]
	wide.Embedding.Dim++
	long.Embedding.Tokens++
	bind := func(p *Pipeline, ask model.Ask) error {
		_, err := p.Bind(t.Context(), ask)
		return err
	}
	beside := func(p *Pipeline, small, noise diffusion.Images, level int) error {
		_, err := p.Beside(small, noise, level)
		return err
	}
	plan := func(p *Pipeline, s model.Sampling) error {
		_, _, err := p.Plan(s)
		var field *model.FieldError
		if !errors.As(err, &field) {
			t.Errorf("the error %v names no field", err)
		}
		return err
	}
	guidance := 7.0
	small, noise := diffusion.NewImages(1, 3, 16, 16), diffusion.NewImages(1, 3, 32, 32)
	for what, c := range map[string]struct {
		err   error
		words string
	}{
		"closed": {bind(closed, model.Ask{Show: prompts[:1], Guidance: 1}), "the stage was closed"},
		"a small image": {bind(first, model.Ask{Show: prompts[:1], Guidance: 1, Beside: noise}),
			"from a text alone"},
		"no small image": {bind(second, model.Ask{Show: prompts[:1], Guidance: 1}),
			"expected small ones, found none"},
		"not encoded": {bind(first, model.Ask{Show: []model.Prompt{{Text: "a cat"}}, Guidance: 1}),
			`the prompt "a cat" has no embeddings`},
		"negative": {bind(first, model.Ask{Show: prompts[:1], Guidance: 2}), "the negative prompt: "},
		"another encoder": {bind(first, model.Ask{Show: []model.Prompt{wide}, Guidance: 1}),
			"another text encoder's"},
		"tokens": {bind(first, model.Ask{Show: []model.Prompt{man, long}, Guidance: 1}),
			"expected the same"},
		"nothing to enlarge": {beside(first, small, noise, 10), "from a text alone"},
		"an impossible size": {beside(second, diffusion.Images{N: 1, C: 3}, noise, 10), "can't scale"},
		"a negative level":   {beside(second, small, noise, -1), "timestep -1 is outside"},
		"too high a level":   {beside(second, small, noise, 1<<20), "outside the schedule's 0 to"},
		"two small images": {beside(second, diffusion.NewImages(2, 3, 16, 16), noise, 10),
			"the noise has shape [1,3,32,32], expected [2,3,32,32]"},
		"sampler":   {plan(first, model.Sampling{Sampler: "karras"}), `sampler: expected ddpm`},
		"steps":     {plan(first, model.Sampling{Steps: 1 << 20}), "steps: "},
		"timesteps": {plan(first, model.Sampling{Timesteps: "fast28"}), "timesteps: "},
		"both":      {plan(first, model.Sampling{Timesteps: "fast27", Steps: 27}), ": "},
		"eta": {plan(first, model.Sampling{Sampler: "ddim", Eta: 2, Guidance: &guidance}),
			"eta: expected a number from 0 to 1"},
		"eta of ddpm": {plan(first, model.Sampling{Eta: 0.5}), "eta: it has no meaning"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.words) {
			t.Errorf("%s: %v; want a word on %q", what, c.err, c.words)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d, err := first.Bind(ctx, model.Ask{Show: prompts[:1], Guidance: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, sampler, err := first.Plan(sampling(3, 1))
	if err != nil {
		t.Fatal(err)
	}
	sampler.Noise = diffusion.NewGenerator(1).Noise
	steps := 0
	for _, err := range sampler.Steps(ctx, d, first.Spec().Images(1)) {
		if cancel(); steps == 1 && !errors.Is(err, context.Canceled) {
			t.Errorf("after a cancelled step: %v", err)
		}
		steps++
	}
	if steps != 2 {
		t.Errorf("%d steps before the cancelled run stopped, expected 2", steps)
	}
}

package deepfloyd

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/weights"
)

// models holds the folders that testdata/pipelines.safetensors was recorded with, whatever UNNOISE_GOLDEN names.
var models = filepath.Join("..", "testdata", "golden")

func draw(t testing.TB, s *Stage, w Walk, n int, g *diffusion.Generator) diffusion.Images {
	t.Helper()
	var x diffusion.Images
	for step, err := range s.Steps(t.Context(), w, n, g) {
		if err != nil {
			t.Fatal(err)
		}
		x = step.X
	}
	return x
}

func timesteps(t testing.TB, s *Stage, n int) []int {
	t.Helper()
	list, err := s.Scheduler.Timesteps(n)
	if err != nil {
		t.Fatal(err)
	}
	return list
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
	e := TextEncoder{Dir: filepath.Join(models, "if_tiny"), DType: dtypes.Float32, Warn: func(s string) { warnings = append(warnings, s) }}
	prompts, err := e.Encode(t.Context(), b, one, two, negative)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], two) || !strings.Contains(warnings[0], "only the first 76 are read") {
		t.Errorf("warnings %q, expected one on the second prompt's length", warnings)
	}
	compare := func(got []float32, name string, tolerance float64) {
		t.Helper()
		want, _ := golden.Float32(t, f, name)
		golden.Close(t, got, want, tolerance, name)
	}
	compare(selected(t, prompts, one, two).Data, "embeds", 1e-4)
	compare(selected(t, prompts, negative).Data, "negative", 1e-4)

	text, away := selected(t, prompts, one, one, two, two), selected(t, prompts, negative)
	first, second := openStage(t, b, filepath.Join(models, "if_tiny")), openStage(t, b, filepath.Join(models, "if_sr_tiny"))
	g := diffusion.NewGenerator(1<<32 + 7)
	w := Walk{Timesteps: timesteps(t, first, 4), Text: text, Negative: away, Guidance: 5}
	small := draw(t, first, w, 4, g)
	compare(small.Data, "small", 1e-3)
	large := draw(t, second, Walk{Timesteps: timesteps(t, second, 4), Text: text, Negative: away, Guidance: 2, Small: small, NoiseLevel: 100}, 4, g)
	compare(large.Data, "large", 5e-3) // two walks in a row: the first one's rounding grows in the second
	plain := draw(t, first, Walk{Timesteps: timesteps(t, first, 3), Text: selected(t, prompts, one), Guidance: 1}, 1, g)
	compare(plain.Data, "plain", 1e-3)

	first.UNet.Batch = 3
	compare(draw(t, first, w, 4, diffusion.NewGenerator(7)).Data, "small", 1e-3) // the generator takes 32 bits of a seed
}

func TestWalkMisuse(t *testing.T) {
	b := enginetest.Backend(t, "winograd")
	prompts := encode(t, b, "if_tiny", "a man")
	open := func(model string) *Stage { return openStage(t, b, filepath.Join(golden.Dir(t), model)) }
	first, second := open("if_tiny"), open("if_sr_tiny")
	closed, err := OpenStage(filepath.Join(golden.Dir(t), "if_tiny"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	small := diffusion.NewImages(1, 3, 4, 4)
	for what, c := range map[string]struct {
		stage *Stage
		small diffusion.Images
		n     int
		words string
	}{
		"no weights":         {closed, diffusion.Images{}, 1, "are not loaded"},
		"no images":          {first, diffusion.Images{}, 0, "expected one or more"},
		"a small image":      {first, small, 1, "from a text alone"},
		"no small image":     {second, diffusion.Images{}, 1, "expected 1 small ones of 3 channels"},
		"too few":            {second, small, 2, "expected 2 small ones"},
		"an impossible size": {second, diffusion.Images{N: 1, C: 3}, 1, "can't scale"},
	} {
		w := Walk{Timesteps: []int{10, 0}, Text: selected(t, prompts, "a man"), Guidance: 1, Small: c.small}
		steps := 0
		for _, err := range c.stage.Steps(t.Context(), w, c.n, diffusion.NewGenerator(1)) {
			if steps++; err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s: %v; want a word on %q", what, err, c.words)
			}
		}
		if steps != 1 {
			t.Errorf("%s: %d steps, expected the error alone", what, steps)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steps := 0
	w := Walk{Timesteps: []int{10, 5, 0}, Text: selected(t, prompts, "a man"), Guidance: 1}
	for _, err := range first.Steps(ctx, w, 1, diffusion.NewGenerator(1)) {
		if cancel(); steps == 1 && !errors.Is(err, context.Canceled) {
			t.Errorf("after a cancelled step: %v", err)
		}
		steps++
	}
	if steps != 2 {
		t.Errorf("%d steps before the cancelled walk stopped, expected 2", steps)
	}
}

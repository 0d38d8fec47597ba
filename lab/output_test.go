package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// Where files can't be written, the others are there.
func TestOutputWritesWhatItCan(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	o := Output{Files: []string{path("none/y.png"), path("y.safetensors"), path("none/z.png"), path("y.png")}}
	files, err := o.write(Result{Images: diffusion.NewImages(1, 3, 4, 4), Range: model.MinusOneToOne}, Film{})
	if err == nil || !strings.Contains(err.Error(), "none/y.png") || !strings.Contains(err.Error(), "none/z.png") ||
		!slices.Equal(files, []string{o.Files[1], o.Files[3]}) {
		t.Errorf("two files that can't be written: %q, %v", files, err)
	}
	for _, name := range []string{"y.safetensors", "y.png"} {
		if _, err := os.Stat(path(name)); err != nil {
			t.Error(err)
		}
	}
}

// Changing a recipe gives what hangs on a changed field its default again, and leaves the rest.
func TestChange(t *testing.T) {
	guidance, seed, level := 3., uint64(7), 100
	recipe := Request{Model: "a", Revision: "r", Prompts: []string{"x"}, Order: ByPrompt, Count: 4,
		Sampling: model.Sampling{Sampler: "ddim", Steps: 9, Eta: 0.5, Guidance: &guidance},
		Upscale:  &Upscale{Model: "b", Sampling: model.Sampling{Sampler: "ddpm", Steps: 8}, NoiseLevel: &level},
		Illusion: &Illusion{Seeds: []uint64{5, 6}}}
	to := Request{Model: "c", Prompts: []string{"y"}, Seed: &seed, Sampling: model.Sampling{Sampler: "euler", Steps: 2},
		Upscale: &Upscale{Model: "d", Sampling: model.Sampling{Steps: 3}}}
	for _, c := range []struct {
		fields []string
		wrong  func(r Request) bool
	}{
		{nil, func(r Request) bool {
			return r.Model != "a" || r.Steps != 9 || r.Count != 4 || r.Upscale.Steps != 8 || len(r.Illusion.Seeds) != 2
		}},
		{[]string{"sampler"}, func(r Request) bool {
			return r.Sampler != "euler" || r.Steps != 0 || r.Eta != 0 || r.Guidance == nil || r.Upscale.Steps != 8
		}},
		{[]string{"upscale.steps"}, func(r Request) bool {
			return r.Steps != 9 || r.Upscale.Steps != 3 || r.Upscale.Sampler != "ddpm" || r.Upscale.NoiseLevel == nil
		}},
		{[]string{"upscale.model"}, func(r Request) bool {
			return r.Upscale.Model != "d" || r.Upscale.Steps != 0 || r.Upscale.NoiseLevel != nil
		}},
		{[]string{"prompts"}, func(r Request) bool {
			return r.Prompts[0] != "y" || r.Order != "" || r.Revision != "r"
		}},
		{[]string{"model"}, func(r Request) bool {
			return r.Model != "c" || r.Revision != "" || r.Prompts != nil || r.Steps != 0 || r.Upscale != nil ||
				r.Illusion.Seeds != nil
		}},
		{[]string{"seed"}, func(r Request) bool { return *r.Seed != 7 || r.Illusion.Seeds != nil || r.Steps != 9 }},
	} {
		r := recipe
		upscale := *recipe.Upscale
		r.Upscale = &upscale
		r.Change(to, func(field string) bool { return slices.Contains(c.fields, field) })
		if c.wrong(r) {
			t.Errorf("%q changed: found %+v, upscale %+v, illusion %+v", c.fields, r, r.Upscale, r.Illusion)
		}
	}
	if len(recipe.Illusion.Seeds) != 2 {
		t.Error("the recipe that was changed lost its illusion's seeds")
	}
}

// A prompt's file is named by it, and by no other.
func TestNameOf(t *testing.T) {
	taken := map[string]bool{}
	for _, c := range [][2]string{{"A red  fox, at night!", "a-red-fox-at-night"}, {"Zürich ☂", "zürich"}} {
		if got := nameOf(c[0], taken); got != c[1] {
			t.Errorf("%q: expected %q, found %q", c[0], c[1], got)
		}
	}
	again := nameOf("a red fox at night", taken)
	if !strings.HasPrefix(again, "a-red-fox-at-night-") {
		t.Errorf("a name that is taken: found %q", again)
	}
	if name := nameOf("☂", taken); name == "" || strings.HasPrefix(name, "-") {
		t.Errorf("without a letter: found %q", name)
	}
	if name := nameOf(strings.Repeat("ü", 100), taken); len([]rune(name)) != 48 {
		t.Errorf("a long prompt: found %q", name)
	}
}

package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

func schedule(t *testing.T) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.Linear(300, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each field that can't be is refused by its name; what is left out is filled in.
func TestPlan(t *testing.T) {
	number := func(v float64) *float64 { return &v }
	spec := Spec{ID: "m", Process: schedule(t), Samplers: []string{"ddpm", "ddim", "dpm++"}, Guidance: 5,
		Vocabulary: []string{"0", "1"}}
	flow := Spec{ID: "f", Process: diffusion.Flow{}, Samplers: []string{"euler", "heun"}, Guidance: 1}
	for _, c := range []struct {
		spec         Spec
		s            Sampling
		steps, moves int
		guidance     float64
		wrong        string // the field
	}{
		{spec, Sampling{}, 300, 300, 5, ""},
		{spec, Sampling{Sampler: "ddim"}, 50, 50, 5, ""},
		{spec, Sampling{Sampler: "dpm++", Guidance: number(0)}, 20, 20, 0, ""},
		{spec, Sampling{Sampler: "ddim", Steps: 1, Eta: 1}, 1, 1, 5, ""},
		{flow, Sampling{}, 50, 50, 1, ""},
		{flow, Sampling{Sampler: "heun"}, 25, 25, 1, ""},
		{flow, Sampling{Steps: 1000}, 1000, 1000, 1, ""}, // time is continuous
		{spec, Sampling{Sampler: "euler"}, 0, 0, 0, "sampler"},
		{spec, Sampling{Steps: 301}, 0, 0, 0, "steps"},
		{spec, Sampling{Steps: -1}, 0, 0, 0, "steps"},
		{spec, Sampling{Eta: 0.5}, 0, 0, 0, "eta"},
		{spec, Sampling{Sampler: "ddim", Eta: 1.5}, 0, 0, 0, "eta"},
		{spec, Sampling{Sampler: "ddim", Eta: math.NaN()}, 0, 0, 0, "eta"},
		{flow, Sampling{Guidance: number(2)}, 0, 0, 0, "guidance"},
	} {
		got, sampler, err := Plan(c.spec, c.s, c.spec.Samplers[0])
		var field *FieldError
		if errors.As(err, &field) && c.wrong != "" && field.Field == c.wrong {
			continue
		}
		if err != nil || c.wrong != "" {
			t.Errorf("%s, %+v: found %v, expected an error in %q", c.spec.ID, c.s, err, c.wrong)
			continue
		}
		if got.Steps != c.steps || len(sampler.Path) != c.moves || *got.Guidance != c.guidance || got.Sampler == "" {
			t.Errorf("%s, %+v: found %+v, γ = %g, %d moves; expected %d steps, %d moves, γ = %g", c.spec.ID, c.s, got,
				*got.Guidance, len(sampler.Path), c.steps, c.moves, c.guidance)
		}
		again, _, err := Plan(c.spec, got, "none")
		if err != nil || again.Steps != got.Steps || again.Sampler != got.Sampler || *again.Guidance != *got.Guidance {
			t.Errorf("%+v, once more: found %+v, %v", got, again, err)
		}
	}
}

// All samplers of the table draw a single point from any noise: the estimate is the point.
func TestSamplersReachTheEstimate(t *testing.T) {
	const point = 0.25
	for _, name := range Samplers() {
		for what, process := range map[string]diffusion.Process{"schedule": schedule(t), "flow": diffusion.Flow{}} {
			spec := Spec{ID: what, Process: process, Samplers: []string{name}, Guidance: 1}
			_, sampler, err := Plan(spec, Sampling{Steps: 10}, name)
			if err != nil {
				t.Fatal(err)
			}
			g := diffusion.NewGenerator(3)
			sampler.Noise = g.Noise
			x := diffusion.NewImages(1, 1, 2, 2)
			g.Normal(x.Data)
			x, err = sampler.Sample(t.Context(), pointDenoiser(point), x)
			if what == "flow" && err != nil { // a method of schedules
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
				continue
			}
			for _, v := range x.Data {
				if math.Abs(float64(v-point)) > 0.02 {
					t.Errorf("%s, %s: found %g, expected %g", name, what, v, float64(point))
				}
			}
		}
	}
}

func TestSamplerNamed(t *testing.T) {
	for _, name := range Samplers() {
		if s, err := SamplerNamed(name); err != nil || s.Name != name {
			t.Errorf("%s: found %q, %v", name, s.Name, err)
		}
	}
	_, err := SamplerNamed("plms")
	if field := new(FieldError); !errors.As(err, &field) || field.Field != "sampler" ||
		!strings.Contains(err.Error(), `found "plms"`) {
		t.Errorf("of an unknown one: %v", err)
	}
}

// Values go from one range to another and back, and black stays black.
func TestRange(t *testing.T) {
	x := diffusion.Images{N: 1, C: 1, H: 1, W: 4, Data: []float32{-1, -0.5, 0, 1}}
	y := MinusOneToOne.To(ZeroToOne, x)
	if want := []float32{0, 0.25, 0.5, 1}; !slices.Equal(y.Data, want) {
		t.Errorf("[-1,1] to [0,1]: found %v, expected %v", y.Data, want)
	}
	if back := ZeroToOne.To(MinusOneToOne, y); !slices.Equal(back.Data, x.Data) {
		t.Errorf("and back: found %v, expected %v", back.Data, x.Data)
	}
	if x.Data[0] != -1 {
		t.Error("the images that were given have changed")
	}
}

func TestCheckPrompt(t *testing.T) {
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprint(i))
	}
	for _, c := range []struct {
		spec       Spec
		text, want string
	}{
		{Spec{Vocabulary: []string{"3"}}, "3", ""},
		{Spec{Vocabulary: []string{"3"}}, "", ""},
		{Spec{Texts: true}, "a fox", ""},
		{Spec{ID: "m", Vocabulary: []string{"3"}}, "4", `expected 3, which m knows, found "4"`},
		{Spec{ID: "m", Vocabulary: []string{"3", "5"}}, "4", `expected 3 or 5, which m knows, found "4"`},
		{Spec{ID: "m", Vocabulary: many}, "x", "10, 11 or one of 8 more, which m knows"},
		{Spec{ID: "m"}, "4", `m takes no prompts, found "4"`},
	} {
		err := c.spec.CheckPrompt(c.text)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, %q: found %v, expected %q", c.spec.Vocabulary, c.text, err, c.want)
		}
	}
}

// A slice shares its numbers, and nothing can be appended into the next text.
func TestEmbeddings(t *testing.T) {
	e := Embeddings{N: 3, Tokens: 2, Dim: 1, Data: []float32{0, 1, 2, 3, 4, 5}}
	s := e.Slice(1, 2)
	if s.N != 1 || !slices.Equal(s.Data, []float32{2, 3}) {
		t.Errorf("the second text: found %+v", s)
	}
	_ = append(s.Data, 9)
	if e.Data[4] != 4 {
		t.Error("appending to a slice has changed the next text")
	}
	if !e.Slice(0, 3).Equal(e) || e.Slice(0, 1).Equal(e.Slice(1, 2)) || s.Equal(Embeddings{N: 1, Tokens: 1, Dim: 2,
		Data: s.Data}) {
		t.Error("Equal is wrong about slices or shapes")
	}
}

func TestFieldError(t *testing.T) {
	inner := errors.New("inner")
	err := Errorf("upscale.steps", "expected 1, found %d: %w", 2, inner)
	var field *FieldError
	if !errors.As(err, &field) || field.Field != "upscale.steps" || !errors.Is(err, inner) ||
		err.Error() != "upscale.steps: expected 1, found 2: inner" {
		t.Errorf("found %v", err)
	}
}

// pointDenoiser estimates one clean image, whatever it is given.
func pointDenoiser(value float32) diffusion.Denoiser {
	return func(_ context.Context, x diffusion.Images, _ float64) (diffusion.Estimate, error) {
		y := x.Like()
		for i := range y.Data {
			y.Data[i] = value
		}
		return diffusion.Estimate{Value: y, Of: diffusion.Sample}, nil
	}
}

package lab

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// ideal is a model of images that are all alike: it knows x_0 exactly. Prompts name its gray.
type ideal struct {
	spec  model.Spec
	asked *[]diffusion.Images // the small images that it was shown
}

func newIdeal(p diffusion.Process, channels, side int) ideal {
	return ideal{spec: model.Spec{
		ID: "ideal", Channels: channels, Height: side, Width: side, Range: model.MinusOneToOne, Process: p,
		Prediction: diffusion.Sample, Samplers: []string{"ddim", "ddpm", "dpm++", "euler"},
		Vocabulary: []string{"dark", "light", "ramp"}, Guidance: 1,
	}}
}

func (m ideal) Spec() model.Spec { return m.spec }
func (m ideal) Close()           {}
func (m ideal) Plan(s model.Sampling) (model.Sampling, diffusion.Sampler, error) {
	return model.Plan(m.spec, s, "ddim")
}

func (m ideal) Encode(_ context.Context, texts []string, _ model.Report) (all []model.Prompt, err error) {
	for _, text := range texts {
		all = append(all, model.Prompt{Text: text})
	}
	return all, nil
}

// image is what a prompt shows.
func (m ideal) image(prompt string) diffusion.Images {
	x := m.spec.Images(1)
	for i := range x.Data {
		switch prompt {
		case "dark":
			x.Data[i] = -0.5
		case "light":
			x.Data[i] = 0.5
		case "ramp":
			x.Data[i] = 2*float32(i%(x.H*x.W))/float32(x.H*x.W) - 1
		}
	}
	return x
}

func (m ideal) Bind(_ context.Context, ask model.Ask) (diffusion.Denoiser, error) {
	if m.asked != nil {
		*m.asked = append(*m.asked, ask.Beside)
	}
	return func(_ context.Context, x diffusion.Images, _ float64) (diffusion.Estimate, error) {
		y := x.Like()
		for n := range x.N {
			copy(y.Slice(n, n+1).Data, m.image(ask.Show[min(n, len(ask.Show)-1)].Text).Data)
		}
		return diffusion.Estimate{Value: y, Of: diffusion.Sample}, nil
	}, nil
}

func thousand(t *testing.T) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.SquaredCosine(1000)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pictureOf is a picture file of an image.
func pictureOf(t *testing.T, x diffusion.Images, of model.Range) Picture {
	t.Helper()
	data, err := encodePNG(of.To(model.ZeroToOne, x))
	if err != nil {
		t.Fatal(err)
	}
	return Picture{Name: "test.png", Data: data}
}

func drawn(t *testing.T, m model.Model, r Request) Result {
	t.Helper()
	result, err := Run(DrawWith(t.Context(), m, r), nil)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func seedOf(v uint64) *uint64 { return &v }

// x_t is the known mixture of picture and noise at every time, of both processes.
func TestForwardStrip(t *testing.T) {
	for name, c := range map[string]struct {
		process diffusion.Process
		at      []string
		times   []float64
	}{
		"schedule": {thousand(t), []string{"250", "50%", "100%", "0%"}, []float64{250, 499, 999, diffusion.Clean}},
		"flow":     {diffusion.Flow{}, []string{"0.25", "50%", "100%", "0%"}, []float64{0.25, 0.5, 0, 1}},
	} {
		m := newIdeal(c.process, 1, 8)
		picture := m.image("ramp")
		r := Request{Seed: seedOf(3), Strip: &Strip{Picture: pictureOf(t, picture, m.spec.Range), At: c.at,
			Forward: true, Show: []Quantity{Noisy, Noise}}}
		result := drawn(t, m, r)
		if x := result.Images; x.N != 10 || result.Request.Images() != 10 {
			t.Fatalf("%s: %d images, want 2 rows of 5", name, x.N)
		}
		for k, at := range c.times {
			signal, sigma := c.process.Levels(at)
			x, noise := result.Images.Slice(k+1, k+2).Data, result.Images.Slice(6+k, 7+k).Data
			for i, v := range x {
				want := signal*float64(picture.Data[i]) + sigma*float64(noise[i])
				if math.Abs(float64(v)-want) > 0.01 { // the picture has 256 levels
					t.Fatalf("%s, time %g, pixel %d: %g, want %g", name, at, i, v, want)
				}
			}
		}
		if g := result.Request.Grid(result.Images, result.Range, 0); g.Columns != 5 ||
			g.ColumnLabels[0] != "original" || !slices.Equal(g.RowLabels, []string{"x_t", "epsilon"}) {
			t.Errorf("%s: a grid of %d columns, %q and %q", name, g.Columns, g.ColumnLabels, g.RowLabels)
		}
	}
}

// A network that knows the image finds it in one step and in many, and the noise that was added.
func TestStrip(t *testing.T) {
	for name, process := range map[string]diffusion.Process{"schedule": thousand(t), "flow": diffusion.Flow{}} {
		m := newIdeal(process, 1, 8)
		picture := m.image("light")
		r := Request{Prompts: []string{"light"}, Seed: seedOf(3), Sampling: model.Sampling{Steps: 10},
			Strip: &Strip{Picture: pictureOf(t, picture, m.spec.Range), At: []string{"75%", "25%"}, Every: 2,
				Show: Quantities()}}
		result := drawn(t, m, r)
		s := result.Request.Strip
		rows, columns := s.shape()
		if len(s.moments) == 0 || rows != 6 || result.Images.N != rows*columns {
			t.Fatalf("%s: %d images in %d rows and %d columns, %d moments", name, result.Images.N, rows, columns,
				len(s.moments))
		}
		cell := func(row, column int) []float32 {
			return result.Images.Slice(row*columns+column, row*columns+column+1).Data
		}
		forward := drawn(t, m, Request{Seed: seedOf(3), Strip: &Strip{Picture: pictureOf(t, picture, m.spec.Range),
			At: s.At, Forward: true, Show: []Quantity{Noisy, Noise}}})
		for i := range s.At {
			near(t, name+", noisy", cell(3*i, 1), forward.Images.Slice(1+i, 2+i).Data, 1e-6)
			near(t, name+", one step", cell(3*i, 3), picture.Data, 1e-4)
			near(t, name+", iterative", cell(3*i, columns-1), picture.Data, 1e-4)
			near(t, name+", x0", cell(3*i+1, 1), picture.Data, 1e-4)
			near(t, name+", epsilon", cell(3*i+2, 1), forward.Images.Slice(4+i, 5+i).Data, 0.02)
		}
		// The path of the later time leaves what lies before it white.
		near(t, name+", nothing", cell(3, 4), slices.Repeat([]float32{1}, 64), 0)
		// Alone, a time has the same row.
		r.Strip.At = s.At[1:]
		r.Strip.Show = nil
		alone := drawn(t, m, r)
		near(t, name+", alone", alone.Images.Slice(3, 4).Data, cell(3, 3), 0)
	}
}

func near(t *testing.T, what string, got, want []float32, within float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, v := range got {
		if !(math.Abs(float64(v-want[i])) <= within) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, v, want[i])
		}
	}
}

func TestStripErrors(t *testing.T) {
	m := newIdeal(thousand(t), 1, 8)
	for field, change := range map[string]func(*Request){
		"strip.at":      func(r *Request) { r.Strip.At = []string{"1000"} },
		"strip.at ":     func(r *Request) { r.Strip.At = []string{"101%"} },
		"strip.at  ":    func(r *Request) { r.Strip.At = []string{"0%"} },
		"strip.at   ":   func(r *Request) { r.Strip.At = []string{"half"} },
		"strip.side":    func(r *Request) { r.Strip.Side = 64 },
		"strip.every":   func(r *Request) { r.Strip.Forward, r.Strip.Every = true, 2 },
		"strip.show":    func(r *Request) { r.Strip.Show = []Quantity{"x1"} },
		"strip.show ":   func(r *Request) { r.Strip.Forward, r.Strip.Show = true, []Quantity{Estimated} },
		"strip.blur":    func(r *Request) { r.Strip.Blur = -1 },
		"prompts":       func(r *Request) { r.Prompts = []string{"dark", "light"} },
		"vary":          func(r *Request) { r.Vary = []Vary{{"steps", []string{"1", "2"}}} },
		"strip.picture": func(r *Request) { r.Strip.Picture.Data = r.Strip.Picture.Data[:50] },
		"inpaint":       func(r *Request) { r.Edit = &Edit{} },
	} {
		r := Request{Strip: &Strip{Picture: pictureOf(t, m.image("ramp"), m.spec.Range)}}
		change(&r)
		_, err := Run(DrawWith(t.Context(), m, r), nil)
		var found *model.FieldError
		if !errors.As(err, &found) || found.Field != strings.TrimSpace(field) {
			t.Errorf("%s: the error is %v", field, err)
		}
	}
}

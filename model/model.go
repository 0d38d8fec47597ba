// Package model says what a model is that one can draw with: what it is told, what it estimates, and how one samples
// with it. Networks of all families are used through it.
package model

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
)

// Model is a model that draws from noise. Its weights are read when Encode or Bind needs them.
type Model interface {
	Spec() Spec
	// Plan completes how to sample, where s says nothing by the model's own defaults, and makes the sampler of it,
	// without Noise. An error is a [FieldError] where one field is to blame.
	Plan(s Sampling) (Sampling, diffusion.Sampler, error)
	// Encode returns what Bind takes for texts, one for each. Encoders may be too large to be in memory beside the
	// network that draws: give it all texts at once, before Bind.
	Encode(ctx context.Context, texts []string, report Report) ([]Prompt, error)
	// Bind loads what it needs and returns a denoiser for the images that ask describes. Guidance's two estimates come
	// from one evaluation of twice the batch.
	Bind(ctx context.Context, ask Ask) (diffusion.Denoiser, error)
	// Close releases weights and compiled graphs. The model can't be used after.
	Close()
}

// Upscaler is a model that makes small images larger.
type Upscaler interface {
	Model
	// Beside makes of small images, in the model's range, what is laid beside x_t: scaled up to the size of noise and
	// noised with it to level, a timestep of the model's own schedule for that. More noise lets the model invent more.
	Beside(small, noise diffusion.Images, level int) (diffusion.Images, error)
}

// Spec describes a model. It is known before weights are read.
type Spec struct {
	ID       string // what --model opens it by: a name, a folder
	Revision string // the hub's commit, where it is known
	Family   string // such as "mnist-unet" or "deepfloyd-if"

	Channels, Height, Width int
	// SideFactor: height and width may be other multiples of it. 0: they may not.
	SideFactor int
	Range      Range

	Process    diffusion.Process
	Prediction diffusion.Prediction
	Samplers   []string // that Plan knows

	// Vocabulary lists the prompts that the model understands, where it is small. Empty: none, or any text if Texts.
	Vocabulary []string
	Texts      bool
	Guidance   float64 // γ by default; 1 where there is nothing to be guided by

	Upscales   bool // it is an [Upscaler]
	NoiseLevel int  // the default level of Beside
	MaxLevel   int  // the highest

	WeightBytes int64    // in memory; 0: not known
	LeftOut     []string // parts of the model's folder that are not run
}

// Prompted reports whether the model is told a prompt.
func (s Spec) Prompted() bool { return s.Texts || len(s.Vocabulary) > 0 }

// Images returns n images of zeros in the model's size.
func (s Spec) Images(n int) diffusion.Images {
	return diffusion.NewImages(n, s.Channels, s.Height, s.Width)
}

// CheckPrompt refuses what the model can't be told. The empty text is the unconditional one.
func (s Spec) CheckPrompt(text string) error {
	switch {
	case text == "" || s.Texts || slices.Contains(s.Vocabulary, text):
		return nil
	case len(s.Vocabulary) == 0:
		return fmt.Errorf("%s takes no prompts, found %q", s.ID, text)
	}
	return fmt.Errorf("expected %s, which %s knows, found %q", list(s.Vocabulary), s.ID, text)
}

// list writes some words, and how many more there are.
func list(words []string) string {
	const most = 12
	switch last := len(words) - 1; {
	case last == 0:
		return words[0]
	case last < most:
		return strings.Join(words[:last], ", ") + " or " + words[last]
	}
	return fmt.Sprintf("%s or one of %d more", strings.Join(words[:most], ", "), len(words)-most)
}

// Range is the range of values that a model's images have: Low is black, High is white.
type Range struct{ Low, High float32 }

// The usual ranges.
var (
	ZeroToOne     = Range{0, 1}
	MinusOneToOne = Range{-1, 1}
)

// To returns images of range r in another range.
func (r Range) To(other Range, x diffusion.Images) diffusion.Images {
	if r == other {
		return x
	}
	y := x.Clone()
	scale := (other.High - other.Low) / (r.High - r.Low)
	shift := other.Low - r.Low*scale
	for i, v := range y.Data {
		y.Data[i] = v*scale + shift
	}
	return y
}

// Sampling says how to go from noise to images. Each field's zero value is the model's default.
type Sampling struct {
	Sampler   string   `json:"sampler,omitempty"`
	Steps     int      `json:"steps,omitempty"`
	Timesteps string   `json:"timesteps,omitempty"` // a published list of timesteps by its name, instead of Steps
	Eta       float64  `json:"eta,omitempty"`       // DDIM's share of fresh noise, 0 to 1
	Guidance  *float64 `json:"guidance,omitempty"`  // classifier-free guidance's γ
}

// Scale is γ once it is completed.
func (s Sampling) Scale() float32 {
	if s.Guidance == nil {
		return 1
	}
	return float32(*s.Guidance)
}

// Prompt is a text and what a model made of it.
type Prompt struct {
	Text      string
	Embedding Embeddings // of one text; empty where the model has no text encoder
}

// Ask says what the images of one denoiser are to show.
type Ask struct {
	Show     []Prompt // one for each image, or one for all
	Away     Prompt   // what guidance leads away from, as a rule the empty text
	Guidance float32  // γ; 1 is the estimate with Show alone

	// For an [Upscaler]: what Beside made, one for each image or one for all, and its level.
	Beside diffusion.Images
	Level  int

	Batch  int // images in one evaluation, guided ones counted twice; 0: as the model sees fit
	Report Report
}

// Report is told how much of a model's weights was read, in bytes. It may be nil.
type Report func(part string, done, total int)

// Embeddings are a text encoder's last hidden states: N texts of Tokens vectors of Dim numbers, [N,Tokens,Dim].
type Embeddings struct {
	N, Tokens, Dim int
	Data           []float32
}

// Slice returns texts from (included) to to (excluded). It shares e's Data, and panics where the bounds are outside.
func (e Embeddings) Slice(from, to int) Embeddings {
	size := e.Tokens * e.Dim
	e.Data = e.Data[from*size : to*size : to*size]
	e.N = to - from
	return e
}

// Equal reports whether both are the same texts' embeddings, number by number.
func (e Embeddings) Equal(other Embeddings) bool {
	return e.N == other.N && e.Tokens == other.Tokens && e.Dim == other.Dim && slices.Equal(e.Data, other.Data)
}

// FieldError says which field of a request is wrong: --steps on the command line, "steps" in JSON, an input of a form.
type FieldError struct {
	Field string // its name in JSON, with a dot for parts, as in upscale.steps
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// Errorf returns a FieldError with a formatted text.
func Errorf(field, format string, args ...any) error {
	return &FieldError{field, fmt.Errorf(format, args...)}
}

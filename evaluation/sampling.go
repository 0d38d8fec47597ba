package evaluation

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
)

// Sampling says how images are drawn from noise. It can be compared.
type Sampling struct {
	Sampler  string // empty: ancestral sampling through all timesteps, or Euler's method of a flow
	Steps    int    // 0: the sampler's default
	Eta      float64
	Guidance float64
	Seed     uint64
	Guided   bool // the model has classes, and so a use for guidance
}

// Drawing is what a [Draw] is asked for.
type Drawing struct {
	Sampling
	Labels []int                 // the classes to draw, one for each image; nil where the model has none
	Count  int                   // images
	Frames int                   // of the film that is returned, at most
	OnStep func(done, total int) // called after each step; may be nil
}

// Draw draws with a model. It returns moments from pure noise to the result, which is the last frame.
type Draw func(ctx context.Context, m *mnistunet.Model, d Drawing) ([]figure.Frame, error)

// Complete fills in the defaults for a model, and tells what does not go with it.
func (s *Sampling) Complete(c mnistunet.Config) error {
	s.Guided = c.Condition == mnistunet.Class
	if !s.Guided {
		s.Guidance = 1
	}
	if s.Sampler == "" {
		s.Sampler = c.Spec().Samplers[0]
	}
	full, _, err := c.Plan(s.Plan())
	s.Steps = full.Steps
	return err
}

// Ways completes all combinations of samplings and guidance scales for a model. One without classes has no use for the
// scales.
func Ways(c mnistunet.Config, samplings []Sampling, guidance []float64, seed uint64) (ways []Sampling, err error) {
	if c.Condition == mnistunet.Time {
		guidance = []float64{1}
	}
	for _, s := range samplings {
		for _, s.Guidance = range guidance {
			way := s
			way.Seed = seed
			if err := way.Complete(c); err != nil {
				return nil, &model.FieldError{Field: "sampler", Err: fmt.Errorf("%s: %w", s, err)}
			}
			ways = append(ways, way)
		}
	}
	return ways, nil
}

// Plan is what a model plans a sampler by.
func (s Sampling) Plan() model.Sampling {
	return model.Sampling{Sampler: s.Sampler, Steps: s.Steps, Eta: s.Eta, Guidance: &s.Guidance}
}

// Describe adds the sampling to a picture's parameters.
func (s Sampling) Describe(p *figure.Parameters) {
	p.Add("sampler", s.Sampler)
	p.Add("steps", s.Steps)
	if s.Guided {
		p.Add("guidance", s.Guidance)
	}
	p.Add("seed", s.Seed)
	if s.Sampler == "ddim" {
		p.Add("eta", s.Eta)
	}
}

// Evaluations is how often the network of a configuration is asked for each image.
func (s Sampling) Evaluations(c mnistunet.Config) int {
	_, sampler, err := c.Plan(s.Plan())
	if err != nil {
		return 0
	}
	n := sampler.Evaluations()
	if s.Guided && s.Guidance != 1 {
		n *= 2 // with the class and without
	}
	return n
}

// ParseSampling reads a sampler with its steps or without, such as ddim or ddim:20.
func ParseSampling(word string) (s Sampling, ok bool) {
	name, steps, given := strings.Cut(word, ":")
	if !slices.Contains(model.Samplers(), name) {
		return Sampling{}, false
	}
	s.Sampler = name
	if given {
		n, err := strconv.Atoi(steps)
		if err != nil || n < 1 {
			return Sampling{}, false
		}
		s.Steps = n
	}
	return s, true
}

// String is what ParseSampling reads.
func (s Sampling) String() string {
	if s.Steps == 0 {
		return s.Sampler
	}
	return fmt.Sprintf("%s:%d", s.Sampler, s.Steps)
}

var samplerTitles = map[string]string{
	"euler": "Euler", "midpoint": "midpoint", "heun": "Heun", "ddim": "DDIM", "dpm++": "DPM-Solver++", "ddpm": "DDPM",
}

// Title is what pages call a sampling of a flow, or of noise estimates.
func (s Sampling) Title(flow bool) string {
	of := "Noise estimates"
	if flow {
		of = "Flow"
	}
	return fmt.Sprintf("%s, %s, %d steps", of, samplerTitles[s.Sampler], s.Steps)
}

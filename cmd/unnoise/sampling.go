package main

import (
	"context"
	"strconv"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
)

// sampling says how evaluations and pages draw digits from noise. It can be compared.
type sampling struct {
	sampler  string // "": ancestral sampling through all timesteps, or Euler's method of a flow
	steps    int    // 0: the sampler's default
	eta      float64
	guidance float64
	seed     uint64
	guided   bool // the model has classes, and so a use for guidance
}

// complete fills in the defaults for a model, and tells what does not go with it.
func (s *sampling) complete(c mnistunet.Config) error {
	s.guided = c.Condition == mnistunet.Class
	if !s.guided {
		s.guidance = 1
	}
	if s.sampler == "" {
		s.sampler = c.Spec().Samplers[0]
	}
	full, _, err := c.Plan(s.model())
	s.steps = full.Steps
	return err
}

func (s sampling) model() model.Sampling {
	return model.Sampling{Sampler: s.sampler, Steps: s.steps, Eta: s.eta, Guidance: &s.guidance}
}

func (s sampling) describe(p *figure.Parameters) {
	p.Add("sampler", s.sampler)
	p.Add("steps", s.steps)
	if s.guided {
		p.Add("guidance", s.guidance)
	}
	p.Add("seed", s.seed)
	if s.sampler == "ddim" {
		p.Add("eta", s.eta)
	}
}

// evaluations is how often the network of a configuration is asked for each image.
func (s sampling) evaluations(c mnistunet.Config) int {
	_, sampler, err := c.Plan(s.model())
	if err != nil {
		return 0
	}
	n := sampler.Evaluations()
	if s.guided && s.guidance != 1 {
		n *= 2 // with the class and without
	}
	return n
}

// run draws n images of the given classes; each is called with every step, if not nil. It returns the images and the network's
// evaluations for each.
func (s sampling) run(ctx context.Context, m *mnistunet.Model, labels []int, n int, each func(lab.Event)) (diffusion.Images, int, error) {
	if err := s.complete(m.Config); err != nil {
		return diffusion.Images{}, 0, err
	}
	r := lab.Request{Sampling: s.model(), Seed: &s.seed, Order: lab.ByPrompt, Count: 1}
	for _, label := range labels {
		r.Prompts = append(r.Prompts, strconv.Itoa(label))
	}
	if labels == nil {
		r.Count = n
	}
	result, err := lab.Run(lab.DrawWith(ctx, m, r), each)
	return result.Images, result.Evaluations, err
}

package mnistunet

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

var _ model.Model = (*Model)(nil)

// Spec describes the model. One of condition none has no process: it draws nothing from noise.
func (m *Model) Spec() model.Spec {
	s := m.Config.Spec()
	s.ID = m.Name
	return s
}

// Spec describes models of this configuration.
func (c Config) Spec() model.Spec {
	s := model.Spec{
		Family: c.Model, Channels: 1, Height: Size, Width: Size, Range: model.ZeroToOne,
		Prediction: c.prediction(), Guidance: 1, WeightBytes: int64(4 * c.Parameters()),
	}
	if c.Condition == Class {
		s.Guidance = 5
		for _, class := range c.Occurring() {
			s.Vocabulary = append(s.Vocabulary, strconv.Itoa(class))
		}
	}
	switch {
	case c.Condition == None:
	case c.Objective == Flow:
		s.Process = diffusion.Flow{}
		s.Samplers = []string{"euler", "midpoint", "heun", "ddpm", "ddim", "dpm++"}
	default:
		if schedule, err := diffusion.Linear(c.Timesteps, c.BetaStart, c.BetaEnd); err == nil { // Validate saw to that
			s.Process = schedule
		}
		s.Samplers = []string{"ddpm", "ddim", "dpm++", "heun", "midpoint", "euler"}
	}
	return s
}

func (c Config) prediction() diffusion.Prediction {
	switch {
	case c.Condition == None:
		return diffusion.Sample
	case c.Objective == Flow:
		return diffusion.Velocity
	}
	return diffusion.Epsilon
}

// Plan completes how to sample; see [Config.Plan].
func (m *Model) Plan(s model.Sampling) (model.Sampling, diffusion.Sampler, error) {
	return m.Config.plan(m.Spec(), s)
}

// Plan completes how to sample. By docs/results.md ancestral sampling draws better with little guidance or none, 50
// steps of it no worse than 300, and DPM-Solver++ with much.
func (c Config) Plan(s model.Sampling) (model.Sampling, diffusion.Sampler, error) {
	spec := c.Spec()
	spec.ID = "this model"
	return c.plan(spec, s)
}

func (c Config) plan(spec model.Spec, s model.Sampling) (model.Sampling, diffusion.Sampler, error) {
	if spec.Process == nil {
		return s, diffusion.Sampler{}, fmt.Errorf("%s is a denoiser of one noise level (condition none): it does not "+
			"draw from noise. Use a model of condition time or class, or 'unnoise denoise' without a picture", spec.ID)
	}
	if s.Timesteps != "" {
		return s, diffusion.Sampler{}, model.Errorf("timesteps",
			"there are no published timesteps for %s; expected steps", spec.ID)
	}
	guidance := spec.Guidance
	if s.Guidance != nil {
		guidance = *s.Guidance
	}
	fallback := "dpm++"
	switch {
	case c.Objective == Flow:
		fallback = "euler"
	case guidance < 2:
		fallback = "ddpm"
		if s.Sampler == "" && s.Steps == 0 {
			s.Steps = min(50, c.Timesteps)
		}
	}
	s, sampler, err := model.Plan(spec, s, fallback)
	if err == nil && s.Sampler == "ddpm" && c.Objective != Flow && s.Steps == c.Timesteps {
		// with fewer steps, β is too noisy between distant timesteps
		sampler.Method = diffusion.DDPM{Variance: diffusion.FixedLarge}
	}
	return s, sampler, err
}

// Encode returns the texts: classes need no encoder.
func (m *Model) Encode(_ context.Context, texts []string, _ model.Report) ([]model.Prompt, error) {
	var prompts []model.Prompt
	for _, text := range texts {
		if err := m.Spec().CheckPrompt(text); err != nil {
			return nil, err
		}
		prompts = append(prompts, model.Prompt{Text: text})
	}
	return prompts, nil
}

// Bind returns a denoiser of the images that ask describes.
func (m *Model) Bind(_ context.Context, ask model.Ask) (diffusion.Denoiser, error) {
	if m.Config.Condition != Class {
		for _, p := range append(slices.Clone(ask.Show), ask.Away) {
			if p.Text != "" {
				return nil, m.Spec().CheckPrompt(p.Text)
			}
		}
		return m.Denoiser(nil), nil
	}
	show, err := m.labels(ask.Show...)
	if err != nil {
		return nil, err
	}
	away, err := m.labels(ask.Away)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		labels := show
		if len(labels) == 1 {
			labels = slices.Repeat(labels, x.N)
		}
		return m.guided(labels, slices.Repeat(away, x.N), ask.Guidance)(ctx, x, t)
	}, nil
}

// labels are the classes that prompts name, -1 for the empty one.
func (m *Model) labels(prompts ...model.Prompt) (labels []int, err error) {
	for _, p := range prompts {
		if err := m.Spec().CheckPrompt(p.Text); err != nil {
			return nil, err
		}
		label := -1
		if p.Text != "" {
			label, _ = strconv.Atoi(p.Text) // CheckPrompt saw to that
		}
		labels = append(labels, label)
	}
	return labels, nil
}

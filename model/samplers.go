package model

import (
	"slices"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
)

// Sampler is one of the samplers' table.
type Sampler struct {
	Name    string
	Steps   int                                // by default; 0: all timesteps
	Spacing diffusion.Spacing                  // of a schedule's timesteps
	Method  func(eta float32) diffusion.Method // eta is DDIM's
}

var samplers = []Sampler{
	{"ddpm", 0, diffusion.Linspace, func(float32) diffusion.Method { return diffusion.DDPM{} }},
	{"ddim", 50, diffusion.Trailing, func(eta float32) diffusion.Method { return diffusion.DDIM{Eta: eta} }},
	{"dpm++", 20, diffusion.Trailing, func(float32) diffusion.Method { return diffusion.DPMSolver{} }},
	{"euler", 50, diffusion.Trailing, func(float32) diffusion.Method { return diffusion.Euler{} }},
	{"midpoint", 50, diffusion.Trailing, func(float32) diffusion.Method { return diffusion.Midpoint{} }},
	{"heun", 25, diffusion.Trailing, func(float32) diffusion.Method { return diffusion.Heun{} }},
}

// Samplers lists the names of all samplers.
func Samplers() []string {
	var names []string
	for _, s := range samplers {
		names = append(names, s.Name)
	}
	return names
}

// SamplerNamed returns a sampler of the table. The error is a [FieldError] of sampler.
func SamplerNamed(name string) (Sampler, error) {
	i := slices.IndexFunc(samplers, func(s Sampler) bool { return s.Name == name })
	if i < 0 {
		return Sampler{}, Errorf("sampler", "expected %s, found %q", strings.Join(Samplers(), ", "), name)
	}
	return samplers[i], nil
}

// Plan completes a sampling by the table and makes the sampler: the common part of models' Plan. fallback is the
// sampler where s names none.
func Plan(spec Spec, s Sampling, fallback string) (Sampling, diffusion.Sampler, error) {
	if s.Sampler == "" {
		s.Sampler = fallback
	}
	if !slices.Contains(spec.Samplers, s.Sampler) {
		return s, diffusion.Sampler{}, Errorf("sampler", "expected %s with %s, found %q",
			strings.Join(spec.Samplers, ", "), spec.ID, s.Sampler)
	}
	kind, err := SamplerNamed(s.Sampler)
	if err != nil {
		return s, diffusion.Sampler{}, err
	}
	if !(s.Eta >= 0 && s.Eta <= 1) {
		return s, diffusion.Sampler{}, Errorf("eta", "expected a number from 0 to 1, found %g", s.Eta)
	}
	if s.Eta != 0 && s.Sampler != "ddim" {
		return s, diffusion.Sampler{}, Errorf("eta", "it has no meaning with sampler %s, only with ddim", s.Sampler)
	}
	if s.Guidance == nil {
		guidance := spec.Guidance
		s.Guidance = &guidance
	}
	if !spec.Prompted() && *s.Guidance != 1 {
		return s, diffusion.Sampler{}, Errorf("guidance",
			"%s takes no prompts, so there is nothing to be guided by; expected 1, found %g", spec.ID, *s.Guidance)
	}
	schedule, scheduled := spec.Process.(*diffusion.Schedule)
	most := 1 << 20
	if scheduled {
		most = schedule.Len()
	}
	if s.Steps == 0 {
		s.Steps = kind.Steps
		if s.Steps == 0 {
			s.Steps = most
			if !scheduled {
				s.Steps = 100
			}
		}
		s.Steps = min(s.Steps, most)
	}
	if s.Steps < 1 || s.Steps > most {
		return s, diffusion.Sampler{}, Errorf("steps", "expected 1 to %d with %s, found %d", most, spec.ID, s.Steps)
	}
	spacing := kind.Spacing
	if s.Steps == 1 {
		spacing = diffusion.Trailing // one step of the others removes hardly any noise
	}
	path, err := spec.Process.Path(s.Steps, spacing)
	if err != nil {
		return s, diffusion.Sampler{}, &FieldError{"steps", err}
	}
	return s, diffusion.Sampler{Process: spec.Process, Path: path, Method: kind.Method(float32(s.Eta))}, nil
}

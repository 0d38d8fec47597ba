package lab

import (
	"github.com/unnoise/unnoise/model"
)

// Change puts those fields of another request into a recipe that changed reports, by their names in JSON such as seed
// and upscale.steps. What hangs on something that was changed takes its default again.
func (r *Request) Change(to Request, changed func(field string) bool) {
	set := func(field string, do func()) {
		if changed(field) {
			do()
		}
	}
	set("model", func() {
		r.Model, r.Revision, r.Prompts, r.Negative, r.Order, r.Sampling, r.Upscale = to.Model, "", nil, "", "",
			model.Sampling{}, nil
	})
	set("variant", func() { r.Variant = to.Variant })
	set("prompts", func() { r.Prompts, r.Order = to.Prompts, "" })
	set("negative", func() { r.Negative = to.Negative })
	set("embeds", func() { r.Embeds = to.Embeds })
	set("count", func() { r.Count = to.Count })
	set("seed", func() { r.Seed = to.Seed })
	if i := r.Illusion; i != nil && (changed("seed") || changed("model")) { // other candidates, which are to be ranked
		other := *i
		other.Seeds, other.Parents = nil, nil
		r.Illusion = &other
	}
	set("batch", func() { r.Batch = to.Batch })
	set("vary", func() { r.Vary = to.Vary })
	set("dtype", func() { r.DType = to.DType })
	set("backend", func() { r.Backend = to.Backend })
	changeSampling(&r.Sampling, to.Sampling, changed)
	u := to.Upscale
	set("upscale.model", func() {
		r.Upscale = nil
		if u != nil {
			r.Upscale = &Upscale{Model: u.Model, Variant: to.Variant}
		}
	})
	if r.Upscale != nil && u != nil {
		changeSampling(&r.Upscale.Sampling, u.Sampling, func(field string) bool { return changed("upscale." + field) })
		set("upscale.noise_level", func() { r.Upscale.NoiseLevel = u.NoiseLevel })
	}
}

func changeSampling(s *model.Sampling, to model.Sampling, changed func(string) bool) {
	if changed("sampler") {
		s.Sampler, s.Steps, s.Timesteps, s.Eta = to.Sampler, 0, "", 0
	}
	if changed("steps") {
		s.Steps, s.Timesteps = to.Steps, ""
	}
	if changed("timesteps") {
		s.Steps, s.Timesteps = 0, to.Timesteps
	}
	if changed("eta") {
		s.Eta = to.Eta
	}
	if changed("guidance") {
		s.Guidance = to.Guidance
	}
}

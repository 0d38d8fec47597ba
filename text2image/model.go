package text2image

import (
	"cmp"
	"context"
	"fmt"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// Sampling says how [Draw] draws.
type Sampling struct {
	Sampler     string // empty: dpm++
	Size, Steps int
	Guidance    float32
	Seed        uint64
}

// Draw draws an image of each prompt, in a size that need not be the model's own, in [0,1].
func Draw(ctx context.Context, m model.Model, prompts []string, s Sampling) (diffusion.Images, error) {
	texts, err := m.Encode(ctx, append(prompts[:len(prompts):len(prompts)], ""), nil)
	if err != nil {
		return diffusion.Images{}, err
	}
	d, err := m.Bind(ctx, model.Ask{Show: texts[:len(prompts)], Away: texts[len(prompts)], Guidance: s.Guidance})
	if err != nil {
		return diffusion.Images{}, err
	}
	_, sampler, err := m.Plan(model.Sampling{Sampler: cmp.Or(s.Sampler, "dpm++"), Steps: s.Steps})
	if err != nil {
		return diffusion.Images{}, err
	}
	x, g := diffusion.NewImages(len(prompts), Channels, s.Size, s.Size), diffusion.NewGenerator(s.Seed)
	g.Normal(x.Data)
	sampler.Noise = func(_ int, _ float64, noise diffusion.Images) error {
		g.Normal(noise.Data)
		return nil
	}
	x, err = sampler.Sample(ctx, d, x)
	return m.Spec().Range.To(model.ZeroToOne, x), err
}

// Bands of t, in which errors are told apart: the lowest fifth of the timesteps first.
const Bands = 5

// Errors is the mean squared error of v on the first n pictures of a source in a size, by band of t, with the same
// noise each time. Each picture is noised to two timesteps of each band.
func Errors(ctx context.Context, m model.Model, source captioned.Source, side, n int) (errors [Bands]float64,
	err error) {
	drawn, err := captioned.Draw(source, 0, 0, n, side)
	if err != nil {
		return errors, err
	}
	texts, err := m.Encode(ctx, drawn.Captions, nil)
	if err != nil {
		return errors, err
	}
	d, err := m.Bind(ctx, model.Ask{Show: texts, Guidance: 1})
	if err != nil {
		return errors, err
	}
	return errorsOf(ctx, d, diffusion.Images{N: n, C: Channels, H: side, W: side, Data: drawn.Pixels})
}

func errorsOf(ctx context.Context, d diffusion.Denoiser, clean diffusion.Images) (errors [Bands]float64, err error) {
	o, err := NewObjective()
	if err != nil {
		return errors, err
	}
	g := diffusion.NewGenerator(0)
	const each = 2
	for i := range Bands * each {
		t := (2*i + 1) * Timesteps / (2 * Bands * each)
		x, target := clean.Like(), clean.Like()
		g.Normal(target.Data)
		signal, noise := o.levels(t)
		o.noise(x.Data, target.Data, clean.Data, 0, len(x.Data), float32(signal), float32(noise))
		e, err := d(ctx, x, float64(t))
		if err != nil {
			return errors, err
		}
		if e.Of != diffusion.V {
			return errors, fmt.Errorf("the network estimates %s, expected %s", e.Of, diffusion.V)
		}
		for j, v := range e.Value.Data {
			errors[i/each] += float64(v-target.Data[j]) * float64(v-target.Data[j]) / float64(each*len(target.Data))
		}
	}
	return errors, nil
}

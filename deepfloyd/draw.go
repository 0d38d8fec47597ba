package deepfloyd

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
)

// Walk says how a stage draws.
type Walk struct {
	Timesteps []int           // from [Scheduler.Timesteps] or [NamedTimesteps]
	Text      unet.Embeddings // one for each image, or one for all
	Negative  unet.Embeddings // the same, of the prompt that guidance leads away from, the empty one as a rule
	Guidance  float32         // γ; 1 is the estimate with Text alone

	// For super-resolution: an image for each in [-1,1], as the stage before drew it, and the timestep of the noising
	// scheduler that it is noised to.
	Small      diffusion.Images
	NoiseLevel int
}

// Steps draws n images in [-1,1] from noise. It asks the generator for what diffusers' pipelines on the CPU ask a
// torch.Generator, in their order: the images' start, the noise of the small images, the noise of each step, all for all
// images at once. So the same seed gives the same images as there, also if one generator serves all stages in turn.
func (s *Stage) Steps(ctx context.Context, w Walk, n int, g *diffusion.Generator) iter.Seq2[diffusion.Step, error] {
	return func(yield func(diffusion.Step, error) bool) {
		d, x, err := s.begin(w, n, g)
		if err != nil {
			yield(diffusion.Step{}, err)
			return
		}
		s.Scheduler.Sampler(w.Timesteps, g.Noise).Steps(ctx, d, x)(yield)
	}
}

// begin draws what comes before the first step, and binds the denoiser.
func (s *Stage) begin(w Walk, n int, g *diffusion.Generator) (diffusion.Denoiser, diffusion.Images, error) {
	x := s.Images(n)
	switch {
	case s.UNet == nil:
		return nil, x, errors.New("the stage's weights are not loaded")
	case n < 1:
		return nil, x, fmt.Errorf("can't draw %d images: expected one or more", n)
	case s.Noising == nil && w.Small.N != 0:
		return nil, x, errors.New("the stage draws from a text alone, and got small images")
	case s.Noising != nil && (w.Small.N != n || w.Small.C != x.C):
		return nil, x, fmt.Errorf("the stage enlarges images: expected %d small ones of %d channels, found %s", n, x.C, w.Small.Shape())
	}
	g.Normal(x.Data)
	condition := unet.Condition{Text: w.Text}
	if s.Noising != nil {
		noise := x.Like()
		g.Normal(noise.Data)
		var err error
		if condition, err = s.SuperResolution(w.Text, w.Small, noise, w.NoiseLevel); err != nil {
			return nil, x, err
		}
	}
	return s.UNet.GuidedDenoiser(condition, w.Negative, w.Guidance), x, nil
}

package text2image

import (
	"context"

	"github.com/unnoise/unnoise/diffusion"
)

// Draw draws an image of each prompt with the running means of the parameters, by DDIM.
func (t *Trainer) Draw(ctx context.Context, f *Folder, o Objective, prompts []string, size, steps int, guidance float32, seed uint64) (diffusion.Images, error) {
	g := diffusion.NewGenerator(seed)
	x := diffusion.NewImages(len(prompts), Channels, size, size)
	g.Normal(x.Data)
	path, err := o.Schedule.Path(steps, diffusion.Trailing)
	if err != nil {
		return x, err
	}
	s := diffusion.Sampler{Process: o.Schedule, Path: path, Method: diffusion.DDIM{}, Clip: diffusion.Clip{Limit: 1}}
	return s.Sample(ctx, t.denoiser(f, o, prompts, guidance), x)
}

// denoiser estimates v with guidance away from the empty prompt, both in one batch.
func (t *Trainer) denoiser(f *Folder, o Objective, prompts []string, guidance float32) diffusion.Denoiser {
	n := len(prompts)
	ids, mask := f.Encode(append(prompts[:n:n], make([]string, n)...))
	return func(_ context.Context, x diffusion.Images, at float64) (diffusion.Estimate, error) {
		both, err := diffusion.Concat(x, x)
		if err != nil {
			return diffusion.Estimate{}, err
		}
		b := Batch{X: both, T: make([]int, 2*n), IDs: ids, Mask: mask}
		for i := range b.T {
			b.T[i] = int(at)
		}
		y, err := t.Evaluate(b)
		if err != nil {
			return diffusion.Estimate{}, err
		}
		guided := x.Like()
		size, stride := x.Size(), y.Size()
		for i := range n {
			with, without := y.Data[i*stride:], y.Data[(n+i)*stride:]
			for j := range size {
				guided.Data[i*size+j] = without[j] + guidance*(with[j]-without[j])
			}
		}
		return diffusion.Estimate{Value: guided, Of: diffusion.V}, nil
	}
}

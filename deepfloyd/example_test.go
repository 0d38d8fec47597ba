package deepfloyd_test

import (
	"context"
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/onednn"
)

// Images of a first stage's folder, such as `unnoise model pull` fetches: prompts first, then the UNet, since both at
// once take much memory.
func Example() {
	images, err := rocket(context.Background(), "IF-I-M-v1.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(images.Shape(), "in [-1,1]")
}

func rocket(ctx context.Context, dir string) (diffusion.Images, error) {
	backend, err := onednn.NewWithOptions(onednn.Options{})
	if err != nil {
		return diffusion.Images{}, err
	}
	defer backend.Finalize()
	pipeline, err := deepfloyd.OpenPipeline(backend, dir, deepfloyd.Options{DType: dtypes.BFloat16})
	if err != nil {
		return diffusion.Images{}, err
	}
	defer pipeline.Close()
	plan, sampler, err := pipeline.Plan(model.Sampling{}) // the folder's sampler, its steps and guidance
	if err != nil {
		return diffusion.Images{}, err
	}
	prompts, err := pipeline.Encode(ctx, []string{"a rocket", ""}, nil)
	if err != nil {
		return diffusion.Images{}, err
	}
	denoiser, err := pipeline.Bind(ctx, model.Ask{Show: prompts[:1], Away: prompts[1], Guidance: plan.Scale()})
	if err != nil {
		return diffusion.Images{}, err
	}

	generator := diffusion.NewGenerator(0)
	x := pipeline.Spec().Images(4)
	generator.Normal(x.Data)
	sampler.Noise = generator.Noise
	for step, err := range sampler.Steps(ctx, denoiser, x) {
		if err != nil {
			return diffusion.Images{}, err
		}
		x = step.X // step.X0 is the present guess of the final images
	}
	return x, nil
}

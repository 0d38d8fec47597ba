package deepfloyd_test

import (
	"context"
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/onednn"
)

// Images of a first stage's folder, such as `unnoise model pull` fetches: prompts first, then the UNet, since both at once take much memory.
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
	encoder := deepfloyd.TextEncoder{Dir: dir, DType: dtypes.BFloat16}
	prompts, err := encoder.Encode(ctx, backend, "a rocket", "")
	if err != nil {
		return diffusion.Images{}, err
	}
	walk := deepfloyd.Walk{Guidance: 7}
	if walk.Text, err = prompts.Select("a rocket"); err != nil {
		return diffusion.Images{}, err
	}
	if walk.Negative, err = prompts.Select(""); err != nil {
		return diffusion.Images{}, err
	}

	stage, err := deepfloyd.OpenStage(dir, "")
	if err != nil {
		return diffusion.Images{}, err
	}
	defer stage.Close()
	if err := stage.Load(backend, dtypes.BFloat16); err != nil {
		return diffusion.Images{}, err
	}
	if walk.Timesteps, err = stage.Scheduler.Timesteps(100); err != nil {
		return diffusion.Images{}, err
	}
	const n = 4
	x := stage.Shape(n)
	for step, err := range stage.Steps(ctx, walk, n, diffusion.NewGenerator(0)) {
		if err != nil {
			return diffusion.Images{}, err
		}
		x = step.X // step.X0 is the present guess of the final images
	}
	return x, nil
}

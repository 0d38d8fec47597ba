package pretrained_test

import (
	"context"
	"fmt"
	"image"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/pretrained"
)

// One of each digit, drawn by 20 steps of DPM-Solver++ with guidance 5.
func Example() {
	picture, err := draw(context.Background(), []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("a picture of", picture.Bounds().Size())
	// Output: a picture of (604,64)
}

func draw(ctx context.Context, classes []int) (image.Image, error) {
	backend, err := onednn.NewWithOptions(onednn.Options{})
	if err != nil {
		return nil, err
	}
	defer backend.Finalize()
	model, err := pretrained.Load(backend, "mnist-class", dtypes.Float32)
	if err != nil {
		return nil, err
	}
	defer model.Close()

	schedule, err := model.Schedule()
	if err != nil {
		return nil, err
	}
	path, err := schedule.Path(20, diffusion.Trailing)
	if err != nil {
		return nil, err
	}
	x := diffusion.NewImages(len(classes), 1, mnistunet.Size, mnistunet.Size)
	diffusion.NewGenerator(7).Normal(x.Data)
	sampler := diffusion.Sampler{Process: schedule, Path: path, Method: diffusion.DPMSolver{}}
	for step, err := range sampler.Steps(ctx, model.GuidedDenoiser(classes, 5), x) {
		if err != nil {
			return nil, err
		}
		x = step.X
	}
	return figure.Grid{Images: x, Columns: len(classes), Scale: 2, Padding: 4}.Draw()
}

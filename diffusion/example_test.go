package diffusion_test

import (
	"context"
	"fmt"
	"math"

	"github.com/unnoise/unnoise/diffusion"
)

// The forward process: a white pixel at three timesteps, without the noise that would come on top.
func ExampleSchedule_AddNoise() {
	schedule, err := diffusion.Linear(300, 1e-4, 0.02)
	if err != nil {
		fmt.Println(err)
		return
	}
	white := diffusion.NewImages(3, 1, 1, 1)
	for i := range white.Data {
		white.Data[i] = 1
	}
	noise := white.Like() // zeros here; usually generator.Normal(noise.Data)
	x, err := schedule.AddNoise(white, noise, 0, 150, 299)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f\n", x.Data)
	// Output: [1.00 0.68 0.22]
}

// From pure noise to images, with a denoiser that knows what it draws: pixels that are -0.5 or 0.5.
// A network's denoiser goes in its place.
func ExampleSampler_Steps() {
	schedule, err := diffusion.Linear(300, 1e-4, 0.02)
	if err != nil {
		fmt.Println(err)
		return
	}
	path, err := schedule.Path(5, diffusion.Leading)
	if err != nil {
		fmt.Println(err)
		return
	}
	denoiser := func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		signal, sigma := schedule.Levels(t)
		noise := x.Like()
		for i, v := range x.Data {
			x0 := 0.5 * math.Tanh(0.5*signal*float64(v)/(sigma*sigma))
			noise.Data[i] = float32((float64(v) - signal*x0) / sigma)
		}
		return diffusion.Estimate{Value: noise}, nil
	}

	generator := diffusion.NewGenerator(0)
	x := diffusion.NewImages(1, 1, 1, 4)
	generator.Normal(x.Data)
	sampler := diffusion.Sampler{
		Process: schedule,
		Path:    path,
		Method:  diffusion.DDPM{Variance: diffusion.FixedSmall},
		Noise:   generator.Noise,
	}
	for step, err := range sampler.Steps(context.Background(), denoiser, x) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("step %d of %d, timestep %3g: %5.2f\n", step.Index+1, step.Total, step.From, step.X.Data)
	}
	// Output:
	// step 1 of 5, timestep 240: [ 0.12 -1.10 -0.92  0.87]
	// step 2 of 5, timestep 180: [-0.31 -0.80 -0.81  0.57]
	// step 3 of 5, timestep 120: [-0.45 -0.11 -0.78  0.37]
	// step 4 of 5, timestep  60: [-0.48 -0.20 -0.51  0.43]
	// step 5 of 5, timestep   0: [-0.50 -0.50 -0.50  0.50]
}

// From noise to images along a flow that knows what it draws: pixels of standard deviation 0.5, which it gets by
// scaling. A network's denoiser goes in its place.
func ExampleFlow() {
	denoiser := func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		u := x.Like()
		for i, v := range x.Data {
			u.Data[i] = v * float32((t*0.25-(1-t))/((1-t)*(1-t)+t*t*0.25))
		}
		return diffusion.Estimate{Value: u, Of: diffusion.Velocity}, nil
	}
	x := diffusion.NewImages(1, 1, 1, 3)
	copy(x.Data, []float32{-1, 1, 2})
	flow := diffusion.Flow{}
	path, err := flow.Path(4, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	sampler := diffusion.Sampler{Process: flow, Path: path, Method: diffusion.Midpoint{}}
	for step, err := range sampler.Steps(context.Background(), denoiser, x) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("step %d of %d, to time %.2f: %5.2f\n", step.Index+1, step.Total, step.To, step.X.Data)
	}
	// Output:
	// step 1 of 4, to time 0.25: [-0.76  0.76  1.52]
	// step 2 of 4, to time 0.50: [-0.56  0.56  1.12]
	// step 3 of 4, to time 0.75: [-0.45  0.45  0.90]
	// step 4 of 4, to time 1.00: [-0.50  0.50  1.00]
}

// implicit is a method of one's own: x over the image's factor changes in proportion to the noise over it (DDIM, eq.
// 13).
type implicit struct{}

func (implicit) Begin(p diffusion.Process) (diffusion.Advance, error) {
	return func(_ context.Context, tr diffusion.Transition) (diffusion.Images, error) {
		signal, noise := p.Levels(tr.From)
		signalTo, noiseTo := p.Levels(tr.To)
		x := tr.X.Clone()
		for i, e := range tr.Epsilon.Data {
			x.Data[i] = float32(signalTo * (float64(x.Data[i])/signal + (noiseTo/signalTo-noise/signal)*float64(e)))
		}
		return x, nil
	}, nil
}

// A method of one's own beside the one that it is, DDIM.
func ExampleMethod() {
	schedule, err := diffusion.Linear(300, 1e-4, 0.02)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := diffusion.NewImages(1, 1, 1, 3)
	copy(x.Data, []float32{-1, 1, 2})
	denoiser := func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		return diffusion.Estimate{Value: x}, nil // a network would look at x and t
	}
	for _, method := range []diffusion.Method{implicit{}, diffusion.DDIM{}} {
		sampler := diffusion.Sampler{Process: schedule, Path: diffusion.Visit(299, 200, 100, 0), Method: method}
		images, err := sampler.Sample(context.Background(), denoiser, x)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%.3f\n", images.Data)
	}
	// Output:
	// [-0.389 0.389 0.778]
	// [-0.389 0.389 0.778]
}

// Image-to-image (SDEdit): noise an image to a time in the middle, and go back from there.
func ExampleSampler_Start() {
	schedule, err := diffusion.Linear(300, 1e-4, 0.02)
	if err != nil {
		fmt.Println(err)
		return
	}
	path, err := schedule.Path(10, diffusion.Leading)
	if err != nil {
		fmt.Println(err)
		return
	}
	generator := diffusion.NewGenerator(1)
	original := diffusion.NewImages(1, 1, 8, 8)
	noise := original.Like()
	generator.Normal(noise.Data)

	const first = 7 // the higher, the closer to the original
	sampler := diffusion.Sampler{Process: schedule, Path: path, Method: diffusion.DDIM{}}.From(first)
	x, err := sampler.Start(original, noise)
	if err != nil {
		fmt.Println(err)
		return
	}
	denoiser := func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		return diffusion.Estimate{Value: x}, nil // a network would look at x and t
	}
	for step, err := range sampler.Steps(context.Background(), denoiser, x) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(step.From, "to", step.To)
	}
	// Output:
	// 60 to 30
	// 30 to 0
	// 0 to -1
}

// Inpainting: keep the left pixel, 0.5, and generate the right one. This network knows one image, -1 everywhere.
func ExampleKnown_Keep() {
	flow := diffusion.Flow{}
	path, err := flow.Path(20, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	// Make each group of five moves three times, with jumps back to more noise between: so both parts come to fit
	// together.
	if path, err = diffusion.Resample(path, 5, 3, 0, 1); err != nil {
		fmt.Println(err)
		return
	}
	generator := diffusion.NewGenerator(1)
	x, original, mask := diffusion.NewImages(1, 1, 1, 2), diffusion.NewImages(1, 1, 1, 2),
		diffusion.NewImages(1, 1, 1, 2)
	generator.Normal(x.Data)
	original.Data[0] = 0.5
	mask.Data[1] = 1 // generated; 0 is kept
	denoiser := func(_ context.Context, x diffusion.Images, _ float64) (diffusion.Estimate, error) {
		image := x.Like()
		for i := range image.Data {
			image.Data[i] = -1
		}
		return diffusion.Estimate{Value: image, Of: diffusion.Sample}, nil
	}

	sampler := diffusion.Sampler{Process: flow, Path: path, Method: diffusion.Heun{}, Noise: generator.Noise}
	known := diffusion.Known{Process: flow, Images: original, Mask: mask, Noise: generator.Noise}
	for step, err := range known.Keep(sampler.Steps(context.Background(), denoiser, x)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if step.Index == step.Total-1 {
			fmt.Printf("%.3f after %d steps\n", step.X.Data, step.Total)
		}
	}
	// Output: [0.500 -1.000] after 68 steps
}

// The numbers of torch.manual_seed(0); torch.randn(3).
func ExampleGenerator() {
	generator := diffusion.NewGenerator(0)
	values := make([]float32, 3)
	generator.Normal(values)
	fmt.Printf("%.4f\n", values)
	// Output: [1.5410 -0.2934 -2.1788]
}

// Two denoisers that estimate 1 and 3: guidance moves from the unconditional one through the conditional one and on.
func ExampleGuided() {
	estimate := func(value float32) diffusion.Denoiser {
		return func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
			noise := x.Like()
			for i := range noise.Data {
				noise.Data[i] = value
			}
			return diffusion.Estimate{Value: noise}, nil
		}
	}
	for _, scale := range []float32{0, 1, 5} {
		guided := diffusion.Guided(estimate(3), estimate(1), scale)
		e, err := guided(context.Background(), diffusion.NewImages(1, 1, 1, 1), 0)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(scale, e.Value.Data[0])
	}
	// Output:
	// 0 1
	// 1 3
	// 5 11
}

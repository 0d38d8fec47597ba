package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/writeup"
)

const (
	sampleRows    = 4
	trajectory    = writeup.MostFrames
	guidance      = 5.0 // of the samples by epoch
	noiseAnswers  = 256 // answers to pure noise that are averaged
	testedDigits  = 64  // for the errors at each noise level
	digitsInARow  = 10
	levelExamples = 3
)

var (
	noiseLevels    = []float64{0, 0.2, 0.4, 0.5, 0.6, 0.8, 1} // σ at which denoisers are shown and measured
	guidanceScales = []float64{0, 1, guidance, 10}
	stepCounts     = []int{4, 10, 20, 50}
)

// addNoise returns images at each noise level, level by level. All levels share their noise.
func addNoise(clean diffusion.Images, levels []float64, seed uint64) diffusion.Images {
	noise := clean.Like()
	diffusion.NewGenerator(seed).Normal(noise.Data)
	all := diffusion.NewImages(clean.N*len(levels), clean.C, clean.H, clean.W)
	for k, sigma := range levels {
		for i, v := range clean.Data {
			all.Data[k*len(clean.Data)+i] = v + float32(sigma)*noise.Data[i]
		}
	}
	return all
}

// firstImages returns a set's first n images.
func firstImages(set *dataset.Labeled, n int) diffusion.Images {
	n = min(n, set.Len())
	x := diffusion.NewImages(n, 1, set.Rows, set.Cols)
	indices := make([]int, n)
	for i := range indices {
		indices[i] = i
	}
	set.Batch(indices, x.Data, nil)
	return x
}

// pickImages returns the images at indices.
func pickImages(x diffusion.Images, indices ...int) diffusion.Images {
	y := diffusion.NewImages(len(indices), x.C, x.H, x.W)
	for k, i := range indices {
		copy(y.Data[k*x.Size():], x.Data[i*x.Size():(i+1)*x.Size()])
	}
	return y
}

func levelNames() (names []string) {
	for _, sigma := range noiseLevels {
		names = append(names, fmt.Sprint(sigma))
	}
	return names
}

// atLevels lists where the images of one example stand in what addNoise returns for n.
func atLevels(example, n int) (indices []int) {
	for k := range noiseLevels {
		indices = append(indices, k*n+example)
	}
	return indices
}

func forward(test *dataset.Labeled, seed uint64) *writeup.Picture {
	const examples = 4
	clean := firstImages(test, examples)
	x := addNoise(clean, noiseLevels, seed)
	p := &writeup.Picture{Name: "noise", Title: "Test images with rising noise", Corner: "σ", Columns: levelNames()}
	for i := range clean.N {
		p.Rows = append(p.Rows, writeup.Row{Images: pickImages(x, atLevels(i, clean.N)...)})
	}
	p.Parameters.Add("seed", seed)
	return p
}

func (f *writeupFlags) denoiser(ctx context.Context, d *drawings, r *shownRun) (*writeup.Denoiser, error) {
	var p figure.Parameters
	p.Add("model", r.Name)
	p.Add("seed", f.seed)
	n := &writeup.Denoiser{Run: r.Run, Mean: meanOfSet(r.train.Head(r.Data.Images))}
	tested := firstImages(r.test, testedDigits)
	n.Tested = tested.N
	clean := firstImages(r.test, digitsInARow)
	pure := diffusion.NewImages(noiseAnswers, 1, mnistunet.Size, mnistunet.Size)
	diffusion.NewGenerator(f.seed).Normal(pure.Data)
	shown := addNoise(clean, []float64{r.Network.Sigma}, f.seed)
	levels := addNoise(tested, noiseLevels, f.seed)

	n.Digits = writeup.Picture{Name: "denoiser-digits", Title: "Test images", Parameters: p, Rows: []writeup.Row{{Label: "noisy", Images: shown}}}
	n.Digits.Parameters.Add("sigma", r.Network.Sigma)
	n.Noise = writeup.Picture{Name: "denoiser-noise", Title: "Pure noise", Parameters: p, Rows: []writeup.Row{{Label: "pure noise", Images: pure.Slice(0, digitsInARow)}}}
	for _, epoch := range r.epochs {
		parts := []diffusion.Images{shown, pure, levels}
		isLast := epoch == r.epochs[len(r.epochs)-1]
		if !isLast {
			parts = parts[:2]
		}
		x, err := diffusion.Concat(parts...)
		if err != nil {
			return nil, err
		}
		y, err := d.denoise(ctx, training.EpochDir(r.dir, epoch), fmt.Sprintf("%s, epoch %d", r.Name, epoch), x)
		if err != nil {
			return nil, err
		}
		label := fmt.Sprintf("after epoch %d", epoch)
		answers := y.Slice(shown.N, shown.N+pure.N)
		n.Digits.Rows = append(n.Digits.Rows, writeup.Row{Label: label, Images: y.Slice(0, shown.N)})
		n.Noise.Rows = append(n.Noise.Rows, writeup.Row{Label: label, Images: answers.Slice(0, digitsInARow)})
		if isLast {
			n.Answer, n.Answers = meanOfBatch(answers), answers.N
			n.Levels = levelPicture(levels, y.Slice(shown.N+pure.N, y.N), tested.N, p)
			n.Errors = levelErrors(levels, y.Slice(shown.N+pure.N, y.N), tested)
		}
	}
	n.Digits.Rows = append(n.Digits.Rows, writeup.Row{Label: "clean", Images: clean})
	return n, nil
}

func levelPicture(noisy, denoised diffusion.Images, n int, p figure.Parameters) writeup.Picture {
	w := writeup.Picture{Name: "denoiser-levels", Title: "Test images at several noise levels", Corner: "σ", Columns: levelNames(), Parameters: p}
	for i := range min(levelExamples, n) {
		w.Rows = append(w.Rows,
			writeup.Row{Label: "noisy", Images: pickImages(noisy, atLevels(i, n)...)},
			writeup.Row{Label: "denoised", Images: pickImages(denoised, atLevels(i, n)...)})
	}
	return w
}

func levelErrors(noisy, denoised, clean diffusion.Images) (errors []writeup.Level) {
	squared := func(x diffusion.Images, k int) (sum float64) {
		for i, v := range x.Slice(k*clean.N, (k+1)*clean.N).Data {
			e := float64(v) - float64(clean.Data[i])
			sum += e * e / float64(len(clean.Data))
		}
		return sum
	}
	for k, sigma := range noiseLevels {
		errors = append(errors, writeup.Level{Sigma: sigma, Noisy: squared(noisy, k), Denoised: squared(denoised, k)})
	}
	return errors
}

// meanOfSet returns a set's mean image, with values in [0,1].
func meanOfSet(set *dataset.Labeled) diffusion.Images {
	x := diffusion.NewImages(1, 1, set.Rows, set.Cols)
	size := set.Rows * set.Cols
	sums := make([]int, size)
	for i, v := range set.Images {
		sums[i%size] += int(v)
	}
	for i, sum := range sums {
		x.Data[i] = float32(float64(sum) / 255 / float64(set.Len()))
	}
	return x
}

func meanOfBatch(x diffusion.Images) diffusion.Images {
	m := diffusion.NewImages(1, x.C, x.H, x.W)
	for i, v := range x.Data {
		m.Data[i%x.Size()] += v / float32(x.N)
	}
	return m
}

// sampling is how the page draws with a run's model: by its usual sampler.
func (f *writeupFlags) sampling(r *shownRun, guidance float64) (sampling, error) {
	s := sampling{guidance: 1, seed: f.seed}
	if r.Network.Condition == mnistunet.Class {
		s.guidance = guidance
	}
	err := s.complete(r.Network)
	return s, err
}

// rowsOfClasses lists the classes to draw, rows of all of them, and the columns' names; without classes only how many images there are.
func rowsOfClasses(c mnistunet.Config) (labels []int, n int, columns []string) {
	if c.Condition != mnistunet.Class {
		return nil, sampleRows * digitsInARow, nil
	}
	for range sampleRows {
		labels = append(labels, c.Occurring()...)
	}
	for _, class := range c.Occurring() {
		columns = append(columns, fmt.Sprint(class))
	}
	return labels, len(labels), columns
}

func (f *writeupFlags) model(ctx context.Context, d *drawings, kind string, r *shownRun) (writeup.Model, error) {
	s, err := f.sampling(r, guidance)
	if err != nil {
		return writeup.Model{}, err
	}
	classes, n, columns := rowsOfClasses(r.Network)
	m := writeup.Model{Run: r.Run, Kind: kind, Columns: columns}
	s.describe(&m.Sampling)
	for _, epoch := range r.epochs {
		frames, err := d.sample(ctx, training.EpochDir(r.dir, epoch), fmt.Sprintf("%s, epoch %d", r.Name, epoch), s, classes, n, trajectory)
		if err != nil {
			return m, err
		}
		m.Trajectories = append(m.Trajectories, writeup.Trajectory{Epoch: epoch, Frames: frames})
	}
	return m, nil
}

func (f *writeupFlags) byGuidance(ctx context.Context, d *drawings, kind string, r *shownRun) (pictures []writeup.Picture, err error) {
	for _, scale := range guidanceScales {
		s, err := f.sampling(r, scale)
		if err != nil {
			return nil, err
		}
		p, err := f.samples(ctx, d, r, s, fmt.Sprintf("%s-guidance-%g", kind, scale), fmt.Sprintf("γ = %g", scale))
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, p)
	}
	return pictures, nil
}

// drawnBy is a way to draw with a run's last model.
type drawnBy struct {
	run *shownRun
	sampling
}

// fewSteps lists how to draw with rising numbers of network evaluations: along the flow and, where there is a run of noise estimates too,
// by its samplers; last as that usually does.
func (f *writeupFlags) fewSteps(flow, class *shownRun) (all []drawnBy, err error) {
	add := func(r *shownRun, sampler string, steps int) {
		if r == nil || err != nil || r == class && steps > r.Network.Timesteps {
			return
		}
		s := sampling{sampler: sampler, steps: steps, guidance: guidance, seed: f.seed}
		err = s.complete(r.Network)
		all = append(all, drawnBy{r, s})
	}
	for _, n := range stepCounts {
		add(flow, "euler", n)
		add(flow, "midpoint", n/2)
		add(class, "ddim", n)
		add(class, "dpm++", n)
	}
	add(class, "ddpm", 0)
	return all, err
}

func (f *writeupFlags) bySteps(ctx context.Context, d *drawings, ways []drawnBy) (pictures []writeup.Picture, err error) {
	for _, w := range ways {
		p, err := f.samples(ctx, d, w.run, w.sampling, fmt.Sprintf("%s-steps-%d", strings.TrimRight(w.sampler, "+"), w.steps),
			fmt.Sprintf("%s: %d evaluations", inSteps(w.sampler, w.steps), w.evaluations(w.run.Network)))
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, p)
	}
	return pictures, nil
}

var samplerNames = map[string]string{
	"euler": "Flow, Euler", "midpoint": "Flow, midpoint",
	"ddim": "Noise estimates, DDIM", "dpm++": "Noise estimates, DPM-Solver++", "ddpm": "Noise estimates, DDPM",
}

func inSteps(sampler string, n int) string {
	return fmt.Sprintf("%s, %d steps", samplerNames[sampler], n)
}

// samples is a picture of what a run's last model draws.
func (f *writeupFlags) samples(ctx context.Context, d *drawings, r *shownRun, s sampling, file, title string) (writeup.Picture, error) {
	classes, n, columns := rowsOfClasses(r.Network)
	p := writeup.Picture{Name: file, Title: r.Name + ", " + title, Note: title, Width: len(columns), Columns: columns}
	p.Parameters.Add("model", r.Name)
	p.Parameters.Add("epoch", r.epochs[len(r.epochs)-1])
	s.describe(&p.Parameters)
	kept := 1
	if usual, _ := f.sampling(r, guidance); s == usual { // that is drawn as a trajectory
		kept = trajectory
	}
	frames, err := d.sample(ctx, r.last(), r.Name+", "+title, s, classes, n, kept)
	if err != nil {
		return p, err
	}
	p.Rows = []writeup.Row{{Images: frames[len(frames)-1].X}}
	return p, nil
}

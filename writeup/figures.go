package writeup

import (
	"context"
	"fmt"
	"strings"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/mnistunet"
)

const (
	sampleRows    = 4
	usualGuidance = 5.0 // of the samples by epoch
	noiseAnswers  = 256 // answers to pure noise that are averaged
	testedDigits  = 64  // for the errors at each noise level
	digitsInARow  = 10
	levelExamples = 3
)

var (
	guidanceScales = []float64{0, 1, usualGuidance, 10}
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
	for _, sigma := range evaluation.NoiseLevels {
		names = append(names, fmt.Sprint(sigma))
	}
	return names
}

// atLevels lists where the images of one example stand in what addNoise returns for n.
func atLevels(example, n int) (indices []int) {
	for k := range evaluation.NoiseLevels {
		indices = append(indices, k*n+example)
	}
	return indices
}

func forward(test *dataset.Labeled, seed uint64) *Picture {
	const examples = 4
	clean := firstImages(test, examples)
	x := addNoise(clean, evaluation.NoiseLevels, seed)
	p := &Picture{Name: "noise", Title: "Test images with rising noise", Corner: "σ", Columns: levelNames()}
	for i := range clean.N {
		p.Rows = append(p.Rows, Row{Images: pickImages(x, atLevels(i, clean.N)...)})
	}
	p.Parameters.Add("seed", seed)
	return p
}

func (o *page) denoiser(ctx context.Context, r *ShownRun) (*Denoiser, error) {
	var p figure.Parameters
	p.Add("model", r.Name)
	p.Add("seed", o.Seed)
	n := &Denoiser{Run: r.Run}
	n.Answers, _ = o.answers(r, "denoiser")
	tested := firstImages(r.test, testedDigits)
	n.Tested = tested.N
	clean := firstImages(r.test, digitsInARow)
	pure := o.pureNoise()
	shown := addNoise(clean, []float64{r.Network.Sigma}, o.Seed)
	levels := addNoise(tested, evaluation.NoiseLevels, o.Seed)

	n.Digits = Picture{Name: "denoiser-digits", Title: "Test images", Parameters: p,
		Rows: []Row{{Label: "noisy", Images: shown}}}
	n.Digits.Parameters.Add("sigma", r.Network.Sigma)
	n.Digits.Command = fmt.Sprintf("unnoise denoise --model %s --count %d --seed %d --out denoiser-digits.png",
		shell.Quote(r.last().name()), digitsInARow, o.Seed)
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
		y, err := o.drawings.denoise(ctx, r.at(epoch), fmt.Sprintf("%s, epoch %d", r.Name, epoch),
			x)
		if err != nil {
			return nil, err
		}
		n.Digits.Rows = append(n.Digits.Rows, Row{Label: afterEpoch(epoch), Images: y.Slice(0, shown.N)})
		n.Answers.add(epoch, y.Slice(shown.N, shown.N+pure.N))
		if isLast {
			n.Levels = levelPicture(levels, y.Slice(shown.N+pure.N, y.N), tested.N, p)
			n.Errors = levelErrors(levels, y.Slice(shown.N+pure.N, y.N), tested)
		}
	}
	n.Digits.Rows = append(n.Digits.Rows, Row{Label: "clean", Images: clean})
	return n, nil
}

func afterEpoch(epoch int) string { return fmt.Sprintf("after epoch %d", epoch) }

// pureNoise is what all denoisers are given.
func (o *page) pureNoise() diffusion.Images {
	x := diffusion.NewImages(noiseAnswers, 1, mnistunet.Size, mnistunet.Size)
	diffusion.NewGenerator(o.Seed).Normal(x.Data)
	return x
}

// answers begins the picture of what a run makes of pure noise. best is the mean squared error of the training images'
// mean.
func (o *page) answers(r *ShownRun, name string) (a Answers, best float64) {
	var p figure.Parameters
	p.Add("model", r.Name)
	p.Add("seed", o.Seed)
	a.Set, best = meanOfSet(r.train.Head(r.Data.Images))
	a.Noise = Picture{Name: name + "-noise", Title: "Pure noise", Parameters: p,
		Rows: []Row{{Label: "pure noise", Images: o.pureNoise().Slice(0, digitsInARow)}}}
	return a, best
}

// add adds what the model of an epoch makes of the noise.
func (a *Answers) add(epoch int, y diffusion.Images) {
	a.Noise.Rows = append(a.Noise.Rows, Row{Label: afterEpoch(epoch), Images: y.Slice(0, digitsInARow)})
	a.Answer, a.Count = meanOfBatch(y), y.N
}

// pure is the section on a denoiser that learned from noise alone.
func (o *page) pure(ctx context.Context, r *ShownRun) (*Pure, error) {
	n := &Pure{Run: r.Run}
	n.Answers, n.Best = o.answers(r, "pure-noise")
	for _, epoch := range r.epochs {
		y, err := o.drawings.denoise(ctx, r.at(epoch), fmt.Sprintf("%s, epoch %d", r.Name, epoch), o.pureNoise())
		if err != nil {
			return nil, err
		}
		n.Answers.add(epoch, y)
	}
	return n, nil
}

func levelPicture(noisy, denoised diffusion.Images, n int, p figure.Parameters) Picture {
	w := Picture{Name: "denoiser-levels", Title: "Test images at several noise levels", Corner: "σ",
		Columns: levelNames(), Parameters: p}
	for i := range min(levelExamples, n) {
		w.Rows = append(w.Rows,
			Row{Label: "noisy", Images: pickImages(noisy, atLevels(i, n)...)},
			Row{Label: "denoised", Images: pickImages(denoised, atLevels(i, n)...)})
	}
	return w
}

func levelErrors(noisy, denoised, clean diffusion.Images) (errors []Level) {
	squared := func(x diffusion.Images, k int) (sum float64) {
		for i, v := range x.Slice(k*clean.N, (k+1)*clean.N).Data {
			e := float64(v) - float64(clean.Data[i])
			sum += e * e / float64(len(clean.Data))
		}
		return sum
	}
	for k, sigma := range evaluation.NoiseLevels {
		errors = append(errors, Level{Sigma: sigma, Noisy: squared(noisy, k), Denoised: squared(denoised, k)})
	}
	return errors
}

// meanOfSet returns a set's mean image, with values in [0,1], and its mean squared error.
func meanOfSet(set *dataset.Labeled) (_ diffusion.Images, squared float64) {
	x := diffusion.NewImages(1, 1, set.Rows, set.Cols)
	size := set.Rows * set.Cols
	sums, squares := make([]int, size), 0
	for i, v := range set.Images {
		sums[i%size] += int(v)
		squares += int(v) * int(v)
	}
	squared = float64(squares) / 255 / 255 / float64(len(set.Images))
	for i, sum := range sums {
		mean := float64(sum) / 255 / float64(set.Len())
		x.Data[i] = float32(mean)
		squared -= mean * mean / float64(size)
	}
	return x, squared
}

func meanOfBatch(x diffusion.Images) diffusion.Images {
	m := diffusion.NewImages(1, x.C, x.H, x.W)
	for i, v := range x.Data {
		m.Data[i%x.Size()] += v / float32(x.N)
	}
	return m
}

// sampling is how the page draws with a run's model: by its usual sampler.
func (o *page) sampling(r *ShownRun, guidance float64) (evaluation.Sampling, error) {
	s := evaluation.Sampling{Guidance: 1, Seed: o.Seed}
	if r.Network.Condition == mnistunet.Class {
		s.Guidance = guidance
	}
	err := s.Complete(r.Network)
	return s, err
}

// rowsOfClasses lists the classes to draw, rows of all of them, and the columns' names; without classes only how many
// images there are.
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

func (o *page) model(ctx context.Context, kind string, r *ShownRun) (Model, error) {
	s, err := o.sampling(r, usualGuidance)
	if err != nil {
		return Model{}, err
	}
	classes, n, columns := rowsOfClasses(r.Network)
	m := Model{Run: r.Run, Kind: kind, Columns: columns}
	s.Describe(&m.Sampling)
	for _, epoch := range r.epochs {
		frames, err := o.drawings.sample(ctx, r.at(epoch),
			fmt.Sprintf("%s, epoch %d", r.Name, epoch), evaluation.Drawing{Sampling: s, Labels: classes, Count: n,
				Frames: MostFrames})
		if err != nil {
			return m, err
		}
		file := fmt.Sprintf("%s-epoch-%02d", kind, epoch)
		m.Trajectories = append(m.Trajectories, Trajectory{Epoch: epoch, Frames: frames,
			Command: sampleCommand(r.at(epoch), r.Network, s, n) + " --animate " + file + ".png --out " + file + "-last.png"})
	}
	return m, nil
}

func (o *page) byGuidance(ctx context.Context, kind string, r *ShownRun) (pictures []Picture, err error) {
	for _, scale := range guidanceScales {
		s, err := o.sampling(r, scale)
		if err != nil {
			return nil, err
		}
		p, err := o.samples(ctx, r, s, fmt.Sprintf("%s-guidance-%g", kind, scale), fmt.Sprintf("γ = %g", scale))
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, p)
	}
	return pictures, nil
}

// drawnBy is a way to draw with a run's last model.
type drawnBy struct {
	run *ShownRun
	evaluation.Sampling
}

// fewSteps lists how to draw with rising numbers of network evaluations: along the flow and, where there is a run of
// noise estimates too, by its samplers; last as that usually does.
func (o *page) fewSteps(flow, class *ShownRun) (all []drawnBy, err error) {
	add := func(r *ShownRun, sampler string, steps int) {
		if r == nil || err != nil || r == class && steps > r.Network.Timesteps {
			return
		}
		s := evaluation.Sampling{Sampler: sampler, Steps: steps, Guidance: usualGuidance, Seed: o.Seed}
		err = s.Complete(r.Network)
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

func (o *page) bySteps(ctx context.Context, ways []drawnBy) (pictures []Picture, err error) {
	for _, w := range ways {
		p, err := o.samples(ctx, w.run, w.Sampling, fmt.Sprintf("%s-steps-%d", strings.TrimRight(w.Sampler, "+"),
			w.Steps),
			fmt.Sprintf("%s: %d evaluations", w.Title(w.run.Network.Objective == mnistunet.Flow),
				w.Evaluations(w.run.Network)))
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, p)
	}
	return pictures, nil
}

// samples is a picture of what a run's last model draws.
func (o *page) samples(ctx context.Context, r *ShownRun, s evaluation.Sampling, file, title string) (Picture, error) {
	classes, n, columns := rowsOfClasses(r.Network)
	p := Picture{Name: file, Title: r.Name + ", " + title, Note: title, Width: len(columns), Columns: columns}
	p.Parameters.Add("model", r.Name)
	p.Parameters.Add("epoch", r.epochs[len(r.epochs)-1])
	s.Describe(&p.Parameters)
	kept := 1
	if usual, _ := o.sampling(r, usualGuidance); s == usual { // that is drawn as a trajectory
		kept = MostFrames
	}
	frames, err := o.drawings.sample(ctx, r.last(), r.Name+", "+title,
		evaluation.Drawing{Sampling: s, Labels: classes, Count: n, Frames: kept})
	if err != nil {
		return p, err
	}
	p.Rows = []Row{{Images: frames[len(frames)-1].X}}
	p.Command = sampleCommand(r.last(), r.Network, s, n) + " --out " + file + ".png"
	return p, nil
}

// sampleCommand is the line, but for its files, that draws samples again.
func sampleCommand(from stored, c mnistunet.Config, s evaluation.Sampling, n int) string {
	line := fmt.Sprintf("unnoise sample --model %s --sampler %s --steps %d", shell.Quote(from.name()), s.Sampler, s.Steps)
	if c.Condition == mnistunet.Class {
		line += fmt.Sprintf(" --guidance %g", s.Guidance)
	}
	return fmt.Sprintf("%s --count %d --seed %d", line, n, s.Seed)
}

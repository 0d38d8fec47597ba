package lab

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// Look is one way to look at an image, and what is to be seen there.
type Look struct {
	Name   string // of the view or band
	Prompt string
	See    func(diffusion.Images) diffusion.Images // at images in the model's range
}

// Verdict is what a model thinks of one candidate.
type Verdict struct {
	Seed  uint64  `json:"seed"`
	Score float64 `json:"score"` // the least of what follows, over the looks: how far the asked prompt explains the look better than the next best one
	// Matrix has a row for each look and a column for each of Prompts: how much worse the network estimates the noise with that
	// prompt than with the best one, in standard errors of the difference. 0 stands at the prompt that is read.
	Matrix [][]float64 `json:"matrix"`
}

// Judge ranks candidates by a model's own judgement, without another network: a prompt explains an image where the network, told the
// prompt, estimates well the noise in the noised image (Li et al. 2023, "Your Diffusion Model is Secretly a Zero-Shot Classifier",
// arXiv:2303.16203). All prompts and candidates are told the same noise.
type Judge struct {
	Model    model.Model
	Prompts  []model.Prompt // the looks' own ones first, in their order, then others that may be read instead
	Draws    int            // noised images for each look and prompt; 0: 16
	Low      float64        // share of signal, a/(a+σ), from which and
	High     float64        // up to which images are noised; both 0: where prompts are told apart best, see docs/results.md
	Seed     uint64         // of the noise
	Progress func(done, total int)
}

// The shares of signal at which images are judged.
const (
	judgeLow, judgeHigh = 0.28, 0.46
	judgeDraws          = 16
)

// Rank judges images, one verdict for each, in their order.
func (j Judge) Rank(ctx context.Context, images diffusion.Images, seeds []uint64, looks []Look) ([]Verdict, error) {
	if j.Low == 0 && j.High == 0 {
		j.Low, j.High = judgeLow, judgeHigh
	}
	if j.Draws == 0 {
		j.Draws = judgeDraws
	}
	if len(j.Prompts) < len(looks) || len(looks) == 0 {
		return nil, fmt.Errorf("%d looks are judged by %d prompts, expected at least as many", len(looks), len(j.Prompts))
	}
	process := j.Model.Spec().Process
	times := times(process, j.Low, j.High, j.Draws)
	g := diffusion.NewGenerator(j.Seed)
	errors := make([][][][]float64, len(looks)) // look, prompt, draw, image
	for i, look := range looks {
		errors[i] = make([][][]float64, len(j.Prompts))
		seen := look.See(images)
		for k, t := range times {
			noise := diffusion.NewImages(1, seen.C, seen.H, seen.W)
			g.Normal(noise.Data)
			noise = repeated(noise, seen.N)
			x, err := diffusion.AddNoise(process, seen, noise, t)
			if err != nil {
				return nil, err
			}
			of, err := j.errors(ctx, x, noise, t)
			if err != nil {
				return nil, err
			}
			for p := range j.Prompts {
				errors[i][p] = append(errors[i][p], of[p])
			}
			if j.Progress != nil {
				j.Progress(i*len(times)+k+1, len(looks)*len(times))
			}
		}
	}
	verdicts := make([]Verdict, images.N)
	for n := range verdicts {
		verdicts[n] = verdict(errors, n)
		verdicts[n].Seed = seeds[n]
	}
	return verdicts, nil
}

// errors are the mean squared errors of the noise that the network estimates, for each prompt that it is told and each image. Many
// prompts go into one evaluation.
func (j Judge) errors(ctx context.Context, x, noise diffusion.Images, t float64) ([][]float64, error) {
	const most = 256 // images in one evaluation: more are no quicker
	var errors [][]float64
	for prompts := range slices.Chunk(j.Prompts, max(1, most/x.N)) {
		var ask model.Ask
		ask.Guidance = 1
		var batch []diffusion.Images
		for _, p := range prompts {
			ask.Show = append(ask.Show, slices.Repeat([]model.Prompt{p}, x.N)...)
			batch = append(batch, x)
		}
		all, err := diffusion.Concat(batch...)
		if err != nil {
			return nil, err
		}
		denoiser, err := j.Model.Bind(ctx, ask)
		if err != nil {
			return nil, err
		}
		estimate, err := denoiser(ctx, all, t)
		if err != nil {
			return nil, err
		}
		if estimate, err = estimate.As(diffusion.Epsilon, j.Model.Spec().Process, all, t); err != nil {
			return nil, err
		}
		for p := range prompts {
			own := make([]float64, x.N)
			for n := range own {
				e, want := estimate.Value.Slice(p*x.N+n, p*x.N+n+1).Data, noise.Slice(n, n+1).Data
				for i, v := range e {
					d := float64(v - want[i])
					own[n] += d * d / float64(len(e))
				}
			}
			errors = append(errors, own)
		}
	}
	return errors, nil
}

// verdict compares the prompts' errors at one image, draw by draw: what a draw has in common for all prompts cancels.
func verdict(errors [][][][]float64, image int) Verdict {
	v := Verdict{Score: math.Inf(1)}
	for i, look := range errors {
		mean := make([]float64, len(look))
		for p, draws := range look {
			for _, e := range draws {
				mean[p] += e[image] / float64(len(draws))
			}
		}
		best := slices.Index(mean, slices.Min(mean))
		row := make([]float64, len(look))
		for p := range look {
			row[p] = deviation(look[p], look[best], image)
		}
		v.Matrix = append(v.Matrix, row)
		margin := math.Inf(1)
		for p := range look {
			if p != i {
				margin = min(margin, deviation(look[p], look[i], image))
			}
		}
		v.Score = min(v.Score, margin)
	}
	return v
}

// deviation is by how many standard errors a's errors lie above b's, in the mean over draws.
func deviation(a, b [][]float64, image int) float64 {
	n := float64(len(a))
	var sum, squares float64
	for k := range a {
		d := a[k][image] - b[k][image]
		sum += d
		squares += d * d
	}
	mean := sum / n
	if mean == 0 {
		return 0
	}
	variance := max(squares/n-mean*mean, 0) / max(n-1, 1)
	return mean / math.Sqrt(variance+1e-12)
}

// times are moments of a process with shares of signal from low to high; timesteps are whole.
func times(p diffusion.Process, low, high float64, n int) []float64 {
	share := func(t float64) float64 {
		signal, noise := p.Levels(t)
		return signal / (signal + noise)
	}
	var all []float64
	schedule, scheduled := p.(*diffusion.Schedule)
	for k := range n {
		want := low + (high-low)*(float64(k)+0.5)/float64(n)
		if !scheduled {
			from, to := 0.0, 1.0
			for range 40 {
				if mid := (from + to) / 2; share(mid) < want {
					from = mid
				} else {
					to = mid
				}
			}
			all = append(all, to)
			continue
		}
		best := 0
		for t := range schedule.Len() {
			if math.Abs(share(float64(t))-want) < math.Abs(share(float64(best))-want) {
				best = t
			}
		}
		all = append(all, float64(best))
	}
	return all
}

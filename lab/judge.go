package lab

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// Look is one way to look at an image, and what is to be seen there.
type Look struct {
	Name   string // of the view or band
	Prompt string
	See    func(diffusion.Images) diffusion.Images // at images in the model's range
}

// Verdict is what a model or the reader thinks of one candidate.
type Verdict struct {
	Seed   uint64  `json:"seed"`
	Parent *uint64 `json:"parent,omitempty"` // seed of the candidate that this one was refined from
	// Score is the least, over the looks, of the log odds of the asked prompt against all others: above 0 it is more
	// probable than all of them together.
	Score float64 `json:"score"`
	// Matrix has a row for each look and a column for each of Prompts: how much less its log likelihood is than that of
	// the best one, which has 0 and is what is read.
	Matrix [][]float64 `json:"matrix"`
	// Fit is the log likelihood of the asked prompts, summed over the looks: how much like an image of the model's each
	// look is. Only differences between candidates of as many draws have a meaning. The reader gives none.
	Fit   float64 `json:"fit"`
	Draws int     `json:"draws"` // of noise that it was judged by: those that do well are told apart by more; reader: 0
}

// Compare orders verdicts, the best first: of two candidates the one that was judged by more draws, then the one of a
// higher score, to which its fit adds a little.
func (v Verdict) Compare(other Verdict) int {
	return cmp.Or(cmp.Compare(other.Draws, v.Draws),
		cmp.Compare(other.Score+fitShare*other.Fit, v.Score+fitShare*v.Fit))
}

// Judge ranks candidates by a model's own judgement, without another network: a prompt explains an image where the
// network, told the prompt, estimates well the noise in the noised image (Li et al. 2023, "Your Diffusion Model is
// Secretly a Zero-Shot Classifier", arXiv:2303.16203). The log likelihood of a prompt is -½‖ε-ε̂‖², in the mean over
// draws of ε. All prompts and candidates are told the same noise, and each noise's opposite too, which takes most of
// the chance out of a difference of two prompts.
type Judge struct {
	Model   model.Model
	Prompts []model.Prompt // the looks' own ones first, in their order, then others that may be read instead
	Draws   int            // of noise for the best half of the images, half as many for the others; 0: 16
	Low     float64        // share of signal, a/(a+σ), from which and
	// up to which images are noised; both 0: where prompts are told apart best, see docs/results.md
	High     float64
	Seed     uint64 // of the noise
	Progress func(done, total int, soFar []Verdict)

	together gather // which shares the work; nil: all of it is done here
}

// gather adds what draws of noise, from one to before another, tell of some of the images.
type gather func(ctx context.Context, seen seen, all []evidence, which []int, from, to int) error

// seen are images, and what the looks see of them.
type seen struct {
	diffusion.Images
	looks []diffusion.Images
}

func see(images diffusion.Images, looks []Look) seen {
	s := seen{Images: images}
	for _, look := range looks {
		s.looks = append(s.looks, look.See(images))
	}
	return s
}

// How images are judged: docs/results.md.
const (
	judgeLow, judgeHigh = 0.33, 0.47
	judgeDraws          = 16
	fitShare            = 0.1
	rivals              = 3 // prompts that stay beside the asked one after the first draws
)

// Rank judges images, one verdict for each, in their order.
func (j Judge) Rank(ctx context.Context, images diffusion.Images, seeds []uint64, looks []Look) ([]Verdict, error) {
	if j.Low == 0 && j.High == 0 {
		j.Low, j.High = judgeLow, judgeHigh
	}
	if j.Draws == 0 {
		j.Draws = judgeDraws
	}
	if len(j.Prompts) <= 1 || len(j.Prompts) < len(looks) || len(looks) == 0 {
		return nil, fmt.Errorf("%d looks are judged by %d prompts, expected at least as many, and two", len(looks),
			len(j.Prompts))
	}
	saw := see(images, looks)
	all := make([]evidence, images.N)
	stay := make([]int, images.N)
	for n := range all {
		stay[n], all[n] = n, j.none(len(looks))
	}
	told := func(done int) {
		if j.Progress != nil {
			j.Progress(done, j.Draws, j.verdicts(all, seeds))
		}
	}
	work := gather(func(ctx context.Context, s seen, all []evidence, which []int, from, to int) error {
		return j.gather(ctx, s, all, which, from, to, told)
	})
	if j.together != nil {
		work = func(ctx context.Context, s seen, all []evidence, which []int, from, to int) error {
			err := j.together(ctx, s, all, which, from, to)
			if err == nil {
				told(to)
			}
			return err
		}
	}
	half := j.Draws / 2
	if half > 0 {
		if err := work(ctx, saw, all, stay, 0, half); err != nil {
			return nil, err
		}
		slices.SortStableFunc(stay, func(a, b int) int { return j.verdict(all[a]).Compare(j.verdict(all[b])) })
		stay = stay[:(len(stay)+1)/2]
		slices.Sort(stay)
	}
	if err := work(ctx, saw, all, stay, half, j.Draws); err != nil {
		return nil, err
	}
	return j.verdicts(all, seeds), nil
}

// none is the evidence of before the first draw.
func (j Judge) none(looks int) evidence {
	e := evidence{Gaps: make([][]gap, looks), Fit: make([]gap, looks)}
	for look := range looks {
		e.Gaps[look] = make([]gap, len(j.Prompts))
	}
	return e
}

// gather is [gather], done here. The images are evaluated share by share, so that sharing changes no bit.
func (j Judge) gather(ctx context.Context, s seen, all []evidence, which []int, from, to int, told func(done int)) error {
	g := diffusion.NewGenerator(j.Seed)
	noise := diffusion.NewImages(1, s.C, s.H, s.W)
	for draw, t := range j.times()[:to] {
		if draw%2 == 0 {
			g.Normal(noise.Data)
		} else {
			for i := range noise.Data {
				noise.Data[i] = -noise.Data[i]
			}
		}
		if draw < from {
			continue
		}
		for some := range slices.Chunk(which, shareImages) {
			var trials []trial
			for look := range s.looks {
				for _, n := range some {
					for _, p := range j.told(all[n], look) {
						trials = append(trials, trial{n, look, p})
					}
				}
			}
			errors, err := j.try(ctx, s.looks, trials, noise, t)
			if err != nil {
				return err
			}
			asked := 0.0
			for i, try := range trials {
				if try.prompt == try.look { // the first of its look
					asked = errors[i]
					all[try.image].Fit[try.look].add(-asked / 2)
				}
				all[try.image].Gaps[try.look][try.prompt].add((errors[i] - asked) / 2)
			}
		}
		if told != nil {
			told(draw + 1)
		}
	}
	return nil
}

func (j Judge) verdicts(all []evidence, seeds []uint64) []Verdict {
	verdicts := make([]Verdict, len(all))
	for n := range verdicts {
		verdicts[n] = j.verdict(all[n])
		verdicts[n].Seed = seeds[n]
	}
	return verdicts
}

// evidence is what was found of one image.
type evidence struct {
	Gaps [][]gap // for each look and prompt how much less likely it is than the look's own one
	Fit  []gap   // for each look the log likelihood of that one
}

// gap is a log likelihood, or a difference of two, in the mean over some draws.
type gap struct {
	Sum   float64
	Draws int
}

func (g *gap) add(v float64) { g.Sum, g.Draws = g.Sum+v, g.Draws+1 }

func (g gap) mean() float64 { return g.Sum / float64(max(g.Draws, 1)) }

// trial asks how well one prompt explains one look at one image.
type trial struct{ image, look, prompt int }

// told lists the prompts that a look is told next: its own, and all others at first, then the nearest of them.
func (j Judge) told(e evidence, look int) []int {
	var others []int
	for p := range j.Prompts {
		if j.Prompts[p].Text != j.Prompts[look].Text { // several looks may be asked to show the same
			others = append(others, p)
		}
	}
	if e.Gaps[look][look].Draws > 0 && len(others) > rivals {
		gaps := e.Gaps[look]
		slices.SortStableFunc(others, func(a, b int) int { return cmp.Compare(gaps[a].mean(), gaps[b].mean()) })
		others = others[:rivals]
	}
	return append([]int{look}, others...)
}

// try returns the squared errors of the noise that the network estimates, one for each trial. Many trials go into one
// evaluation.
func (j Judge) try(ctx context.Context, seen []diffusion.Images, trials []trial, noise diffusion.Images,
	t float64) ([]float64, error) {
	const most = 256 // images in one evaluation: more are no quicker
	process := j.Model.Spec().Process
	var errors []float64
	for some := range slices.Chunk(trials, most) {
		ask := model.Ask{Guidance: 1}
		var looked, noises []diffusion.Images
		for _, try := range some {
			ask.Show = append(ask.Show, j.Prompts[try.prompt])
			looked = append(looked, seen[try.look].Slice(try.image, try.image+1))
			noises = append(noises, noise)
		}
		clean, err := diffusion.Concat(looked...)
		if err != nil {
			return nil, err
		}
		want, err := diffusion.Concat(noises...)
		if err != nil {
			return nil, err
		}
		x, err := diffusion.AddNoise(process, clean, want, t)
		if err != nil {
			return nil, err
		}
		denoiser, err := j.Model.Bind(ctx, ask)
		if err != nil {
			return nil, err
		}
		estimate, err := denoiser(ctx, x, t)
		if err != nil {
			return nil, err
		}
		if estimate, err = estimate.As(diffusion.Epsilon, process, x, t); err != nil {
			return nil, err
		}
		for i := range some {
			sum := 0.0
			for k, v := range estimate.Value.Slice(i, i+1).Data {
				d := float64(v - noise.Data[k])
				sum += d * d
			}
			errors = append(errors, sum)
		}
	}
	return errors, nil
}

// verdict sums evidence up.
func (j Judge) verdict(e evidence) Verdict {
	v := Verdict{Score: math.Inf(1)}
	for look, gaps := range e.Gaps {
		least := 0.0
		row := make([]float64, len(gaps))
		var others []float64 // log likelihoods
		for p, g := range gaps {
			row[p] = g.mean()
			least = min(least, row[p])
			if j.Prompts[p].Text != j.Prompts[look].Text {
				others = append(others, -row[p])
			}
		}
		if len(others) > 0 {
			v.Score = min(v.Score, -floats.LogSumExp(others))
		}
		for p := range row {
			row[p] -= least
		}
		v.Matrix = append(v.Matrix, row)
		v.Draws = gaps[look].Draws
		v.Fit += e.Fit[look].mean()
	}
	return v
}

// times are the times to which images are noised, in an order in which the first ones lie apart: a noise and its
// opposite have the same.
func (j Judge) times() (all []float64) {
	n := (j.Draws + 1) / 2
	sorted := times(j.Model.Spec().Process, j.Low, j.High, n)
	for first := 0; len(all) < j.Draws; first++ {
		for k := first; k < n; k += (n + 1) / 2 {
			all = append(all, sorted[k], sorted[k])
		}
	}
	return all[:j.Draws]
}

// times are moments of a process with shares of signal from low to high; timesteps are whole.
func times(p diffusion.Process, low, high float64, n int) []float64 {
	share := func(t float64) float64 {
		signal, _ := diffusion.Shares(p, t)
		return signal
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

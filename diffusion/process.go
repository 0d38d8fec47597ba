package diffusion

import (
	"fmt"
	"math"
)

// Process is a forward process, which turns images into noise: x_t = signal·x_0 + noise·ε, ε ~ N(0, I). *[Schedule] is
// one with timesteps, [Flow] one with a continuous time. Both are the same thing seen from two sides: up to a factor
// for x and another clock each is the other, so that every [Method] works with both.
type Process interface {
	// Levels returns the factors of x_0 and ε at time t, and NaN where the process has no time t.
	// At the time of the clean image they are 1 and 0.
	Levels(t float64) (signal, noise float64)
	// Path returns n moves from noise to the clean image.
	Path(n int, s Spacing) ([]Move, error)
}

// Move is one step of a path: from one time of a [Process] to another. As a rule it goes to less noise. A move to more
// noise is a step of the forward process; see [Resample].
type Move struct{ From, To float64 }

// AddNoise returns the images noised to time t (DDPM, eq. 4; Flow matching, eq. 22): signal·x_0 + noise·ε.
// noise is ε and has x0's shape. Give one time for all images, or one for each.
func AddNoise(p Process, x0, noise Images, t ...float64) (Images, error) {
	x := x0.Like()
	return x, addNoiseTo(p, x, x0, noise, t)
}

// addNoiseTo is AddNoise into dst, which has x0's shape and may be x0 or noise itself.
func addNoiseTo(p Process, dst, x0, noise Images, t []float64) error {
	if err := x0.check(); err != nil {
		return err
	}
	if err := noise.checkLike(x0, "the noise"); err != nil {
		return err
	}
	if err := dst.checkLike(x0, "the destination"); err != nil {
		return err
	}
	if len(t) != 1 && len(t) != x0.N {
		return fmt.Errorf("%d images need 1 time or %d, found %d", x0.N, x0.N, len(t))
	}
	for _, t := range t {
		if err := checkTime(p, t); err != nil {
			return err
		}
	}
	size := x0.Size()
	for n := range x0.N {
		signal, sigma := levels(p, t[min(n, len(t)-1)])
		from, to := n*size, (n+1)*size
		d, x, e := dst.Data[from:to], x0.Data[from:to], noise.Data[from:to]
		for i := range d {
			d[i] = signal*x[i] + sigma*e[i]
		}
	}
	return nil
}

// checkTime refuses a time that the process has not.
func checkTime(p Process, t float64) error {
	if signal, noise := p.Levels(t); math.IsNaN(signal) || math.IsNaN(noise) {
		return fmt.Errorf("the process has no time %g; %v", t, p)
	}
	return nil
}

// levels are a process's levels as images are computed with them.
func levels(p Process, t float64) (signal, noise float32) {
	a, s := p.Levels(t)
	return float32(a), float32(s)
}

// isClean reports whether t is the time of the clean image.
func isClean(p Process, t float64) bool {
	_, noise := p.Levels(t)
	return noise == 0
}

// varianceOne describes a process as DDPM's paper does, by x_t of variance one: scale·x_t = √ᾱ x_0 + √(1-ᾱ) ε. rest is
// 1-ᾱ.
func varianceOne(p Process, t float64) (alphaBar, rest, scale float32) {
	if s, ok := p.(*Schedule); ok {
		alphaBar = s.alphaBar(t)
		return alphaBar, 1 - alphaBar, 1
	}
	signal, noise := p.Levels(t)
	variance := signal*signal + noise*noise
	return float32(signal * signal / variance), float32(noise * noise / variance), float32(1 / math.Sqrt(variance))
}

// betaOf returns the variance that lies between the two times of a move, 1 - ᾱ_t/ᾱ_t'.
func betaOf(p Process, m Move) float32 {
	if s, ok := p.(*Schedule); ok { // in float32, as PyTorch
		return 1 - s.alphaBar(m.From)/s.alphaBar(m.To)
	}
	signal, noise := p.Levels(m.From)
	signalTo, noiseTo := p.Levels(m.To)
	ratio, ratioTo := noise/signal, noiseTo/signalTo
	return float32(1 - (1+ratioTo*ratioTo)/(1+ratio*ratio))
}

// Shares are those of signal and noise in x_t. They add up to 1: scaled, any process is a straight line from noise to
// image.
func Shares(p Process, t float64) (signal, noise float64) {
	signal, noise = p.Levels(t)
	return signal / (signal + noise), noise / (signal + noise)
}

// straight describes a process as a straight line: scale·x_t = w x_0 + (1-w) ε.
func straight(p Process, t float64) (w float64, scale float32) {
	signal, noise := p.Levels(t)
	w, _ = Shares(p, t)
	return w, float32(1 / (signal + noise))
}

// Resample returns a path that goes back to more noise again and again (RePaint, arXiv:2201.09865, section 4.2; "time
// travel"). After every length moves it jumps back to where they began and repeats them, so that each is made repeats
// times. Only moves whose share of the path, from 0 (noise) to 1 (image), lies between from and to are repeated.
func Resample(path []Move, length, repeats int, from, to float64) ([]Move, error) {
	if length < 1 || repeats < 1 {
		return nil, fmt.Errorf("moves are repeated %d times in groups of %d, expected positive numbers", repeats,
			length)
	}
	if !(from >= 0 && from <= to && to <= 1) {
		return nil, fmt.Errorf("moves from %g to %g of the path are repeated, expected shares from 0 to 1", from, to)
	}
	first := int(math.Round(from * float64(len(path))))
	last := int(math.Round(to * float64(len(path))))
	all := append([]Move(nil), path[:first]...)
	for i := first; i < last; i += length {
		group := path[i:min(i+length, last)]
		all = append(all, group...)
		for range repeats - 1 {
			all = append(all, Move{From: group[len(group)-1].To, To: group[0].From})
			all = append(all, group...)
		}
	}
	return append(all, path[last:]...), nil
}

// renoise makes x at a time of more noise from x at a time of less (DDPM, eq. 2, over several timesteps): the image is
// scaled and noise is added.
func renoise(p Process, x, noise Images, m Move) Images {
	signal, sigma := p.Levels(m.From)
	signalTo, sigmaTo := p.Levels(m.To)
	ratio := signalTo / signal
	return blend(float32(ratio), x, float32(math.Sqrt(max(sigmaTo*sigmaTo-ratio*ratio*sigma*sigma, 0))), noise)
}

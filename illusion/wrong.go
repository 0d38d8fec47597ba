package illusion

import (
	"math"

	"github.com/unnoise/unnoise/diffusion"
)

// Way is a function of pictures and what it does to a picture and to noise. A denoiser knows noise with mean 0,
// variance 1 and independent pixels only; a view has to keep that. Some ways to look at a picture don't.
type Way struct {
	Name string
	Text string

	Picture, Noise diffusion.Images // [1,C,H,W] as they come out, the picture's values from 0 to 1
	Mean, Variance float64          // of that noise
	Neighbors      float64          // the correlation of pixels beside each other
}

// Right reports whether noise stays noise, as far as the numbers tell with a tolerance.
func (w Way) Right(tolerance float64) bool {
	return math.Abs(w.Mean) < tolerance && math.Abs(w.Variance-1) < tolerance && math.Abs(w.Neighbors) < tolerance
}

// Ways returns views and functions that are none, applied to a picture and to noise, for teaching. m is one image with
// values from 0 to 1. Numbers are those of the disc in the middle, which all of them fill.
func Ways(m diffusion.Images, seed uint64) []Way {
	noise := m.Like()
	diffusion.NewGenerator(seed).Normal(noise.Data)
	half := func(m diffusion.Images) diffusion.Images { return scale(0.5)(m) }
	blur := gaussian{sigma: 2, kernel: 33, side: referenceSide}.low
	all := []struct {
		name, text string
		do         pixels
	}{
		{"as it is", "noise as a denoiser knows it", func(m diffusion.Images) diffusion.Images { return m }},
		{"flip", "a permutation of pixels", (&permutation{cut: mirrored}).Apply},
		{"negate", "noise is as often above as below", negation{}.Apply},
		{"blur", "no inverse; neighbors become alike, and noise all but vanishes", blur},
		{"135 degrees, interpolated", "means of four pixels: less variance, alike neighbors", turn(135, bilinear)},
		{"135 degrees, nearest", "some pixels are shown twice, others never", turn(135, nearest)},
		{"half contrast", "a quarter of the variance", half},
		{"brighter", "another mean", func(m diffusion.Images) diffusion.Images { return add(m, 0.3) }},
	}
	ways := make([]Way, len(all))
	for i, a := range all {
		w := Way{Name: a.name, Text: a.text, Picture: add(a.do(add(m, -0.5)), 0.5), Noise: a.do(noise)}
		w.Mean, w.Variance, w.Neighbors = measure(w.Noise)
		ways[i] = w
	}
	return ways
}

func mirrored(h, w int) pieces {
	m := stay(h, w)
	m.flip = true
	return pieces{of: make([]int, h*w), moves: []move{m}}
}

// turn returns what turns images about their middle by an angle that is no right one, so that it needs values between
// pixels. What comes from beyond the image is 0.
func turn(degrees float64, between func(plane []float32, h, w int, y, x float64) float32) pixels {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return func(m diffusion.Images) diffusion.Images {
		out := m.Like()
		my, mx := float64(m.H-1)/2, float64(m.W-1)/2
		for at := 0; at < len(m.Data); at += m.H * m.W {
			plane := m.Data[at:][:m.H*m.W]
			for i := range plane {
				y, x := float64(i/m.W)-my, float64(i%m.W)-mx
				out.Data[at+i] = between(plane, m.H, m.W, my+cos*y-sin*x, mx+sin*y+cos*x)
			}
		}
		return out
	}
}

func nearest(plane []float32, h, w int, y, x float64) float32 {
	iy, ix := int(math.Round(y)), int(math.Round(x))
	if iy < 0 || iy >= h || ix < 0 || ix >= w {
		return 0
	}
	return plane[iy*w+ix]
}

func bilinear(plane []float32, h, w int, y, x float64) float32 {
	y0, x0 := math.Floor(y), math.Floor(x)
	fy, fx := float32(y-y0), float32(x-x0)
	at := func(dy, dx float64) float32 { return nearest(plane, h, w, y0+dy, x0+dx) }
	return (1-fy)*((1-fx)*at(0, 0)+fx*at(0, 1)) + fy*((1-fx)*at(1, 0)+fx*at(1, 1))
}

// measure returns the mean and the variance of values in the middle of images, and the correlation of neighbors.
func measure(m diffusion.Images) (mean, variance, neighbors float64) {
	inside := func(i int) bool {
		y, x := float64(i/m.W%m.H)-float64(m.H-1)/2, float64(i%m.W)-float64(m.W-1)/2
		return math.Hypot(y, x) < 3./8*float64(min(m.H, m.W))
	}
	var n, sum, squares, pairs, products float64
	for i, v := range m.Data {
		if inside(i) {
			n, sum = n+1, sum+float64(v)
		}
	}
	mean = sum / n
	for i, v := range m.Data {
		if !inside(i) {
			continue
		}
		d := float64(v) - mean
		squares += d * d
		for _, j := range []int{i + 1, i + m.W} { // the disc does not reach the edges
			if inside(j) {
				pairs, products = pairs+1, products+d*(float64(m.Data[j])-mean)
			}
		}
	}
	variance = squares / n
	return mean, variance, products / pairs / variance
}

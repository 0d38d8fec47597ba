package illusion

import (
	"fmt"
	"image"
	"math"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
)

// Band is a component of pictures: what passes a linear filter. Filter returns new images. Bands whose sum is the
// whole picture make a hybrid; see [Complete]. As views do, those of this package have a String, and panic where
// [Fits] reports an error.
type Band interface {
	Filter(diffusion.Images) diffusion.Images
}

// Complete returns an error unless the bands add up to the identity, for images of c channels, h rows and w columns.
func Complete(c, h, w int, bands ...Band) error {
	names := make([]string, len(bands))
	for i, b := range bands {
		if err := Fits(b, c, h, w); err != nil {
			return err
		}
		names[i] = fmt.Sprint(b)
	}
	probe := diffusion.NewImages(1, c, h, w)
	diffusion.NewGenerator(0).Normal(probe.Data)
	sum := probe.Like()
	for _, b := range bands {
		for i, v := range b.Filter(probe).Data {
			sum.Data[i] += v
		}
	}
	for i, v := range sum.Data {
		if !(math.Abs(float64(v-probe.Data[i])) < 1e-3) {
			return fmt.Errorf("the bands %s don't add up to the whole picture; these do: %s",
				strings.Join(names, ", "), sets())
		}
	}
	return nil
}

// sets lists the sets of bands in words.
func sets() string {
	var all []string
	for _, k := range Bands() {
		if set := strings.Join(k.Sum, " and "); len(k.Sum) > 0 && k.Sum[0] == k.Name {
			all = append(all, set)
		}
	}
	return strings.Join(all, "; ")
}

// The sizes of filters are those for pictures of 64 pixels, and grow with the picture's shorter side.
const referenceSide = 64

var (
	gaussianParameters = []Parameter{
		{Name: "sigma", Default: 2, Min: 0.01, Max: 1024, Text: "the Gaussian's standard deviation in pixels"},
		{Name: "kernel", Default: 33, Min: 1, Max: 2047, Whole: true,
			Text: "the filter's width in pixels; an even one becomes the next odd"},
		{Name: "side", Default: referenceSide, Max: 1 << 15, Whole: true,
			Text: "of pictures that these are for, others have them scaled; 0: the same pixels at all sizes"},
	}
	threeParameters = []Parameter{
		{Name: "fine", Default: 1, Min: 0.01, Max: 1024, Text: "standard deviation of the blur that takes off high"},
		{Name: "coarse", Default: 2, Min: 0.01, Max: 1024, Text: "that of the blur that takes off mid, then"},
	}
	length = Parameter{Name: "length", Default: 7, Min: 1, Max: 2047, Text: "in pixels of a picture of 64"}
	factor = Parameter{Name: "factor", Default: 0.5, Min: -8, Max: 8, Text: "of all values"}

	pass   = []string{"low_pass", "high_pass"}
	three  = []string{"low", "mid", "high"}
	chroma = []string{"grayscale", "color"}
	motion = []string{"motion_blur", "motion_residual"}
)

// pixels makes images of images.
type pixels func(diffusion.Images) diffusion.Images

// Their order is that of lists for people.
var bands = []kind[Band]{
	{named("low_pass", "what is seen from afar: blurred by a Gaussian", gaussianParameters...).of(pass), lowPass},
	{named("high_pass", "what is seen from near: the rest of low_pass", gaussianParameters...).of(pass), highPass},
	{named("low", "the coarsest of three", threeParameters...).of(three).or("triple_low_pass"), low},
	{named("mid", "the middle one of three", threeParameters...).of(three).or("triple_medium_pass"), mid},
	{named("high", "the finest of three", threeParameters...).of(three).or("triple_high_pass"), high},
	{named("grayscale", "what is seen in dim light: the mean of red, green and blue").of(chroma), grays},
	{named("color", "the colors: the rest of grayscale").of(chroma), colors},
	{named("motion_blur", "what is seen while it moves along the diagonal", length).of(motion).or("motion"), moved},
	{named("motion_residual", "what is seen when it stops: the rest", length).of(motion).or("motion_res"), rested},
	{named("scale", "a share of the whole picture", factor).of([]string{"scale", "scale"}), scaled},
}

func (k Kind) of(set []string) Kind {
	k.Sum = set
	return k
}

func (k Kind) or(alias string) Kind {
	k.Alias = alias
	return k
}

func lowPass(name string, p []float64) Band {
	g := gaussian{p[0], p[1], p[2]}
	return filter{name: name, fits: g.fits, pass: g.low, perform: walkAway}
}

func highPass(name string, p []float64) Band {
	g := gaussian{p[0], p[1], p[2]}
	return filter{name: name, fits: g.fits, pass: rest(g.low), perform: walkAway}
}

// blurs returns the blurs of three bands: the first takes off high, then the second takes off mid.
func blurs(p []float64) (fine, coarse gaussian) {
	width := 2 * math.Ceil(6*max(p[0], p[1]))
	return gaussian{p[0], width, referenceSide}, gaussian{p[1], width, referenceSide}
}

func low(name string, p []float64) Band {
	fine, coarse := blurs(p)
	return filter{name: name, fits: coarse.fits, perform: walkAway, pass: func(m diffusion.Images) diffusion.Images {
		return coarse.low(fine.low(m))
	}}
}

func mid(name string, p []float64) Band {
	fine, coarse := blurs(p)
	return filter{name: name, fits: coarse.fits, perform: walkAway, pass: func(m diffusion.Images) diffusion.Images {
		m = fine.low(m)
		return rest(coarse.low)(m)
	}}
}

func high(name string, p []float64) Band {
	fine, _ := blurs(p)
	return filter{name: name, fits: fine.fits, pass: rest(fine.low), perform: walkAway}
}

func grays(name string, _ []float64) Band {
	return filter{name: name, fits: colored, pass: grayscale, perform: drain}
}

func colors(name string, _ []float64) Band {
	return filter{name: name, fits: colored, pass: rest(grayscale), perform: drain}
}

// drain is a scene in which a picture loses its colors.
func drain(m diffusion.Images) scene { return fade(m, grayscale(m)) }

func moved(name string, p []float64) Band {
	l := moving(p[0])
	return filter{name: name, fits: l.fits, pass: l.blur, perform: l.start}
}

func rested(name string, p []float64) Band {
	l := moving(p[0])
	return filter{name: name, fits: l.fits, pass: rest(l.blur), perform: l.start}
}

// start is a scene in which a picture begins to move.
func (l moving) start(m diffusion.Images) scene {
	return scene{point{m.W, m.H}, func(c canvas, t float64) image.Image {
		c.picture = moving(float64(l) * t).blur(m)
		return c.still(1)
	}}
}

func scaled(name string, p []float64) Band { return filter{name: name, pass: scale(float32(p[0]))} }

// filter is a named Band.
type filter struct {
	name string
	fits func(c, h, w int) error
	pass pixels

	perform func(diffusion.Images) scene // nil: it fades in
}

func (f filter) String() string { return f.name }

func (f filter) Fits(c, h, w int) error {
	if f.fits == nil {
		return nil
	}
	if err := f.fits(c, h, w); err != nil {
		return fmt.Errorf("the band %s %w", f.name, err)
	}
	return nil
}

func (f filter) Filter(m diffusion.Images) diffusion.Images {
	if err := f.Fits(m.C, m.H, m.W); err != nil {
		panic("illusion: " + err.Error())
	}
	return f.pass(m)
}

// rest is what a filter takes away.
func rest(pass pixels) pixels {
	return func(m diffusion.Images) diffusion.Images {
		out := pass(m)
		for i, v := range m.Data {
			out.Data[i] = v - out.Data[i]
		}
		return out
	}
}

func scale(a float32) pixels {
	return func(m diffusion.Images) diffusion.Images {
		out := m.Like()
		for i, v := range m.Data {
			out.Data[i] = a * v
		}
		return out
	}
}

func colored(c, _, _ int) error {
	if c != 3 {
		return fmt.Errorf("needs color images of 3 channels, found %d", c)
	}
	return nil
}

func grayscale(m diffusion.Images) diffusion.Images {
	out := m.Like()
	plane := m.H * m.W
	for n := range m.N {
		src, dst := m.Slice(n, n+1).Data, out.Slice(n, n+1).Data
		for i := range plane {
			gray := (src[i] + src[plane+i] + src[2*plane+i]) / 3
			dst[i], dst[plane+i], dst[2*plane+i] = gray, gray, gray
		}
	}
	return out
}

// odd is the odd number of pixels next to n.
func odd(n float64) int { return 2*int(n/2) + 1 }

// reach returns an error where a filter's kernel is larger than reflection at the edges allows.
func reach(kernel, h, w int) error {
	if kernel/2 >= min(h, w) {
		return fmt.Errorf("is %d pixels wide, which is too much for images of %d×%d pixels", kernel, w, h)
	}
	return nil
}

// gaussian is a blur whose measures are those for pictures of a certain side.
type gaussian struct {
	sigma, kernel, side float64
}

// at returns standard deviation and width for images of a size.
func (g gaussian) at(h, w int) (sigma float64, kernel int) {
	scale := 1.0
	if g.side > 0 {
		scale = float64(min(h, w)) / g.side
	}
	return g.sigma * scale, odd(g.kernel * scale)
}

func (g gaussian) fits(_, h, w int) error {
	_, kernel := g.at(h, w)
	return reach(kernel, h, w)
}

func (g gaussian) low(m diffusion.Images) diffusion.Images {
	sigma, kernel := g.at(m.H, m.W)
	weights := make([]float32, kernel)
	var sum float64
	for i := range weights {
		d := float64(i-kernel/2) / sigma
		v := math.Exp(-d * d / 2)
		weights[i] = float32(v)
		sum += v
	}
	for i := range weights {
		weights[i] = float32(float64(weights[i]) / sum)
	}
	rows, out := m.Like(), m.Like()
	padded := make([]float32, m.W+kernel-1)
	for y := range m.N * m.C * m.H { // along the rows
		line := m.Data[y*m.W:][:m.W]
		for i := range padded {
			padded[i] = line[reflect(i-kernel/2, m.W)]
		}
		dst := rows.Data[y*m.W:][:m.W]
		for i, k := range weights {
			for x, v := range padded[i:][:m.W] {
				dst[x] += k * v
			}
		}
	}
	for plane := 0; plane < len(m.Data); plane += m.H * m.W { // and along the columns
		for y := range m.H {
			dst := out.Data[plane+y*m.W:][:m.W]
			for i, k := range weights {
				for x, v := range rows.Data[plane+reflect(y+i-kernel/2, m.H)*m.W:][:m.W] {
					dst[x] += k * v
				}
			}
		}
	}
	return out
}

// reflect mirrors an index at the first and the last of n, which are not repeated: PyTorch's "reflect" padding.
func reflect(i, n int) int {
	if i < 0 {
		i = -i
	}
	if i >= n {
		i = 2*n - 2 - i
	}
	return i
}

// moving is a blur along the diagonal, its length for pictures of 64 pixels.
type moving float64

func (l moving) kernel(h, w int) int { return odd(float64(l) * float64(min(h, w)) / referenceSide) }

func (l moving) fits(_, h, w int) error { return reach(l.kernel(h, w), h, w) }

func (l moving) blur(m diffusion.Images) diffusion.Images {
	out, kernel := m.Like(), l.kernel(m.H, m.W)
	for plane := 0; plane < len(m.Data); plane += m.H * m.W {
		for y := range m.H {
			for x := range m.W {
				var sum float32
				for i := -kernel / 2; i <= kernel/2; i++ {
					sum += m.Data[plane+reflect(y+i, m.H)*m.W+reflect(x+i, m.W)]
				}
				out.Data[plane+y*m.W+x] = sum / float32(kernel)
			}
		}
	}
	return out
}

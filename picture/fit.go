package picture

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	"github.com/unnoise/unnoise/diffusion"
)

// Mode says what is shown of a picture whose sides are in another proportion than the images'.
type Mode string

const (
	Crop    Mode = "crop"    // as much of its middle as fits
	Pad     Mode = "pad"     // all of it, with ground beside it
	Stretch Mode = "stretch" // all of it, distorted

	// Digit shows a drawing as MNIST shows its digits: light ink on black, at most 20/28 of the side wide and high,
	// its center of mass in the middle, the ground black and the ink white throughout.
	Digit Mode = "digit"
)

// Ink says whether a drawing is dark on light. Models of digits draw light on black.
type Ink string

const (
	Light Ink = "light" // light ink: values stay as they are
	Dark  Ink = "dark"  // dark ink on light ground: dark and light are exchanged
	Auto  Ink = "auto"  // Dark where that is plain: a light edge, and more inside that is darker than lighter
)

// Fit is how pictures become images for a model.
type Fit struct {
	C, H, W   int         // of the images; 1 channel is gray, 3 are red, green and blue
	Low, High float32     // the values of black and white
	Mode      Mode        // empty: Crop
	Ink       Ink         // empty: Light
	Ground    color.Color // behind transparent parts and beside padded ones; nil: white, for light ink with Auto black
}

// Fitted is a picture as images.
type Fitted struct {
	Images   diffusion.Images // [1,C,H,W], from Low to High
	Inverted bool             // dark and light were exchanged

	part rect        // of the picture, what is shown
	size image.Point // the picture's
}

// Sides returns the sides of images that show the picture nearly whole, for models that are not bound to a square: the
// shorter one is short, the longer one the nearest multiple of step, and at most four times as long.
func Sides(m image.Image, short, step int) (h, w int) {
	size := m.Bounds().Size()
	proportion := float64(max(size.X, size.Y)) / float64(min(size.X, size.Y))
	long := int(math.Round(min(proportion, 4)*float64(short)/float64(step))) * step
	if size.X > size.Y {
		return short, long
	}
	return long, short
}

// Picture returns the picture as images. It is scaled in linear light, by Catmull-Rom interpolation. One that has the
// images' size, or is one of that size enlarged by repeating its pixels, keeps its values.
func (f Fit) Picture(m image.Image) (Fitted, error) {
	if err := f.check(m); err != nil {
		return Fitted{}, err
	}
	out := Fitted{size: m.Bounds().Size(), part: f.part(m), Inverted: f.Ink == Dark}
	_, exact := repeated(m, out.part, f.H, f.W)
	asDigit := f.Mode == Digit && !exact
	ground := f.Ground
	if ground == nil {
		ground = color.White
	}
	var d drawing
	if f.Ink == Auto || asDigit {
		small := thumbnail(m)
		if f.Ground == nil && f.Ink == Auto && small.lightOnNothing() {
			ground = color.Black
		}
		d = small.look(ground)
	}
	if f.Ink == Auto {
		out.Inverted = d.plainlyDark()
	}
	if asDigit {
		var err error
		if out.part, err = d.placed(m, out.Inverted, f.H, f.W); err != nil {
			return Fitted{}, err
		}
		ground = color.Gray16{Y: uint16(d.paper*0xffff + 0.5)}
	}
	out.Images = show(m, out.part, ground, f)
	values := out.Images.Data
	if out.Inverted {
		for i, v := range values {
			values[i] = 1 - v
		}
	}
	if asDigit {
		fill(values, d.ground(out.Inverted))
	}
	for i, v := range values {
		values[i] = f.Low + (f.High-f.Low)*v
	}
	return out, nil
}

func (f Fit) check(m image.Image) error {
	if size := m.Bounds().Size(); size.X < 1 || size.Y < 1 {
		return fmt.Errorf("the picture is %d×%d pixels, expected at least one", size.X, size.Y)
	}
	if f.C != 1 && f.C != 3 || f.H < 1 || f.W < 1 {
		return fmt.Errorf("images of %d channels and %d×%d pixels are asked for, expected 1 or 3 channels",
			f.C, f.W, f.H)
	}
	if f.Low == f.High {
		return fmt.Errorf("black and white both have the value %g", f.Low)
	}
	switch f.Mode {
	case "", Crop, Pad, Stretch:
	case Digit:
		if f.C != 1 {
			return fmt.Errorf("the mode %q is for images of 1 channel, found %d", f.Mode, f.C)
		}
	default:
		return fmt.Errorf("the mode is %q, expected %q, %q, %q or %q", f.Mode, Crop, Pad, Stretch, Digit)
	}
	switch f.Ink {
	case "", Light, Dark, Auto:
		return nil
	}
	return fmt.Errorf("the ink is %q, expected %q, %q or %q", f.Ink, Light, Dark, Auto)
}

// part returns what is shown of a picture.
func (f Fit) part(m image.Image) rect {
	w, h := float64(m.Bounds().Dx()), float64(m.Bounds().Dy())
	if f.Mode == Stretch {
		return rect{0, 0, w, h}
	}
	scale := min(w/float64(f.W), h/float64(f.H)) // pixels of the picture for one of the images
	if f.Mode == Pad || f.Mode == Digit {
		scale = max(w/float64(f.W), h/float64(f.H))
	}
	x0, y0 := math.Round((w-scale*float64(f.W))/2), math.Round((h-scale*float64(f.H))/2)
	return rect{x0, y0, x0 + scale*float64(f.W), y0 + scale*float64(f.H)}
}

// show returns a part of the picture as one image with values of sRGB from 0 to 1.
func show(m image.Image, part rect, ground color.Color, f Fit) diffusion.Images {
	out := diffusion.NewImages(1, f.C, f.H, f.W)
	plane := f.H * f.W
	k, exact := repeated(m, part, f.H, f.W)
	var scaled []pixel
	if !exact {
		scaled = resample(m, part, f.H, f.W)
	}
	behind := toPixel(ground)
	b := m.Bounds()
	for i := range plane {
		var p pixel
		if exact {
			c := rgba64(m, b.Min.X+int(part.x0)+i%f.W*k, b.Min.Y+int(part.y0)+i/f.W*k)
			if c.A == 0xffff && (f.C == 3 || c.R == c.G && c.G == c.B) { // without a detour through linear light
				for j, v := range []uint16{c.R, c.G, c.B}[:f.C] {
					out.Data[j*plane+i] = float32(v) / 0xffff
				}
				continue
			}
			p = toPixel(c)
		} else {
			p = scaled[i]
		}
		p = p.on(behind)
		if f.C == 1 {
			out.Data[i] = encoded(luminance(p))
			continue
		}
		for j := range 3 {
			out.Data[j*plane+i] = encoded(p[j])
		}
	}
	return out
}

// repeated reports whether a part of the picture is h×w pixels, each of them repeated k times along both sides.
func repeated(m image.Image, part rect, h, w int) (k int, yes bool) {
	size := m.Bounds().Size()
	k = int(part.x1-part.x0) / w
	x0, y0 := math.Trunc(part.x0), math.Trunc(part.y0)
	whole := rect{x0, y0, x0 + float64(k*w), y0 + float64(k*h)}
	if k < 1 || part != whole || part.x0 < 0 || part.y0 < 0 || int(part.x1) > size.X || int(part.y1) > size.Y {
		return 0, false
	}
	if k == 1 {
		return 1, true
	}
	b := m.Bounds().Min.Add(image.Pt(int(part.x0), int(part.y0)))
	for y := range h * k {
		for x := range w * k {
			if rgba64(m, b.X+x, b.Y+y) != rgba64(m, b.X+x/k*k, b.Y+y/k*k) {
				return 0, false
			}
		}
	}
	return k, true
}

// thumbnailSide bounds what is looked at to tell ink from paper.
const thumbnailSide = 128

// miniature is a picture made small.
type miniature struct {
	pixels []pixel
	h, w   int
}

func thumbnail(m image.Image) miniature {
	size := m.Bounds().Size()
	scale := max(1, float64(max(size.X, size.Y))/thumbnailSide)
	h, w := max(int(float64(size.Y)/scale), 1), max(int(float64(size.X)/scale), 1)
	return miniature{resample(m, rect{0, 0, float64(size.X), float64(size.Y)}, h, w), h, w}
}

// lightOnNothing reports whether light things lie on transparent ground.
func (m miniature) lightOnNothing() bool {
	var light, covered float32
	for _, p := range m.pixels {
		light, covered = light+luminance(p), covered+p[3]
	}
	return covered < 0.9*float32(len(m.pixels)) && encoded(light/covered) > 0.6
}

// drawing is what a picture looks like in gray.
type drawing struct {
	values []float32 // of sRGB, from 0 to 1
	h, w   int
	paper  float32 // the usual value at the edge
}

func (m miniature) look(ground color.Color) drawing {
	d := drawing{values: make([]float32, len(m.pixels)), h: m.h, w: m.w}
	behind := toPixel(ground)
	var edge []float32
	for i, p := range m.pixels {
		d.values[i] = encoded(luminance(p.on(behind)))
		if y, x := i/d.w, i%d.w; y == 0 || x == 0 || y == d.h-1 || x == d.w-1 {
			edge = append(edge, d.values[i])
		}
	}
	slices.Sort(edge)
	d.paper = edge[len(edge)/2]
	return d
}

func (d drawing) plainlyDark() bool {
	darker, lighter := 0, 0
	for _, v := range d.values {
		if v < d.paper-0.2 {
			darker++
		}
		if v > d.paper+0.2 {
			lighter++
		}
	}
	return d.paper > 0.6 && darker > lighter
}

// ground returns the value of paper where ink is light.
func (d drawing) ground(inverted bool) float32 {
	if inverted {
		return 1 - d.paper
	}
	return d.paper
}

// placed returns the part of the picture that shows the drawing as MNIST shows digits.
func (d drawing) placed(m image.Image, inverted bool, h, w int) (rect, error) {
	ink := make([]float32, len(d.values))
	var full float32
	for i, v := range d.values {
		ink[i] = v - d.paper
		if inverted {
			ink[i] = -ink[i]
		}
		full = max(full, ink[i])
	}
	if full < 0.1 {
		what := "lighter"
		if inverted {
			what = "darker"
		}
		return rect{}, fmt.Errorf("nothing is drawn on the picture: nothing in it is plainly %s than its edge", what)
	}
	box := image.Rectangle{Min: image.Pt(d.w, d.h)}
	var mass, mx, my float64
	for i, v := range ink {
		if v < 0.3*full {
			continue
		}
		y, x := i/d.w, i%d.w
		box.Min.X, box.Min.Y = min(box.Min.X, x), min(box.Min.Y, y)
		box.Max.X, box.Max.Y = max(box.Max.X, x+1), max(box.Max.Y, y+1)
		mass += float64(v)
		mx += float64(v) * (float64(x) + 0.5)
		my += float64(v) * (float64(y) + 0.5)
	}
	mx, my = mx/mass, my/mass
	side := max(float64(box.Dx()), float64(box.Dy())) * 28 / 20 / float64(min(h, w))
	halfW, halfH := side*float64(w)/2, side*float64(h)/2
	// what is drawn stays inside, however uneven it is
	mx = min(max(mx, float64(box.Max.X)-halfW), float64(box.Min.X)+halfW)
	my = min(max(my, float64(box.Max.Y)-halfH), float64(box.Min.Y)+halfH)
	sx, sy := float64(m.Bounds().Dx())/float64(d.w), float64(m.Bounds().Dy())/float64(d.h)
	return rect{(mx - halfW) * sx, (my - halfH) * sy, (mx + halfW) * sx, (my + halfH) * sy}, nil
}

// fill makes the ground 0 and the ink 1: shades of paper and pen are no matter of digits.
func fill(values []float32, ground float32) {
	full := slices.Max(values) - ground
	if full <= 0 {
		return
	}
	for i, v := range values {
		values[i] = min(max(((v-ground)/full-0.1)/0.8, 0), 1)
	}
}

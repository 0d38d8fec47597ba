package illusion

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"github.com/unnoise/unnoise/diffusion"
)

// Perform returns frames that go from a picture to what a view or band shows of it: a view turns the picture or moves
// its pieces, a low pass walks away from it, a gray one drains its colors. m is one image of 1 or 3 channels with
// values from 0 to 1; small ones are shown enlarged. Frames are *image.Gray or *image.RGBA, all of one size. Angles
// between are for the eye only: the view itself is the last frame. Around the picture is its Ground.
func Perform(viewOrBand any, m diffusion.Images, frames int) ([]image.Image, error) {
	ground := float32(1)
	if len(m.Data) == m.Size() {
		ground = Ground(m)
	}
	return PerformOn(ground, max(1, (shownSide+m.H/2)/max(m.H, 1)), viewOrBand, m, frames)
}

// PerformOn is Perform on a ground, a gray from 0 to 1, with scale pixels of a frame for a pixel of the picture.
func PerformOn(ground float32, scale int, viewOrBand any, m diffusion.Images, frames int) ([]image.Image, error) {
	if m.N != 1 || m.C != 1 && m.C != 3 || len(m.Data) != m.Size() || m.Size() == 0 {
		return nil, fmt.Errorf("a performance is one of an image of 1 or 3 channels, found %s", m.Shape())
	}
	if frames < 2 {
		return nil, fmt.Errorf("a performance needs at least 2 frames, found %d", frames)
	}
	if err := Fits(viewOrBand, m.C, m.H, m.W); err != nil {
		return nil, err
	}
	scenes := scenesOf(viewOrBand, m)
	if scenes == nil {
		return nil, fmt.Errorf("a performance is one of a view or a band, found %T", viewOrBand)
	}
	var half point // of the canvas, in half pixels of the picture
	for _, s := range scenes {
		half.x, half.y = max(half.x, s.half.x), max(half.y, s.half.y)
	}
	c := canvas{picture: m, half: half, scale: scale, ground: ground}
	all := make([]image.Image, frames)
	for i := range all {
		at := float64(i) / float64(frames-1) * float64(len(scenes))
		scene := min(int(at), len(scenes)-1)
		all[i] = scenes[scene].draw(c, at-float64(scene))
	}
	return all, nil
}

// Ground is the gray, from 0 to 1, that lies around a performed picture: dark where most of the picture's edge is dark,
// white else.
func Ground(m diffusion.Images) float32 {
	const dark, white = 32. / 255, 1
	var sum float32
	n := 0
	for i, v := range m.Data[:m.Size()] {
		if x, y := i%m.W, i/m.W%m.H; x == 0 || y == 0 || x == m.W-1 || y == m.H-1 {
			sum += v
			n++
		}
	}
	if sum < float32(n)/2 {
		return dark
	}
	return white
}

// shownSide is what small pictures are enlarged to, about.
const shownSide = 256

// scene is a performance of one thing. draw draws its moment t, from 0 to 1.
type scene struct {
	half point
	draw func(c canvas, t float64) image.Image
}

// scenesOf returns the scenes that lead from m to what is seen of it.
func scenesOf(viewOrBand any, m diffusion.Images) []scene {
	switch v := viewOrBand.(type) {
	case sequence:
		var all []scene
		for _, part := range v {
			all = append(all, scenesOf(part, m)...)
			m = shown(part, m)
		}
		return all
	case *permutation:
		return []scene{travel(v.cut(m.H, m.W), m)}
	case filter:
		if v.perform != nil {
			return []scene{v.perform(m)}
		}
		return []scene{fade(m, v.Filter(m))}
	case View:
		return []scene{fade(m, shown(v, m))}
	case Band:
		return []scene{fade(m, v.Filter(m))}
	}
	return nil
}

// shown returns what a view shows of a picture from 0 to 1, whose middle is 1/2.
func shown(v View, m diffusion.Images) diffusion.Images {
	return add(v.Apply(add(m, -0.5)), 0.5)
}

// fade is a scene that blends two pictures.
func fade(from, to diffusion.Images) scene {
	return scene{point{from.W, from.H}, func(c canvas, t float64) image.Image {
		m := from.Like()
		for i, v := range from.Data {
			m.Data[i] = v + float32(t)*(to.Data[i]-v)
		}
		c.picture = m
		return c.still(1)
	}}
}

// walkAway is a scene in which the picture gets smaller.
func walkAway(m diffusion.Images) scene {
	const far = 10
	return scene{point{m.W, m.H}, func(c canvas, t float64) image.Image {
		c.picture = m
		return c.still(math.Pow(far, -smooth(t)))
	}}
}

// smooth lets a motion begin and end slowly.
func smooth(t float64) float64 { return t * t * (3 - 2*t) }

// travel is a scene in which pieces go to their places, one a little after the other.
func travel(cut pieces, m diffusion.Images) scene {
	extent := make([]image.Rectangle, len(cut.moves)) // of each piece, in half pixels
	for i, p := range cut.of {
		x, y := i%m.W, i/m.W
		extent[p] = extent[p].Union(image.Rect(2*x, 2*y, 2*x+2, 2*y+2))
	}
	s := scene{half: point{m.W, m.H}}
	const moments = 32
	for k := range moments + 1 {
		for i, mv := range cut.moves {
			if mv.roll || extent[i].Empty() {
				continue
			}
			at := cut.at(i, float64(k)/moments, m)
			for _, x := range []int{extent[i].Min.X, extent[i].Max.X} {
				for _, y := range []int{extent[i].Min.Y, extent[i].Max.Y} {
					px, py := at.apply(float64(x), float64(y))
					s.half.x = max(s.half.x, int(math.Ceil(math.Abs(px-float64(m.W)))))
					s.half.y = max(s.half.y, int(math.Ceil(math.Abs(py-float64(m.H)))))
				}
			}
		}
	}
	s.draw = func(c canvas, t float64) image.Image {
		c.picture = m
		fine := c.fine()
		if whole := image.Rect(0, 0, 2*m.W, 2*m.H); cut.above {
			c.piece(fine, make([]int, len(cut.of)), 0, whole, affine{xx: 1, yy: 1})
		}
		for _, moving := range []bool{false, true} { // what moves lies above
			for i, mv := range cut.moves {
				stays := mv == move{from: mv.to, to: mv.to}
				if extent[i].Empty() || moving == stays || stays && cut.hinged && t > 0 && t < 1 {
					continue
				}
				if mv.roll {
					down := (mv.to.y - mv.from.y) / 2
					c.roll(fine, cut.of, i, extent[i], smooth(t)*float64(down))
					continue
				}
				c.piece(fine, cut.of, i, extent[i], cut.at(i, t, m))
			}
		}
		return c.average(fine)
	}
	return s
}

// affine is a map of the plane, in half pixels.
type affine struct{ xx, xy, yx, yy, x0, y0 float64 }

func (a affine) apply(x, y float64) (float64, float64) {
	return a.xx*x + a.xy*y + a.x0, a.yx*x + a.yy*y + a.y0
}

func (a affine) inverse() affine {
	d := a.xx*a.yy - a.xy*a.yx
	b := affine{xx: a.yy / d, xy: -a.xy / d, yx: -a.yx / d, yy: a.xx / d}
	b.x0, b.y0 = -(b.xx*a.x0 + b.xy*a.y0), -(b.yx*a.x0 + b.yy*a.y0)
	return b
}

// at returns how a piece lies at a moment.
func (p pieces) at(i int, t float64, m diffusion.Images) affine {
	mv := p.moves[i]
	if n := len(p.moves); n > 2 && !p.hinged {
		const wait = 0.4 // of the time, until the last piece begins
		t = min(max((t-wait*float64(i)/float64(n))/(1-wait), 0), 1)
	}
	t = smooth(t)
	turns := float64((mv.turns+1)&3 - 1) // -1, 0, 1, 2
	squeezeX, squeezeY := 1.0, 1.0
	if mv.flip && mv.turns&3 == 2 {
		turns, squeezeX = 0, turned(t)
	} else if mv.flip {
		squeezeY = turned(t)
	}
	sin, cos := math.Sincos(turns * math.Pi / 2 * t)
	dx, dy := float64(mv.to.x-mv.from.x), float64(mv.to.y-mv.from.y)
	bow := 0.25 * math.Sin(math.Pi*t) // to one side of the straight way
	x, y := float64(mv.from.x)+t*dx-bow*dy, float64(mv.from.y)+t*dy+bow*dx
	if p.hinged { // the squares' corners stay joined
		spread := math.Abs(sin) + math.Abs(cos)
		x, y = float64(m.W)+spread*(x-float64(m.W)), float64(m.H)+spread*(y-float64(m.H))
	}
	a := affine{xx: cos * squeezeX, xy: -sin * squeezeY, yx: sin * squeezeX, yy: cos * squeezeY}
	a.x0 = x - a.xx*float64(mv.from.x) - a.xy*float64(mv.from.y)
	a.y0 = y - a.yx*float64(mv.from.x) - a.yy*float64(mv.from.y)
	return a
}

// turned returns how high what turns over is at a moment. It never is out of sight.
func turned(t float64) float64 {
	c := math.Cos(math.Pi * t)
	return math.Copysign(max(math.Abs(c), 0.02), c)
}

// canvas is what a picture is drawn on, in its middle.
type canvas struct {
	picture diffusion.Images
	half    point // in half pixels of the picture
	scale   int   // pixels of the canvas for one of the picture
	ground  float32
}

// Pieces are drawn without smoothing at twice the canvas' size, so that no seams show between them, and averaged.
const fineness = 2

func (c canvas) size() (w, h int) { return c.half.x * c.scale, c.half.y * c.scale }

// fine returns a fine canvas: of each pixel, the one of the picture that is seen there, -1 for none.
func (c canvas) fine() []int32 {
	w, h := c.size()
	fine := make([]int32, fineness*fineness*w*h)
	for i := range fine {
		fine[i] = -1
	}
	return fine
}

// toPicture returns the place of a fine pixel's center, in half pixels of the picture, along one side.
func (c canvas) toPicture(i, half, side int) float64 {
	return (float64(i)+0.5)*2/float64(fineness*c.scale) - float64(half) + float64(side)
}

// toFine is the inverse of toPicture.
func (c canvas) toFine(v float64, half, side int) float64 {
	return (v+float64(half)-float64(side))*float64(fineness*c.scale)/2 - 0.5
}

// piece draws one.
func (c canvas) piece(fine []int32, of []int, piece int, extent image.Rectangle, at affine) {
	back := at.inverse()
	m := c.picture
	w, h := c.size()
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, x := range []int{extent.Min.X, extent.Max.X} {
		for _, y := range []int{extent.Min.Y, extent.Max.Y} {
			px, py := at.apply(float64(x), float64(y))
			x0, y0, x1, y1 = min(x0, px), min(y0, py), max(x1, px), max(y1, py)
		}
	}
	clip := func(v float64, n int) int { return min(max(int(v), 0), fineness*n) }
	left, right := clip(c.toFine(x0, c.half.x, m.W)-1, w), clip(c.toFine(x1, c.half.x, m.W)+2, w)
	top, bottom := clip(c.toFine(y0, c.half.y, m.H)-1, h), clip(c.toFine(y1, c.half.y, m.H)+2, h)
	for y := top; y < bottom; y++ {
		for x := left; x < right; x++ {
			sx, sy := back.apply(c.toPicture(x, c.half.x, m.W), c.toPicture(y, c.half.y, m.H))
			px, py := int(math.Floor(sx/2)), int(math.Floor(sy/2))
			if px >= 0 && px < m.W && py >= 0 && py < m.H && of[py*m.W+px] == piece {
				fine[y*fineness*w+x] = int32(py*m.W + px)
			}
		}
	}
}

// roll draws a piece that moves down around the edges.
func (c canvas) roll(fine []int32, of []int, piece int, extent image.Rectangle, down float64) {
	m := c.picture
	w, h := c.size()
	for y := range fineness * h {
		sy := c.toPicture(y, c.half.y, m.H) / 2
		if sy < 0 || sy >= float64(m.H) {
			continue
		}
		py := mod(int(math.Floor(sy-down)), m.H)
		for x := int(c.toFine(float64(extent.Min.X), c.half.x, m.W)); x < fineness*w; x++ {
			px := int(math.Floor(c.toPicture(x, c.half.x, m.W) / 2))
			if px >= (extent.Max.X+1)/2 {
				break
			}
			if px >= 0 && px < m.W && of[py*m.W+px] == piece {
				fine[y*fineness*w+x] = int32(py*m.W + px)
			}
		}
	}
}

// average returns the canvas of a fine one.
func (c canvas) average(fine []int32) image.Image {
	w, h := c.size()
	m := c.picture
	plane := m.H * m.W
	return paint(m.C, w, h, func(x, y int) (color [3]float32) {
		for dy := range fineness {
			for dx := range fineness {
				at := fine[(fineness*y+dy)*fineness*w+fineness*x+dx]
				for i := range m.C {
					v := c.ground
					if at >= 0 {
						v = m.Data[i*plane+int(at)]
					}
					color[i] += v / (fineness * fineness)
				}
			}
		}
		return color
	})
}

// still draws the whole picture, made smaller by a factor; what becomes one pixel is averaged.
func (c canvas) still(factor float64) image.Image {
	w, h := c.size()
	m := c.picture
	plane := m.H * m.W
	// A pixel of the canvas covers so much of the picture, in its pixels.
	covers := 1 / (float64(c.scale) * factor)
	span := func(i, n, side int) (from, to float64) {
		from = (float64(i)-float64(n)/2)*covers + float64(side)/2
		return from, from + covers
	}
	return paint(m.C, w, h, func(x, y int) (color [3]float32) {
		x0, x1 := span(x, w, m.W)
		y0, y1 := span(y, h, m.H)
		var inside float64
		for py := max(int(math.Floor(y0)), 0); py < m.H && float64(py) < y1; py++ {
			high := min(y1, float64(py+1)) - max(y0, float64(py))
			for px := max(int(math.Floor(x0)), 0); px < m.W && float64(px) < x1; px++ {
				share := high * (min(x1, float64(px+1)) - max(x0, float64(px))) / (covers * covers)
				inside += share
				for i := range m.C {
					color[i] += float32(share) * m.Data[i*plane+py*m.W+px]
				}
			}
		}
		for i := range color {
			color[i] += float32(max(1-inside, 0)) * c.ground
		}
		return color
	})
}

// paint makes a picture of values from 0 to 1.
func paint(channels, w, h int, at func(x, y int) [3]float32) image.Image {
	level := func(v float32) byte { return byte(min(max(v, 0), 1)*255 + 0.5) }
	if channels == 1 {
		m := image.NewGray(image.Rect(0, 0, w, h))
		for i := range m.Pix {
			m.Pix[i] = level(at(i%w, i/w)[0])
		}
		return m
	}
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := at(x, y)
			m.SetRGBA(x, y, color.RGBA{R: level(c[0]), G: level(c[1]), B: level(c[2]), A: 255})
		}
	}
	return m
}

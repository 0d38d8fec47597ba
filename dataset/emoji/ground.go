package emoji

import (
	"image"
	"math"
	"math/rand/v2"
)

// A ground is what is behind the things: a color, a gradient from top to bottom, or a landscape.
type ground struct {
	phrase      string // "" for white that nobody asked for
	top, bottom lch
	landscape   *landscape
	seed        uint64 // of where stars, flakes and clouds are
}

// landscape is a simple place.
type landscape struct {
	word        string // as what is held out has it
	phrases     []string
	top, bottom lch     // of the sky
	land        lch     // below the horizon
	horizon     float64 // 1: there is no land
	dots        int     // stars or flakes
	dotSize     float64 // in 1/32 of the width
	clouds      int
}

var landscapes = []landscape{
	{word: "night sky", phrases: []string{"in the night sky", "in space", "among the stars", "at night"},
		top: lch{0.17, 0.06, 275}, bottom: lch{0.30, 0.11, 280}, horizon: 1, dots: 24, dotSize: 0.5},
	{word: "sky", phrases: []string{"in the sky", "in the clouds", "in a blue sky with clouds"},
		top: lch{0.70, 0.12, 240}, bottom: lch{0.87, 0.06, 230}, horizon: 1, clouds: 3},
	{word: "grass", phrases: []string{"on grass", "on a meadow", "on green grass under a blue sky"},
		top: lch{0.78, 0.09, 238}, bottom: lch{0.93, 0.04, 225}, land: lch{0.68, 0.18, 140}, horizon: 0.66},
	{word: "snow", phrases: []string{"in the snow", "in winter"},
		top: lch{0.72, 0.06, 245}, bottom: lch{0.86, 0.03, 240}, land: lch{0.97, 0.01, 230}, horizon: 0.66,
		dots: 20, dotSize: 0.55},
	{word: "desert", phrases: []string{"in the desert", "on sand", "on a beach"},
		top: lch{0.76, 0.10, 235}, bottom: lch{0.93, 0.03, 220}, land: lch{0.85, 0.09, 84}, horizon: 0.64},
	{word: "sea", phrases: []string{"at sea", "on the sea", "on the water"},
		top: lch{0.84, 0.07, 232}, bottom: lch{0.95, 0.03, 220}, land: lch{0.52, 0.14, 250}, horizon: 0.6},
	{word: "sunset", phrases: []string{"at sunset", "in the evening"},
		top: lch{0.42, 0.15, 310}, bottom: lch{0.80, 0.15, 62}, horizon: 1},
}

// newLandscape draws a landscape for things of a name and outline.
func newLandscape(r *rand.Rand, name string, outline lch) (ground, bool) {
	l := &landscapes[r.IntN(len(landscapes))]
	g := ground{pick(r, l.phrases...), l.top, l.bottom, l, r.Uint64()}
	return g, l.fits(outline) && !groundHeldOut(name, l.word)
}

// fits reports whether a thing of the outline can be seen in the landscape.
func (l *landscape) fits(outline lch) bool {
	const contrast = 0.12
	return distance(l.top, outline) >= contrast && distance(l.bottom, outline) >= contrast &&
		(l.horizon == 1 || distance(l.land, outline) >= contrast)
}

var white = ground{top: lch{l: 1}, bottom: lch{l: 1}}

// groundColors are the color words of grounds.
var groundColors = []hue{
	{"white", lch{1, 0, 0}},
	{"black", lch{0.12, 0, 0}},
	{"grey", lch{0.68, 0, 0}},
	{"red", lch{0.58, 0.21, 27}},
	{"orange", lch{0.74, 0.16, 60}},
	{"yellow", lch{0.90, 0.16, 98}},
	{"green", lch{0.66, 0.18, 145}},
	{"dark green", lch{0.40, 0.12, 145}},
	{"light green", lch{0.88, 0.10, 142}},
	{"blue", lch{0.56, 0.19, 260}},
	{"dark blue", lch{0.30, 0.12, 262}},
	{"light blue", lch{0.86, 0.07, 235}},
	{"purple", lch{0.50, 0.20, 303}},
	{"pink", lch{0.84, 0.10, 355}},
	{"brown", lch{0.45, 0.09, 55}},
}

// contrast is the distance in OKLab that a ground keeps from the outlines of things.
const contrast = 0.16

// fits reports whether a thing of the name and outline may stand on the ground.
func (h hue) fits(name string, outline lch) bool {
	return !groundHeldOut(name, h.word) && distance(h.lch, outline) >= contrast
}

// newGround draws a ground of a color.
func newGround(r *rand.Rand, color hue) ground {
	noun := pick(r, "background", "background", "ground")
	c := color.lch
	if c.l < 1 {
		c.l = min(max(c.l+0.05*(2*r.Float64()-1), 0.05), 0.97)
		c.c *= 0.85 + 0.3*r.Float64()
		if c.c > 0 {
			c.h += 8 * (2*r.Float64() - 1)
		}
	}
	g := ground{phrase: "on " + withArticle(color.word+" "+noun), top: c, bottom: c}
	if c.l < 1 && r.IntN(5) == 0 {
		g.phrase = "on " + withArticle(color.word+" gradient")
		g.top.l, g.bottom.l = min(c.l+0.12, 1), max(c.l-0.12, 0)
		if r.IntN(2) == 0 {
			g.top, g.bottom = g.bottom, g.top
		}
	}
	return g
}

// draw fills the picture.
func (g ground) draw(m *image.RGBA) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	for y := range h {
		row := m.Pix[y*m.Stride : y*m.Stride+4*w]
		if y > 0 && g.top == g.bottom {
			copy(row, m.Pix[:4*w])
			continue
		}
		t := (float64(y) + 0.5) / float64(h)
		c := lch{g.top.l + t*(g.bottom.l-g.top.l), g.top.c + t*(g.bottom.c-g.top.c),
			g.top.h + t*turn(g.top.h, g.bottom.h)}
		red, green, blue := c.rgb()
		for x := 0; x < len(row); x += 4 {
			row[x], row[x+1], row[x+2], row[x+3] = red, green, blue, 255
		}
	}
	if g.landscape != nil {
		g.landscape.draw(m, rand.New(rand.NewPCG(g.seed, 0)))
	}
}

func (l *landscape) draw(m *image.RGBA, r *rand.Rand) {
	size := float64(m.Rect.Dx())
	unit := size / 32
	snow := lch{l: 1}
	for range l.clouds {
		x, y := size*r.Float64(), size*(0.1+0.8*r.Float64())
		for _, puff := range [][3]float64{{-3, 0.6, 2}, {0, -0.4, 2.7}, {3, 0.6, 2.1}} {
			disc(m, x+puff[0]*unit, y+puff[1]*unit, puff[2]*unit, snow)
		}
	}
	if l.horizon < 1 {
		level := (l.horizon + 0.08*(r.Float64()-0.5)) * size
		red, green, blue := l.land.rgb()
		for y := range m.Rect.Dy() {
			part := int(255 * min(max(float64(y+1)-level, 0), 1))
			row := m.Pix[y*m.Stride : y*m.Stride+4*m.Rect.Dx()]
			for x := 0; part > 0 && x < len(row); x += 4 {
				row[x], row[x+1], row[x+2] = mix(row[x], red, part), mix(row[x+1], green, part),
					mix(row[x+2], blue, part)
			}
		}
	}
	for range l.dots {
		disc(m, size*r.Float64(), size*r.Float64(), l.dotSize*unit*(0.6+0.8*r.Float64()), snow)
	}
}

// disc draws a disc with soft edges.
func disc(m *image.RGBA, x, y, radius float64, c lch) {
	red, green, blue := c.rgb()
	box := image.Rect(int(x-radius-1), int(y-radius-1), int(x+radius+2), int(y+radius+2)).Intersect(m.Rect)
	for py := box.Min.Y; py < box.Max.Y; py++ {
		for px := box.Min.X; px < box.Max.X; px++ {
			d := math.Hypot(float64(px)+0.5-x, float64(py)+0.5-y)
			if part := int(255 * min(max(radius-d+0.5, 0), 1, 4*radius*radius)); part > 0 {
				p := m.Pix[m.PixOffset(px, py):]
				p[0], p[1], p[2] = mix(p[0], red, part), mix(p[1], green, part), mix(p[2], blue, part)
			}
		}
	}
}

// mix goes from a to b by part/255.
func mix(a, b uint8, part int) uint8 { return uint8((int(a)*(255-part) + int(b)*part + 127) / 255) }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

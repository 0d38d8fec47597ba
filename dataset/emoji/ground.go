package emoji

import (
	"image"
	"math/rand/v2"
)

// A ground is what is behind the things: a colour, or a gradient from top to bottom.
type ground struct {
	phrase      string // "" for white that nobody asked for
	top, bottom lch
}

var white = ground{top: lch{l: 1}, bottom: lch{l: 1}}

// groundColors are the colour words of grounds.
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

// newGround draws a ground of a colour.
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
	g := ground{"on " + withArticle(color.word+" "+noun), c, c}
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
		red, green, blue := lch{g.top.l + t*(g.bottom.l-g.top.l), g.top.c + t*(g.bottom.c-g.top.c), g.top.h}.rgb()
		for x := 0; x < len(row); x += 4 {
			row[x], row[x+1], row[x+2], row[x+3] = red, green, blue, 255
		}
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

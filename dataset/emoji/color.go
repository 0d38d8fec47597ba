package emoji

import (
	"image"
	"math"
)

// Colors are told in OKLab (Björn Ottosson, A perceptual color space for image processing, 2020): lightness L from 0
// to 1, chroma C from 0 to some 0.3, hue h in degrees.

type lch struct{ l, c, h float64 }

// A hue is a color word that things are given.
type hue struct {
	word string
	lch
}

// hues are the colors that things are recolored with.
var hues = []hue{
	{"red", lch{0.60, 0.22, 27}},
	{"orange", lch{0.73, 0.17, 57}},
	{"yellow", lch{0.87, 0.17, 93}},
	{"green", lch{0.66, 0.19, 145}},
	{"blue", lch{0.58, 0.19, 258}},
	{"purple", lch{0.54, 0.21, 305}},
	{"pink", lch{0.78, 0.14, 355}},
	{"brown", lch{0.45, 0.09, 55}},
	{"black", lch{0.27, 0, 0}},
	{"grey", lch{0.66, 0, 0}},
	{"white", lch{0.95, 0, 0}},
}

var linear = func() (table [256]float64) {
	for i := range table {
		x := float64(i) / 255
		if x <= 0.04045 {
			table[i] = x / 12.92
		} else {
			table[i] = math.Pow((x+0.055)/1.055, 2.4)
		}
	}
	return table
}()

// gamma has sRGB's bytes for linear light in steps of 1/4096.
var gamma = func() (table [4097]uint8) {
	for i := range table {
		x := float64(i) / 4096
		if x <= 0.0031308 {
			x *= 12.92
		} else {
			x = 1.055*math.Pow(x, 1/2.4) - 0.055
		}
		table[i] = uint8(math.Round(255 * x))
	}
	return table
}()

func toLCH(r, g, b uint8) lch {
	R, G, B := linear[r], linear[g], linear[b]
	l := math.Cbrt(0.4122214708*R + 0.5363325363*G + 0.0514459929*B)
	m := math.Cbrt(0.2119034982*R + 0.6806995451*G + 0.1073969566*B)
	s := math.Cbrt(0.0883024619*R + 0.2817188376*G + 0.6299787005*B)
	a := 1.9779984951*l - 2.4285922050*m + 0.4505937099*s
	bb := 0.0259040371*l + 0.7827717662*m - 0.8086757660*s
	h := math.Atan2(bb, a) * 180 / math.Pi
	if h < 0 {
		h += 360
	}
	return lch{0.2104542553*l + 0.7936177850*m - 0.0040720468*s, math.Hypot(a, bb), h}
}

// rgb returns the color in sRGB, with less chroma where sRGB has not as much.
func (x lch) rgb() (r, g, b uint8) {
	sin, cos := math.Sincos(x.h * math.Pi / 180)
	for c := x.c; ; c *= 0.9 {
		A, B := c*cos, c*sin
		l := x.l + 0.3963377774*A + 0.2158037573*B
		m := x.l - 0.1055613458*A - 0.0638541728*B
		s := x.l - 0.0894841775*A - 1.2914855480*B
		l, m, s = l*l*l, m*m*m, s*s*s
		R := 4.0767416621*l - 3.3077115913*m + 0.2309699292*s
		G := -1.2684380046*l + 2.6097574011*m - 0.3413193965*s
		B = -0.0041960863*l - 0.7034186147*m + 1.7076147010*s
		const low, high = -0.003, 1.003
		if c < 0.004 || R >= low && R <= high && G >= low && G <= high && B >= low && B <= high {
			return gamma[step(R)], gamma[step(G)], gamma[step(B)]
		}
	}
}

// array returns the color as metadata has it: rounded, so that files are the same on every machine.
func (x lch) array() [3]float64 {
	return [3]float64{math.Round(1000*x.l) / 1000, math.Round(1000*x.c) / 1000, math.Round(x.h)}
}

func fromArray(a [3]float64) lch { return lch{a[0], a[1], a[2]} }

// distance is that in OKLab, where 0.02 is just to be seen.
func distance(a, b lch) float64 {
	x, y := math.Pi/180*a.h, math.Pi/180*b.h
	da, db := a.c*math.Cos(x)-b.c*math.Cos(y), a.c*math.Sin(x)-b.c*math.Sin(y)
	return math.Sqrt((a.l-b.l)*(a.l-b.l) + da*da + db*db)
}

// edge returns the mean color of a premultiplied picture along its outline.
func edge(m *image.RGBA) lch {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	alpha := func(x, y int) uint8 {
		if x < 0 || y < 0 || x >= w || y >= h {
			return 0
		}
		return m.Pix[y*m.Stride+4*x+3]
	}
	var l, a, b, n float64
	for y := range h {
		for x := range w {
			if alpha(x, y) < 200 || min(alpha(x-2, y), alpha(x+2, y), alpha(x, y-2), alpha(x, y+2)) > 100 {
				continue
			}
			p := m.Pix[y*m.Stride+4*x:]
			q := toLCH(p[0], p[1], p[2])
			sin, cos := math.Sincos(q.h * math.Pi / 180)
			l, a, b, n = l+q.l, a+q.c*cos, b+q.c*sin, n+1
		}
	}
	if n == 0 {
		return lch{}
	}
	hue := math.Atan2(b, a) * 180 / math.Pi
	if hue < 0 {
		hue += 360
	}
	return lch{l / n, math.Hypot(a, b) / n, hue}
}

func step(x float64) int { return int(4096*min(max(x, 0), 1) + 0.5) }

// turn returns the way from hue a to hue b, from -180 to 180 degrees.
func turn(a, b float64) float64 {
	return math.Mod(b-a+540, 360) - 180
}

// tint is the color that a picture has for the most part, if it has one.
type tint struct {
	lch
	part  float64    // of its colored pixels
	all   float64    // of all pixels
	greys [3]float64 // black, grey and white ones, of all pixels
}

const colorless = 0.035 // chroma below which a pixel is black, grey or white

// tintOf finds the hue that most of the saturated pixels of a premultiplied picture are near to. Where there is next to
// none, it is the lightness of the others.
func tintOf(m *image.RGBA) (t tint) {
	var bins [36]float64
	var sum, weight, all, light, plain float64
	var pixels []lch
	for y := range m.Rect.Dy() {
		row := m.Pix[y*m.Stride : y*m.Stride+4*m.Rect.Dx()]
		for x := 0; x < len(row); x += 4 {
			if row[x+3] < 200 {
				continue
			}
			all++
			p := toLCH(row[x], row[x+1], row[x+2])
			if p.c < colorless {
				light, plain = light+p.l, plain+1
				switch {
				case p.l < 0.42:
					t.greys[0]++
				case p.l > 0.87:
					t.greys[2]++
				case p.l > 0.48 && p.l < 0.82:
					t.greys[1]++
				}
			}
			if p.c < 0.05 {
				continue
			}
			pixels = append(pixels, p)
			bins[int(p.h/10)%36] += p.c
			sum += p.c
		}
	}
	if all == 0 {
		return tint{}
	}
	for i := range t.greys {
		t.greys[i] /= all
	}
	if plain > 0.75*all {
		t.lch, t.part, t.all = lch{l: light / plain}, 1, plain/all
		return t
	}
	best, most := 0, 0.0
	for i := range bins {
		near := bins[i] + bins[(i+1)%36] + bins[(i+35)%36]
		if near > most {
			best, most = i, near
		}
	}
	if most == 0 {
		return t
	}
	center := float64(best)*10 + 5
	var l, c, h, n float64
	for _, p := range pixels {
		if d := turn(center, p.h); math.Abs(d) <= 35 {
			l, c, h, weight, n = l+p.l*p.c, c+p.c*p.c, h+d*p.c, weight+p.c, n+1
		}
	}
	t.lch = lch{l / weight, c / weight, math.Mod(center+h/weight+360, 360)}
	t.part, t.all = weight/sum, n/all
	return t
}

// word returns the color word for the tint, or "" where one would not be certain of it.
func (t tint) word() string {
	for i, word := range []string{"black", "grey", "white"} {
		if t.greys[i] > 0.7 {
			return word
		}
	}
	if t.part < 0.7 || t.all < 0.4 || t.c < 0.09 {
		return ""
	}
	switch h := t.h; {
	case h >= 15 && h < 36 && t.c > 0.15 && t.l < 0.72:
		return "red"
	case h >= 47 && h < 69 && t.l > 0.66 && t.c > 0.12:
		return "orange"
	case h >= 20 && h < 80 && t.l < 0.56:
		return "brown"
	case h >= 82 && h < 108 && t.l > 0.75:
		return "yellow"
	case h >= 122 && h < 165:
		return "green"
	case h >= 225 && h < 272:
		return "blue"
	case h >= 288 && h < 322 && t.l < 0.72:
		return "purple"
	case (h >= 335 || h < 12) && t.l > 0.66:
		return "pink"
	}
	return ""
}

// recolorable reports whether giving the picture another hue makes it a thing of that color.
func (t tint) recolorable() bool {
	return t.part >= 0.6 && t.all >= 0.35 && (t.c >= 0.07 || t.c == 0 && t.all >= 0.75 && t.l > 0.2)
}

// recolor returns the premultiplied picture with its main hue turned to another; what has other hues stays.
func recolor(m *image.RGBA, from, to lch) *image.RGBA {
	dst := image.NewRGBA(m.Rect)
	copy(dst.Pix, m.Pix)
	for i := 0; i < len(dst.Pix); i += 4 {
		p := dst.Pix[i : i+4 : i+4]
		a := int(p[3])
		if a < 8 {
			continue
		}
		q := toLCH(straight(p[0], a), straight(p[1], a), straight(p[2], a))
		var near float64
		if from.c == 0 {
			if near = smooth(0.08, colorless, q.c); near == 0 {
				continue
			}
			// Chroma where it can be seen: less of it towards white and black.
			q.c += near * (to.c*min(1, 6*q.l*(1-q.l)+0.5) - q.c)
			q.h = to.h
		} else {
			d := turn(from.h, q.h)
			if near = smooth(65, 45, math.Abs(d)) * smooth(0.015, 0.05, q.c); near == 0 {
				continue
			}
			q.c *= 1 + near*(to.c/from.c-1)
			if to.c > 0 {
				q.h = math.Mod(q.h+near*(turn(from.h, to.h)-0.6*d)+720, 360)
			}
		}
		// The lightness of one color goes to that of the other, black and white stay, and so does shading between.
		l := q.l * to.l / from.l
		if q.l > from.l {
			l = 1 - (1-q.l)*(1-to.l)/(1-from.l)
		}
		q.l = min(max(q.l+near*(l-q.l), 0), 1)
		r, g, b := q.rgb()
		p[0], p[1], p[2] = premultiplied(r, a), premultiplied(g, a), premultiplied(b, a)
	}
	return dst
}

func straight(v uint8, a int) uint8 { return uint8(min(255, (int(v)*255+a/2)/a)) }

func premultiplied(v uint8, a int) uint8 { return uint8((int(v)*a + 127) / 255) }

// smooth rises from 0 at x = from to 1 at x = to.
func smooth(from, to, x float64) float64 {
	t := min(max((x-from)/(to-from), 0), 1)
	return t * t * (3 - 2*t)
}

package picture

import (
	"image"
	"image/color"
	"math"
	"runtime"
	"sync"
)

// pixel is a color in linear light, premultiplied by its alpha: red, green, blue, alpha from 0 to 1.
type pixel [4]float32

func toPixel(c color.Color) pixel {
	n := color.NRGBA64Model.Convert(c).(color.NRGBA64)
	a := float32(n.A) / 0xffff
	return pixel{linear16(n.R) * a, linear16(n.G) * a, linear16(n.B) * a, a}
}

// on returns the color with another one behind it.
func (p pixel) on(behind pixel) pixel {
	rest := 1 - min(p[3], 1)
	for i := range p {
		p[i] += rest * behind[i]
	}
	return p
}

// luminance returns a color's light (ITU-R BT.709).
func luminance(p pixel) float32 { return 0.2126*p[0] + 0.7152*p[1] + 0.0722*p[2] }

// rect is a part of a picture, in its pixels from its upper left corner. It may reach beyond the picture.
type rect struct{ x0, y0, x1, y1 float64 }

// tap is what one pixel of a line contributes to one of another line.
type tap struct {
	at     int
	weight float32
}

// taps returns what the pixels of a line of n contribute to m ones between from and to: Catmull-Rom interpolation, its
// kernel as wide as what is to become one pixel. Pixels beyond the line have none.
func taps(n, m int, from, to float64) [][]tap {
	all := make([][]tap, m)
	step := (to - from) / float64(m)
	scale := max(step, 1)
	for i := range all {
		center := from + (float64(i)+0.5)*step
		if center < 0 || center > float64(n) {
			continue
		}
		var sum float64
		var weights []float64
		first := max(int(math.Ceil(center-2*scale-0.5)), 0)
		for j := first; j < n && float64(j)+0.5 < center+2*scale; j++ {
			w := catmullRom((float64(j) + 0.5 - center) / scale)
			weights = append(weights, w)
			sum += w
		}
		for j, w := range weights {
			if w != 0 {
				all[i] = append(all[i], tap{first + j, float32(w / sum)})
			}
		}
	}
	return all
}

func catmullRom(x float64) float64 {
	x = math.Abs(x)
	switch {
	case x < 1:
		return (1.5*x-2.5)*x*x + 1
	case x < 2:
		return ((-0.5*x+2.5)*x-4)*x + 2
	}
	return 0
}

// resample returns h rows of w pixels that show a part of the picture. What lies beyond it is transparent.
func resample(m image.Image, part rect, h, w int) []pixel {
	b := m.Bounds()
	across, down := taps(b.Dx(), w, part.x0, part.x1), taps(b.Dy(), h, part.y0, part.y1)
	first, last := b.Dy(), -1 // rows that matter
	for _, ts := range down {
		if len(ts) > 0 {
			first, last = min(first, ts[0].at), max(last, ts[len(ts)-1].at)
		}
	}
	narrow := make([]pixel, max(last-first+1, 0)*w)
	inParallel(last-first+1, func(from, to int) {
		row := make([]pixel, b.Dx())
		load := rowLoader(m)
		for y := from; y < to; y++ {
			load(row, first+y)
			for x, ts := range across {
				narrow[y*w+x] = weighted(row, ts, 0, 1)
			}
		}
	})
	out := make([]pixel, h*w)
	inParallel(h, func(from, to int) {
		for y := from; y < to; y++ {
			for x := range w {
				out[y*w+x] = weighted(narrow, down[y], x-first*w, w)
			}
		}
	})
	return out
}

func weighted(line []pixel, ts []tap, offset, stride int) (sum pixel) {
	for _, t := range ts {
		p := line[offset+t.at*stride]
		sum[0] += t.weight * p[0]
		sum[1] += t.weight * p[1]
		sum[2] += t.weight * p[2]
		sum[3] += t.weight * p[3]
	}
	return sum
}

func inParallel(n int, do func(from, to int)) {
	workers := max(min(runtime.GOMAXPROCS(0), n), 1)
	var wait sync.WaitGroup
	for i := range workers {
		wait.Go(func() { do(n*i/workers, n*(i+1)/workers) })
	}
	wait.Wait()
}

// rowLoader returns a function that reads a row of the picture. The common kinds have their own, for speed.
func rowLoader(m image.Image) func(row []pixel, y int) {
	b := m.Bounds()
	opaque := func(r, g, b uint8) pixel { return pixel{linear8[r], linear8[g], linear8[b], 1} }
	switch m := m.(type) {
	case *image.YCbCr:
		return func(row []pixel, y int) {
			for x := range row {
				i, j := m.YOffset(b.Min.X+x, b.Min.Y+y), m.COffset(b.Min.X+x, b.Min.Y+y)
				row[x] = opaque(color.YCbCrToRGB(m.Y[i], m.Cb[j], m.Cr[j]))
			}
		}
	case *image.Gray:
		return func(row []pixel, y int) {
			values := m.Pix[y*m.Stride:]
			for x := range row {
				row[x] = opaque(values[x], values[x], values[x])
			}
		}
	case *image.NRGBA:
		return func(row []pixel, y int) {
			values := m.Pix[y*m.Stride:]
			for x := range row {
				v := values[4*x : 4*x+4]
				p, a := opaque(v[0], v[1], v[2]), float32(v[3])/255
				row[x] = pixel{p[0] * a, p[1] * a, p[2] * a, a}
			}
		}
	}
	return func(row []pixel, y int) {
		for x := range row {
			row[x] = toPixel(rgba64(m, b.Min.X+x, b.Min.Y+y))
		}
	}
}

var linear8 = func() (table [256]float32) {
	for i := range table {
		table[i] = float32(linear(float64(i) / 255))
	}
	return table
}()

var linearTable = sync.OnceValue(func() []float32 {
	table := make([]float32, 1<<16)
	for i := range table {
		table[i] = float32(linear(float64(i) / 0xffff))
	}
	return table
})

func linear16(v uint16) float32 { return linearTable()[v] }

// linear takes a value of sRGB, from 0 to 1, to linear light (IEC 61966-2-1).
func linear(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// encoded is the inverse of linear. It clips to [0,1].
func encoded(v float32) float32 {
	switch {
	case !(v > 0):
		return 0
	case v >= 1:
		return 1
	case v <= 0.0031308:
		return 12.92 * v
	}
	return float32(1.055*math.Pow(float64(v), 1/2.4) - 0.055)
}

package lab

import (
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/model"
)

// Perform returns the animation that performs an illusion's first picture: it is turned, taken apart or walked away
// from, view by view or band by band, and comes back. The digits of an ambigram are turned as the page is. frames are
// those of one movement.
func Perform(r Result, frames int) (figure.Animation, error) {
	i := r.Request.Illusion
	if i == nil {
		return figure.Animation{}, fmt.Errorf("the picture is no illusion that could be performed")
	}
	x := r.Range.To(model.ZeroToOne, r.Images)
	if x.N > 1 {
		x = beside(x.Slice(0, i.Groups()))
	}
	a := figure.Animation{Delay: 50 * time.Millisecond, Hold: time.Second, Back: true}
	parts, views := i.parts()
	var shown []image.Image // the ends of what was performed
	for _, p := range parts {
		parsed, err := p.parse(views)
		if err != nil {
			return a, err
		}
		if p.As == "identity" || illusion.Fits(parsed, x.C, x.H, x.W) != nil {
			continue
		}
		moving, err := illusion.Perform(parsed, x, frames)
		if err != nil {
			return a, err
		}
		end := moving[len(moving)-1]
		if slices.ContainsFunc(shown, func(m image.Image) bool { return reflect.DeepEqual(m, end) }) {
			continue // both bands of a pair are seen by the same movement
		}
		shown = append(shown, end)
		if len(a.Frames) > 0 { // back from the view before, and a rest
			for k := len(a.Frames) - 1; k >= 0; k-- {
				a.Frames = append(a.Frames, a.Frames[k])
			}
			a.Frames = append(a.Frames, slices.Repeat(a.Frames[:1], frames/2)...)
		}
		a.Frames = append(a.Frames, moving...)
	}
	if len(a.Frames) == 0 {
		return a, fmt.Errorf("no view or band of the picture can be performed")
	}
	a.Frames = centered(a.Frames, illusion.Ground(x))
	return a, nil
}

// centered gives frames one size: views need room of their own while they turn.
func centered(frames []image.Image, ground float32) []image.Image {
	var size image.Point
	same, gray := true, true
	for _, f := range frames {
		s := f.Bounds().Size()
		same = same && s == frames[0].Bounds().Size()
		size.X, size.Y = max(size.X, s.X), max(size.Y, s.Y)
		_, isGray := f.(*image.Gray)
		gray = gray && isGray
	}
	if same {
		return frames
	}
	around := image.NewUniform(color.Gray{Y: uint8(ground*255 + 0.5)})
	all := make([]image.Image, len(frames))
	for i, f := range frames {
		r := image.Rectangle{Max: size}
		var canvas draw.Image = image.NewRGBA(r)
		if gray {
			canvas = image.NewGray(r)
		}
		draw.Draw(canvas, r, around, image.Point{}, draw.Src)
		at := size.Sub(f.Bounds().Size()).Div(2)
		draw.Draw(canvas, f.Bounds().Sub(f.Bounds().Min).Add(at), f, f.Bounds().Min, draw.Src)
		all[i] = canvas
	}
	return all
}

// beside joins images to one, side by side.
func beside(x diffusion.Images) diffusion.Images {
	y := diffusion.NewImages(1, x.C, x.H, x.N*x.W)
	for n := range x.N {
		for c := range x.C {
			for row := range x.H {
				copy(y.Data[(c*x.H+row)*y.W+n*x.W:], x.Data[((n*x.C+c)*x.H+row)*x.W:][:x.W])
			}
		}
	}
	return y
}

// Sheet is a contact sheet of the candidates, best first, the kept ones framed: a row for each group where there are
// several. Below each picture stands what the model reads in its looks, as in 6|9 (or, of longer prompts, in how many
// of them it reads what was asked), and the score.
func (r Ranking) Sheet(of model.Range) (image.Image, error) {
	groups := len(r.Verdicts)
	each := r.Images.N / groups
	columns := each
	if groups == 1 {
		columns = min(each, max(8, int(math.Ceil(math.Sqrt(float64(each))))))
	}
	g := figure.Grid{Columns: columns, Scale: max(1, 112/r.Images.W), Padding: 8, Images: r.Images.Like()}
	for group, verdicts := range r.Verdicts {
		for rank, v := range verdicts[:each] {
			copy(g.Images.Slice(len(g.Captions), len(g.Captions)+1).Data,
				r.Images.Slice(rank*groups+group, rank*groups+group+1).Data)
			if rank < r.Keep {
				g.Marked = append(g.Marked, len(g.Captions))
			}
			g.Captions = append(g.Captions, v.caption(r.Prompts[group]))
		}
	}
	g.Images = of.To(model.ZeroToOne, g.Images)
	return g.Draw()
}

// Captions say of each of Images what the model reads in its looks, and its score.
func (r Ranking) Captions() (all []string) {
	for rank := range r.Images.N / len(r.Verdicts) {
		for group, verdicts := range r.Verdicts {
			all = append(all, verdicts[rank].caption(r.Prompts[group]))
		}
	}
	return all
}

func (v Verdict) caption(prompts []string) string {
	return fmt.Sprintf("%s %+.1f", v.read(prompts), v.Score)
}

// read tells in few letters what is read in each look.
func (v Verdict) read(prompts []string) string {
	var read []string
	right, short := 0, true
	for look, row := range v.Matrix {
		best := slices.Index(row, slices.Min(row))
		if prompts[best] == prompts[look] {
			right++
		}
		read = append(read, cmp.Or(prompts[best], "-"))
		short = short && utf8.RuneCountInString(prompts[best]) <= 2
	}
	if !short {
		return fmt.Sprintf("%d of %d", right, len(v.Matrix))
	}
	return strings.Join(read, "|")
}

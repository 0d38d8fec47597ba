package jobs

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"

	xdraw "golang.org/x/image/draw"
)

// Update is something that happened while a job was drawn. Fields that have nothing to tell are empty.
type Update struct {
	Stage       lab.Stage
	Done, Total int    // steps, bytes that are loaded, or evaluations of a judgement
	Part        string // that is loaded
	Frame       *Frame
	Sheet       *Sheet // of some candidates
	Warning     string
}

// Frame is a moment of a drawing, as pictures that hold the first images side by side.
type Frame struct {
	Index   int     `json:"index" doc:"of the step, from 0"`
	Total   int     `json:"total" doc:"steps of the path"`
	From    float64 `json:"from" doc:"the time before the step: t of a schedule's timesteps, or 0 to 1 of a flow"`
	To      float64 `json:"to" doc:"the time after it"`
	Images  int     `json:"images" doc:"how many are shown"`
	Type    string  `json:"type" doc:"of the pictures: image/png or image/jpeg"`
	X       []byte  `json:"x,omitempty" doc:"x_t, what the sampler holds after the step"`
	X0      []byte  `json:"x0,omitempty" doc:"what it expects as the result"`
	Epsilon []byte  `json:"epsilon,omitempty" doc:"what it takes for noise: 0 is gray, ±3 are white and black"`
}

// Drawn is a job's result.
type Drawn struct {
	Request  lab.Request // With what was chosen while it was drawn
	Pictures []Picture
	Seconds  float64
	Film     Film
	Sheet    *Sheet // of candidates
}

// Picture is a PNG file with its recipe.
type Picture struct {
	Data          []byte
	Width, Height int
}

// Bounds of previews.
const (
	filmValues  = 1 << 20 // of all frames' images together; of longer runs each k-th step is kept
	leastFrames = 40
	mostFrames  = 320
	frameImages = 16
	frameValues = 1 << 16 // of the images that are shown; the first is shown in any case
	plainValues = 1 << 14 // of a picture up to which it is PNG, and JPEG above
)

// DrawWith is the work of a lab.
func DrawWith(l *lab.Lab) Work { return labour{l} }

type labour struct{ lab *lab.Lab }

func (l labour) Draw(ctx context.Context, r lab.Request, spread lab.Spread, tell func(Update)) (d Drawn, err error) {
	result, err := lab.Run(l.lab.DrawTogether(ctx, r, spread), func(e lab.Event) {
		if u, ok := updateOf(e); ok {
			tell(u)
			d.Film, d.Sheet = d.Film.With(u.Frame), d.Sheet.With(u.Sheet)
		}
	})
	if err != nil {
		return d, err
	}
	film, sheet := d.Film, d.Sheet
	d, err = drawn(result)
	d.Film, d.Sheet = film, sheet
	return d, err
}

func (l labour) Share(ctx context.Context, s lab.Share) (lab.Shared, error) { return l.lab.Do(ctx, s) }

// Film are moments of a drawing, of one path.
type Film []Frame

// With is the film with another frame.
func (f Film) With(frame *Frame) Film {
	if frame == nil {
		return f
	}
	if n := len(f); n > 0 && f[n-1].Index >= frame.Index {
		f = nil // another path begins
	}
	return append(f, *frame)
}

func updateOf(e lab.Event) (u Update, ok bool) {
	u.Stage = e.Stage
	switch {
	case e.Warning != "":
		u.Warning = e.Warning
	case e.Loading != nil:
		u.Part, u.Done, u.Total = e.Loading.Part, e.Loading.Done, e.Loading.Total
	case e.Judged != nil:
		u.Done, u.Total, u.Sheet = e.Judged.Done, e.Judged.Total, sheetOf(e.Judged)
	case e.Step != nil:
		u.Done, u.Total = e.Step.Index+1, e.Step.Total
		frames := min(max(filmValues/shownValues(e.Step.X), leastFrames), mostFrames)
		if figure.Kept(e.Step.Index, e.Step.Total-1, frames) {
			u.Frame = frameOf(e.Step) // one that can't be shown is none
		}
	default:
		return u, false
	}
	return u, true
}

// shownImages is how many images are shown in a frame.
func shownImages(x diffusion.Images) int { return min(x.N, frameImages, max(1, frameValues/x.Size())) }

func shownValues(x diffusion.Images) int { return shownImages(x) * x.Size() }

func frameOf(s *lab.Step) *Frame {
	f := &Frame{Index: s.Index, Total: s.Total, From: s.From, To: s.To, Images: shownImages(s.X)}
	noise := s.Epsilon.Slice(0, f.Images).Clone()
	for i, v := range noise.Data {
		noise.Data[i] = 0.5 + v/6
	}
	for _, p := range []struct {
		to *[]byte
		x  diffusion.Images
	}{
		{&f.X, s.Range.To(model.ZeroToOne, s.X.Slice(0, f.Images))},
		{&f.X0, s.Range.To(model.ZeroToOne, s.X0.Slice(0, f.Images))},
		{&f.Epsilon, noise},
	} {
		m, err := figure.Grid{Images: p.x}.Draw()
		if err != nil {
			return nil
		}
		var b bytes.Buffer
		if f.Type = "image/png"; len(p.x.Data) > plainValues {
			f.Type = "image/jpeg"
			err = jpeg.Encode(&b, m, &jpeg.Options{Quality: 75})
		} else {
			err = png.Encode(&b, m)
		}
		if err != nil {
			return nil
		}
		*p.to = b.Bytes()
	}
	return f
}

// drawn writes every image as a file of its own. Small ones are enlarged by repeating their pixels, which nothing loses
// by.
func drawn(r lab.Result) (Drawn, error) {
	d := Drawn{Request: r.Request, Seconds: float64(r.Duration.Milliseconds()) / 1000}
	x := r.Range.To(model.ZeroToOne, r.Images)
	for i := range x.N {
		p, err := r.Request.Parameters()
		if err != nil {
			return d, err
		}
		if x.N > 1 {
			p.Add("image", fmt.Sprintf("%d of %d", i+1, x.N))
		}
		m, err := figure.Grid{Images: x.Slice(i, i+1), Scale: enlargement(x.H, x.W)}.Draw()
		if err != nil {
			return d, err
		}
		var b bytes.Buffer
		if err := figure.EncodePNG(&b, m, p); err != nil {
			return d, err
		}
		size := m.Bounds().Size()
		d.Pictures = append(d.Pictures, Picture{b.Bytes(), size.X, size.Y})
	}
	return d, nil
}

// enlargement is how many pixels of a file show a pixel of an image: more than one for those too small to be judged.
func enlargement(height, width int) int { return max(1, 256/max(height, width, 1)) }

// First is what a moment expects the first picture to become, as a PNG file in its size.
func (f Frame) First() (data []byte, size image.Point, err error) {
	m, err := picture.Decode(f.X0)
	if err != nil {
		return nil, size, err
	}
	b := m.Bounds()
	b.Max.X = b.Min.X + b.Dx()/f.Images
	scale := enlargement(b.Dy(), b.Dx())
	large := image.NewRGBA(image.Rect(0, 0, b.Dx()*scale, b.Dy()*scale))
	xdraw.NearestNeighbor.Scale(large, large.Rect, m, b, draw.Src, nil)
	var out bytes.Buffer
	err = png.Encode(&out, large)
	return out.Bytes(), large.Rect.Size(), err
}

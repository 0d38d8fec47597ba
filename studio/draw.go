package studio

import (
	"bytes"
	"context"
	"fmt"
	"image/jpeg"
	"image/png"
	"runtime/debug"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
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
	Request  lab.Request // with what was chosen while it was drawn
	Pictures []Picture
	Seconds  float64
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

// drawWith returns the work of a lab.
func drawWith(l *lab.Lab) Work {
	return func(ctx context.Context, j Job, tell func(Update)) (d Drawn, err error) {
		defer func() { // a job's fault must not end the others
			if p := recover(); p != nil {
				err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
			}
		}()
		result, err := lab.Run(l.Draw(ctx, j.Request), func(e lab.Event) {
			if u, ok := updateOf(e); ok {
				tell(u)
			}
		})
		if err != nil {
			return d, err
		}
		return drawn(result)
	}
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

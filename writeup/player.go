package writeup

import (
	"encoding/json"
	"fmt"
	"html/template"
	"image"
	"image/draw"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
)

// Frame is one moment of sampling.
type Frame struct {
	Caption string           // where in the walk it is, such as "t = 120"
	X       diffusion.Images // x_t
	X0      diffusion.Images // the estimate of x_0 at that moment; empty in all frames: not shown
}

// checkFrames tells whether frames can be played.
func checkFrames(frames []Frame) error {
	if len(frames) < 2 {
		return fmt.Errorf("a trajectory has at least 2 frames, found %d", len(frames))
	}
	first := frames[0]
	for i, f := range frames {
		if !f.X.SameShape(first.X) {
			return fmt.Errorf("frame %d of the trajectory has shape %s, the first %s", i, f.X.Shape(), first.X.Shape())
		}
		if (f.X0.N > 0) != (first.X0.N > 0) || f.X0.N > 0 && !f.X0.SameShape(f.X) {
			return fmt.Errorf("frame %d of the trajectory has estimates of shape %s, expected %s", i, f.X0.Shape(), first.X.Shape())
		}
	}
	return nil
}

// playerView is what the page plays at once: each screen is one PNG with all frames, one below the other, of which the page shows one.
type playerView struct {
	Name     string // what it shows, for those who cannot see it
	Columns  []string
	Screens  []screenView
	Last     int    // frame
	Captions string // of the frames, as JSON
	Result   string // the last frame's caption
	How      string // it was made
}

type screenView struct {
	PNG           template.URL
	Width, Height int // of one frame
	Frames        int
	Title, Note   string
}

// thin keeps at most n frames, evenly spaced, with the first and the last.
func thin(frames []Frame, n int) []Frame {
	if len(frames) <= n {
		return frames
	}
	kept := make([]Frame, n)
	for i := range kept {
		kept[i] = frames[i*(len(frames)-1)/(n-1)]
	}
	return kept
}

// setCaptions gives the player the frames' captions.
func (v *playerView) setCaptions(frames []Frame) error {
	var captions []string
	for _, f := range frames {
		captions = append(captions, f.Caption)
	}
	asJSON, err := json.Marshal(captions)
	v.Captions, v.Last, v.Result = string(asJSON), len(frames)-1, captions[len(frames)-1]
	return err
}

func frameGrid(m diffusion.Images, columns, scale int) figure.Grid {
	return figure.Grid{Images: m, Columns: min(columns, m.N), Scale: scale, Padding: scale, Background: screenGray}
}

func drawFrames(batches []diffusion.Images, columns, scale int) ([]image.Image, error) {
	pictures := make([]image.Image, len(batches))
	for i, m := range batches {
		picture, err := frameGrid(m, columns, scale).Draw()
		if err != nil {
			return nil, fmt.Errorf("frame %d of the trajectory: %w", i, err)
		}
		pictures[i] = picture
	}
	return pictures, nil
}

// newScreen stacks the frames into one PNG.
func newScreen(title, note string, batches []diffusion.Images, columns int) (screenView, error) {
	frames, err := drawFrames(batches, columns, 1)
	if err != nil {
		return screenView{}, err
	}
	size := frames[0].Bounds().Size()
	all := image.Rect(0, 0, size.X, size.Y*len(frames))
	var strip draw.Image = image.NewRGBA(all)
	if _, gray := frames[0].(*image.Gray); gray {
		strip = image.NewGray(all)
	}
	for i, frame := range frames {
		draw.Draw(strip, image.Rect(0, i*size.Y, size.X, (i+1)*size.Y), frame, frame.Bounds().Min, draw.Src)
	}
	url, err := pngURL(strip)
	return screenView{PNG: url, Width: size.X, Height: size.Y, Frames: len(frames), Title: title, Note: note}, err
}

// writeTrajectory writes the frames as an animated PNG.
func writeTrajectory(path string, batches []diffusion.Images, columns, scale int, parameters figure.Parameters) error {
	pictures, err := drawFrames(batches, columns, scale)
	if err != nil {
		return err
	}
	return figure.WriteAnimation(path, figure.Animation{Frames: pictures, Delay: 50 * time.Millisecond, Hold: 2 * time.Second}, parameters)
}

// batches returns the frames' x_t, and their estimates of x_0 if they have some.
func batches(frames []Frame) (x, x0 []diffusion.Images) {
	for _, f := range frames {
		x = append(x, f.X)
		if f.X0.N > 0 {
			x0 = append(x0, f.X0)
		}
	}
	return x, x0
}

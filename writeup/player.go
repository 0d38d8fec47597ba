package writeup

import (
	"encoding/json"
	"fmt"
	"html/template"
	"image"
	"image/draw"
	"io"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
)

// Frame is one moment of sampling.
type Frame = figure.Frame

// checkFrames reports whether frames can be played.
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
			return fmt.Errorf("frame %d of the trajectory has estimates of shape %s, expected %s", i, f.X0.Shape(),
				first.X.Shape())
		}
	}
	return nil
}

// playerView is what the page plays at once: each screen is one PNG with all frames, one below the other, of which the
// page shows one.
type playerView struct {
	File     string // of the PNG file beside the page, without its ending
	Name     string // what it shows, for those who cannot see it
	Width    int    // images side by side on a screen
	Columns  []string
	Across   string // says the same
	Screens  []screenView
	Last     int    // frame
	Back     bool   // it is played forth and back, and rests at the first frame
	Captions string // of the frames, as JSON
	Result   string // the last frame's caption
	How      string // it was made
	Command  string // makes it again
	Recipe   string // the request, for people to read
}

type screenView struct {
	Style       template.HTMLAttr
	Title, Note string
	Smooth      bool // pixels are no squares
}

// thin keeps at most n frames.
func thin(frames []Frame, n int) (kept []Frame) {
	for i, f := range frames {
		if figure.Kept(i, len(frames)-1, n) {
			kept = append(kept, f)
		}
	}
	return kept
}

// setCaptions gives the player the frames' captions.
func (v *playerView) setCaptions(frames []Frame) error {
	var captions []string
	for _, f := range frames {
		captions = append(captions, f.Caption)
	}
	return v.caption(captions)
}

func (v *playerView) caption(captions []string) error {
	asJSON, err := json.Marshal(captions)
	v.Captions, v.Last, v.Result = string(asJSON), len(captions)-1, captions[len(captions)-1]
	return err
}

// Rest is the frame that is shown while nobody plays.
func (v playerView) Rest() int {
	if v.Back {
		return 0
	}
	return v.Last
}

func frameGrid(m diffusion.Images, columns, scale, padding int) figure.Grid {
	return figure.Grid{Images: m, Columns: min(columns, m.N), Scale: scale, Padding: padding, Background: ground(m)}
}

func drawFrames(batches []diffusion.Images, columns, scale, padding int) ([]image.Image, error) {
	pictures := make([]image.Image, len(batches))
	for i, m := range batches {
		picture, err := frameGrid(m, columns, scale, padding).Draw()
		if err != nil {
			return nil, fmt.Errorf("frame %d of the trajectory: %w", i, err)
		}
		pictures[i] = picture
	}
	return pictures, nil
}

// newScreen stacks the frames into one PNG.
func newScreen(title, note string, batches []diffusion.Images, columns int) (screenView, error) {
	frames, err := drawFrames(batches, columns, fine(batches[0]), 1)
	if err != nil {
		return screenView{}, err
	}
	return newStrip(title, note, frames, true)
}

// newStrip is newScreen for pictures. last: the last one is shown first.
func newStrip(title, note string, frames []image.Image, last bool) (screenView, error) {
	position := map[bool]string{true: "100%", false: "0"}[last]
	size := frames[0].Bounds().Size()
	all := image.Rect(0, 0, size.X, size.Y*len(frames))
	var strip draw.Image
	var levels []byte
	if _, gray := frames[0].(*image.Gray); gray {
		p := image.NewGray(all)
		strip, levels = p, p.Pix
	} else {
		p := image.NewRGBA(all)
		strip, levels = p, p.Pix
	}
	for i, frame := range frames {
		draw.Draw(strip, image.Rect(0, i*size.Y, size.X, (i+1)*size.Y), frame, frame.Bounds().Min, draw.Src)
	}
	frame := len(levels) / len(frames)
	first := 0
	if !last {
		first = frame // where one looks at it longest, as at the result
	}
	coarsen(levels[first : len(levels)-frame])
	url, err := pngURL(strip)
	return screenView{
		Title: title, Note: note,
		Style: template.HTMLAttr(fmt.Sprintf(
			`style="aspect-ratio: %d / %d; background-image: url(%s); background-size: 100%% %d00%%; background-position: 0 %s"`,
			size.X, size.Y, url, len(frames), position)),
	}, err
}

// coarsen leaves 32 of 256 levels: in what moves nobody sees the others, and they make files large.
func coarsen(levels []byte) {
	for i, v := range levels {
		levels[i] = byte((int(v)*31 + 127) / 255 * 255 / 31)
	}
}

// addTrajectory adds the frames as an animated PNG.
func addTrajectory(f *files, name string, batches []diffusion.Images, columns, scale int,
	parameters figure.Parameters) error {
	pictures, err := drawFrames(batches, columns, scale, scale)
	if err != nil {
		return err
	}
	a := figure.Animation{Frames: pictures}
	return f.add(name, func(w io.Writer) error { return figure.EncodeAPNG(w, a, parameters) })
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

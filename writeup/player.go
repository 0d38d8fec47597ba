package writeup

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/draw"
	"path/filepath"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
)

// playerView is a trajectory as the page plays it: each screen is one PNG with all frames, one below the other, of which the page shows one.
type playerView struct {
	Screens   []screenView
	Frames    int
	Last      int
	Timesteps string // of the frames, as JSON
	Labels    string
}

type screenView struct {
	PNG           template.URL
	Width, Height int // of one frame
	Frames        int
	Title, Note   string
}

const maxFrames = 60

var screenGray = color.Gray{Y: 32} // --screen in style.css

// player makes the page's player, and trajectory.png.
func (d DemoData) player(dir string) (playerView, error) {
	frames := thin(d.Trajectory, maxFrames)
	v := playerView{Frames: len(frames), Last: len(frames) - 1}
	for i, label := range d.TrajectoryLabels {
		if i > 0 {
			v.Labels += ", "
		}
		v.Labels += fmt.Sprint(label)
	}
	var timesteps []int
	var noisy, estimates []diffusion.Images
	for _, f := range frames {
		timesteps = append(timesteps, f.Timestep)
		noisy = append(noisy, f.X)
		if f.X0.N > 0 {
			estimates = append(estimates, f.X0)
		}
	}
	asJSON, err := json.Marshal(timesteps)
	if err != nil {
		return v, err
	}
	v.Timesteps = string(asJSON)
	pictures, err := drawFrames(noisy)
	if err != nil {
		return v, err
	}
	screen, err := newScreen(pictures)
	if err != nil {
		return v, err
	}
	screen.Title, screen.Note = "The picture in the making", "what the sampler holds: noise and digit, mixed"
	v.Screens = append(v.Screens, screen)

	if len(estimates) > 0 {
		guesses, err := drawFrames(estimates)
		if err != nil {
			return v, err
		}
		screen, err := newScreen(guesses)
		if err != nil {
			return v, err
		}
		screen.Title, screen.Note = "What the network expects", "its guess, at this moment, of how the digit will end"
		v.Screens = append(v.Screens, screen)
	}

	large := make([]image.Image, len(noisy))
	for i, m := range noisy {
		if large[i], err = frameGrid(m, 3).Draw(); err != nil {
			return v, err
		}
	}
	animation := figure.Animation{Frames: large, Delay: 50 * time.Millisecond, Hold: 2 * time.Second}
	return v, figure.WriteAnimation(filepath.Join(dir, "trajectory.png"), animation, d.Parameters)
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

func frameGrid(m diffusion.Images, scale int) figure.Grid {
	columns := 5
	if m.N <= 3 {
		columns = m.N
	}
	return figure.Grid{Images: m, Columns: columns, Scale: scale, Padding: scale, Background: screenGray}
}

func drawFrames(batches []diffusion.Images) ([]image.Image, error) {
	pictures := make([]image.Image, len(batches))
	for i, m := range batches {
		picture, err := frameGrid(m, 1).Draw()
		if err != nil {
			return nil, fmt.Errorf("frame %d of the trajectory: %w", i, err)
		}
		pictures[i] = picture
	}
	return pictures, nil
}

// newScreen stacks the frames into one PNG.
func newScreen(frames []image.Image) (screenView, error) {
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
	return screenView{PNG: url, Width: size.X, Height: size.Y, Frames: len(frames)}, err
}

func pngURL(picture image.Image) (template.URL, error) {
	var file bytes.Buffer
	if err := figure.EncodePNG(&file, picture, nil); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(file.Bytes())), nil
}

package writeup

import (
	"fmt"
	"html/template"
	"image"
	"io"
	"slices"

	"github.com/unnoise/unnoise/figure"
)

// Section is a part of a page: what is shown, and what is told of it.
type Section struct {
	ID, Title string // ID is the section's address on the page
	Part      string // a heading that begins with this section; empty: none
	Text      template.HTML
	Figures   []Figure
}

// Figure is a figure of a section: still images, the way that images came out of noise, or a movement.
type Figure struct {
	Picture               // Rows of stills; without them one of the others
	Frames  []Frame       // from pure noise to the result; at most MostFrames are shown
	Turning []image.Image // a movement that is played forth and back
	Turned  []string      // what its ends are called
}

type sectionView struct {
	Section
	Figures []figureView
}

type figureView struct {
	Still  *pictureView
	Player *playerView
}

func (s Section) view(f *files) (sectionView, error) {
	v := sectionView{Section: s}
	for _, shown := range s.Figures {
		one, err := shown.view(f)
		if err != nil {
			return v, fmt.Errorf("%s: %w", s.Title, err)
		}
		v.Figures = append(v.Figures, one)
	}
	return v, nil
}

func (g Figure) view(f *files) (v figureView, err error) {
	switch {
	case len(g.Turning) > 1:
		v.Player, err = g.turning(f)
	case len(g.Frames) > 1:
		v.Player, err = g.player(f)
	default:
		var p pictureView
		p, err = g.Picture.view(f, nil)
		v.Still = &p
	}
	return v, err
}

// player plays how images came out of noise: x_t and, where it is known, the estimate of x_0.
func (g Figure) player(f *files) (*playerView, error) {
	if err := checkFrames(g.Frames); err != nil {
		return nil, err
	}
	frames := thin(g.Frames, MostFrames)
	width := g.Width
	if width == 0 {
		width = min(frames[0].X.N, gridColumns)
	}
	v := &playerView{File: g.Name, Name: g.Title, Width: width, Columns: g.Columns, Across: across("", g.Columns),
		How: how(g.Parameters), Command: g.Command, Recipe: g.Recipe}
	if err := v.setCaptions(frames); err != nil {
		return nil, err
	}
	noisy, estimates := batches(frames)
	s, err := newScreen("What the sampler holds", "xₜ: image and noise, mixed", noisy, width)
	if err != nil {
		return nil, err
	}
	v.Screens = append(v.Screens, s)
	if len(estimates) > 0 {
		if s, err = newScreen("What the network expects", "the estimate of x₀ at that moment", estimates,
			width); err != nil {
			return nil, err
		}
		v.Screens = append(v.Screens, s)
	}
	return v, addTrajectory(f, g.Name+".png", noisy, width, 2, slices.Concat(g.Parameters, g.Carried))
}

// turning plays a movement, which the reader can make by hand with the slider.
func (g Figure) turning(f *files) (*playerView, error) {
	v := &playerView{File: g.Name, Name: g.Title, Width: max(g.Width, 1), Last: len(g.Turning) - 1, Back: true,
		How: how(g.Parameters), Command: g.Command, Recipe: g.Recipe}
	var captions []string
	for i := range g.Turning {
		captions = append(captions, fmt.Sprintf("%d %%", 100*i/v.Last))
	}
	if len(g.Turned) == 2 {
		captions[0], captions[v.Last] = g.Turned[0], g.Turned[1]
	}
	if err := v.caption(captions); err != nil {
		return nil, err
	}
	v.Result = captions[0]
	s, err := newStrip(g.Note, "", g.Turning, false)
	if err != nil {
		return nil, err
	}
	s.Smooth = true
	v.Screens = []screenView{s}
	a := figure.Animation{Frames: g.Turning, Back: true}
	return v, f.add(g.Name+".png", func(w io.Writer) error {
		return figure.EncodeAPNG(w, a, slices.Concat(g.Parameters, g.Carried))
	})
}

// Deliverable is something that the course asks for, and where the page has it.
type Deliverable struct {
	Part    string // as the course counts
	What    string
	Done    State
	At      string // the figure's name
	Note    string // what is missing
	Command string // adds it
}

// State says how much of a deliverable there is.
type State int

// The states.
const (
	Missing State = iota
	Partly
	Done
)

// Mark is the state as a sign.
func (s State) Mark() string { return [...]string{"–", "◐", "✓"}[s] }

// String is the state in words.
func (s State) String() string { return [...]string{"not on this page", "in part", "done"}[s] }

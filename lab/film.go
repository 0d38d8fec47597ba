package lab

import (
	"fmt"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/model"
)

// Film keeps moments of a drawing, from pure noise to the result.
type Film struct {
	Stage  Stage      // of which it keeps the steps
	Most   int        // frames; of longer runs each k-th is kept
	Show   []Quantity // frames' X is of these, beside each other; none: of x_t
	Frames []figure.Frame
}

// Quantity is something that a moment of a drawing is seen by.
type Quantity string

// The quantities.
const (
	Noisy     Quantity = "x_t"
	Estimated Quantity = "x0" // what x_t is estimated to become
	// the noise that the network sees in x_t, three standard deviations from black to white
	Noise Quantity = "epsilon"
)

// Quantities lists them.
func Quantities() []Quantity { return []Quantity{Noisy, Estimated, Noise} }

// noiseShown is how far noise is shown, in standard deviations.
const noiseShown = 3

// Shown returns what a step is seen by, for each image all quantities beside each other, with values from 0 to 1. last:
// after the step, and not before it.
func (s *Step) Shown(last bool, quantities ...Quantity) (diffusion.Images, error) {
	var all []diffusion.Images
	for _, q := range quantities {
		var x diffusion.Images
		switch {
		case q == Noise:
			x = shownNoise(s.Epsilon)
		case q == Noisy && !last:
			x = s.Range.To(model.ZeroToOne, s.Input)
		case q == Estimated && !last:
			x = s.Range.To(model.ZeroToOne, s.X0)
		default:
			x = s.Range.To(model.ZeroToOne, s.X)
		}
		all = append(all, x)
	}
	return woven(all, len(all))
}

// shownNoise returns noise with values from 0 to 1.
func shownNoise(x diffusion.Images) diffusion.Images {
	return model.Range{Low: -noiseShown, High: noiseShown}.To(model.ZeroToOne, x)
}

// Add takes an event.
func (f *Film) Add(e Event) {
	if e.Step == nil || e.Stage != f.Stage {
		return
	}
	s := e.Step
	caption, result := fmt.Sprintf("t = %g", s.From), "result"
	if s.To > s.From { // a flow's
		caption, result = fmt.Sprintf("t = %.2f", s.From), "t = 1.00"
	}
	if s.Index == 0 {
		f.Frames = nil
	}
	f.keep(s, s.Index, figure.Frame{Caption: caption, X: s.Input, X0: s.X0})
	if s.Index == s.Total-1 {
		f.keep(s, s.Total, figure.Frame{Caption: result, X: s.X, X0: s.X})
	}
}

func (f *Film) keep(s *Step, i int, frame figure.Frame) {
	if !figure.Kept(i, s.Total, f.Most) {
		return
	}
	frame.X, frame.X0 = s.Range.To(model.ZeroToOne, frame.X), s.Range.To(model.ZeroToOne, frame.X0)
	if len(f.Show) > 0 {
		if x, err := s.Shown(i == s.Total, f.Show...); err == nil { // all of a step's images are of one shape
			frame.X = x
		}
	}
	f.Frames = append(f.Frames, frame)
}

package lab

import (
	"fmt"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/model"
)

// Film keeps moments of a drawing, from pure noise to the result.
type Film struct {
	Stage  Stage // of which it keeps the steps
	Most   int   // frames; of longer runs each k-th is kept
	Frames []figure.Frame
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
	if figure.Kept(i, s.Total, f.Most) {
		frame.X, frame.X0 = s.Range.To(model.ZeroToOne, frame.X), s.Range.To(model.ZeroToOne, frame.X0)
		f.Frames = append(f.Frames, frame)
	}
}

package text2image

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/training"
)

// Set is what a run learns from.
type Set struct {
	Name  string // where the pictures can be opened again
	Train captioned.Source
	Held  captioned.Source // nil where nothing is held out
}

// Run is a run of either stage that is to begin or to go on.
type Run struct {
	Config training.Config
	Task   training.Task
	From   training.Start // what it begins with instead of random values
	About  string         // the network and the data, for people
	look   func(compute.Backend, dtypes.DType) look
}

// look draws and measures models that are kept.
type look interface {
	Draw(context.Context, training.Kept) error
	Measure(context.Context, training.Kept) (map[string]float64, error)
}

// FirstRun is a run of the first stage.
func FirstRun(n *Network, c training.Config, of Set) (Run, error) {
	task, err := Task(n, of.Train, of.Name, c)
	return Run{Config: c, Task: task,
		About: fmt.Sprintf("%d parameters, %d pictures", n.Parameters(), of.Train.Len()),
		look: func(b compute.Backend, dtype dtypes.DType) look {
			return Look{Backend: b, DType: dtype, Side: n.Side(), Held: of.Held}
		}}, err
}

// RunFrom is a run of the first stage that begins with the weights and the vocabulary of the model in dir, which is
// called name. half, frozen and even are as in Network; half, where it is given: the model knows words and colors by
// now.
func RunFrom(name, dir string, half *int, frozen, even bool, c training.Config, of Set) (Run, error) {
	n, values, err := From(dir)
	if err != nil {
		return Run{}, err
	}
	if half != nil {
		n.Half = *half
	}
	n.Frozen, n.Even = frozen, even
	r, err := FirstRun(n, c, of)
	r.From = training.Start{Name: name, Values: values}
	return r, err
}

// TextRunFrom is a run of a first stage's text encoder alone that begins with the encoder and the vocabulary of the
// model in dir, which is called name. The network that estimates pictures is new.
func TextRunFrom(name, dir string, c training.Config, of Set) (Run, error) {
	first, values, err := From(dir)
	if err != nil {
		return Run{}, err
	}
	n := NewTextStage(first)
	start := initial(n.Params(), c.Seed)
	for _, p := range prefixed(textPrefix, first.text.Params()) {
		start[p.Name] = values[p.Name]
	}
	r, err := TextRun(n, c, of)
	r.From = training.Start{Name: name, Values: start}
	return r, err
}

// SecondRunFrom is a run of the second stage that begins with the weights of the model in dir, which is called name.
func SecondRunFrom(name, dir string, c training.Config, of Set) (Run, error) {
	n, values, err := SecondFrom(dir)
	if err != nil {
		return Run{}, err
	}
	r, err := SecondRun(n, c, of)
	r.From = training.Start{Name: name, Values: values}
	return r, err
}

// SecondRun is a run of the second stage.
func SecondRun(n *SecondStage, c training.Config, of Set) (Run, error) {
	task, err := SecondTask(n, of.Train, of.Name, c)
	shown := of.Held
	if shown == nil {
		shown = of.Train
	}
	return Run{Config: c, Task: task,
		About: fmt.Sprintf("second stage, %d parameters, %d pictures", n.Parameters(), of.Train.Len()),
		look: func(b compute.Backend, dtype dtypes.DType) look {
			return SecondLook{Backend: b, DType: dtype, Network: n, Source: shown}
		}}, err
}

// WithText has a new run of the first stage begin with the text encoder of the model in dir, which is called name.
func (r *Run) WithText(name, dir string) error {
	n, ok := r.Task.Network.(*Network)
	if !ok {
		return errors.New("expected a run of the first stage, found another")
	}
	values, err := n.withText(r.From.Values, dir, r.Config.Seed)
	r.From = training.Start{Name: cmp.Or(r.From.Name, name), Values: values}
	return err
}

// TextRun is a run of a first stage's text encoder alone.
func TextRun(n *TextStage, c training.Config, of Set) (Run, error) {
	pictures, err := NewPictures(Pictures{Source: of.Train, Network: n.First, Name: of.Name, Seed: c.Seed,
		Dropout: c.Dropout})
	return Run{Config: c, Task: training.Task{Network: n, Data: pictures, Objective: Means{}},
		About: fmt.Sprintf("text encoder, %d parameters, %d pictures", n.Parameters(), of.Train.Len()),
		look: func(b compute.Backend, dtype dtypes.DType) look {
			return TextLook{Backend: b, DType: dtype, Stage: n, Held: of.Held}
		}}, err
}

// StageOf is the stage that a run trains; 0 is the text encoder alone.
func StageOf(c training.Config) int {
	if _, err := ReadSecondStage(c.Network); err == nil {
		return 2
	}
	if _, err := ReadTextStage(c.Network); err == nil {
		return 0
	}
	return 1
}

// OldRun is the run of a recipe that was begun before.
func OldRun(c training.Config, of Set) (Run, error) {
	if second, err := ReadSecondStage(c.Network); err == nil {
		return SecondRun(second, c, of)
	}
	if text, err := ReadTextStage(c.Network); err == nil {
		return TextRun(text, c, of)
	}
	n, err := Read(c.Network)
	if err != nil {
		return Run{}, fmt.Errorf("network: %w", err)
	}
	return FirstRun(n, c, of)
}

// Options are the run's on a backend, without what the caller is told. Kept models are drawn and measured if they are
// looked at.
func (r Run) Options(b compute.Backend, dtype dtypes.DType, looked bool) training.Options {
	o := training.Options{Backend: b, From: r.From}
	if looked {
		look := r.look(b, dtype)
		o.Draw, o.Validate = look.Draw, look.Measure
	}
	return o
}

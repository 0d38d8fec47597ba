package writeup

import (
	"fmt"
	"slices"

	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/training/mnist"
)

// Open reads a run that the page shows as one of a kind.
func (o *Page) Open(dir string, kind Kind) error {
	run, err := OpenRun(dir, kind)
	if err != nil {
		return err
	}
	run.Command = run.Config.Command(run.Limited(), run.Dir)
	switch kind.name {
	case DenoiserRun.name:
		o.None = run
	case PureRun.name:
		o.Pure = run
	case TimeRun.name:
		o.Time = run
	case ClassRun.name:
		o.Class = run
	case FlatRun.name:
		o.Flat = run
	case FlowTimeRun.name:
		o.FlowTime = run
	case FlowRun.name:
		o.Flow = run
	}
	return nil
}

// runs are those to show, in the page's order.
func (o Page) runs() (all []*ShownRun) {
	for _, r := range []*ShownRun{o.None, o.Pure, o.Time, o.Class, o.Flat, o.FlowTime, o.Flow} {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

// HasRuns reports whether there is a run to show.
func (o Page) HasRuns() bool { return len(o.runs()) > 0 }

// OfDigits reports whether all runs learned from the digits that come with the program, as its models have.
func (o Page) OfDigits() bool {
	return !slices.ContainsFunc(o.runs(), func(r *ShownRun) bool { return r.Data.Name != mnist.Embedded })
}

// CheckRuns tells what is wrong with the runs together.
func (o Page) CheckRuns() error {
	class, flat := o.Class, o.Flat
	switch {
	case flat == nil:
		return nil
	case class == nil:
		return model.Errorf("class-flat", "it is compared with --class, which is missing")
	case flat.Decay != 1 || class.Decay == 1:
		return fmt.Errorf("--class-flat: expected a run with decay 1 beside a --class run with another, found decay "+
			"%g in %s and %g in %s", flat.Decay, flat.Dir, class.Decay, class.Dir)
	case flat.Network.Classes != class.Network.Classes:
		return fmt.Errorf("--class-flat: %s knows %d classes, %s %d", flat.Dir, flat.Network.Classes, class.Dir,
			class.Network.Classes)
	}
	return nil
}

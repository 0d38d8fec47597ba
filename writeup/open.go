package writeup

import (
	"fmt"

	"github.com/unnoise/unnoise/model"
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

// HasRuns reports whether there is a run to show.
func (o Page) HasRuns() bool {
	return o.None != nil || o.Time != nil || o.Class != nil || o.Flat != nil || o.FlowTime != nil || o.Flow != nil
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

package training

import (
	"fmt"
)

// StoppedError is returned when the context ended: the step was finished and the run can go on with Resume.
type StoppedError struct {
	Dir         string
	Step, Total int // steps made, and those of the whole run
	Cause       error
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("stopped after step %d of %d of the run in %s (%v)", e.Step, e.Total, e.Dir, e.Cause)
}

func (e *StoppedError) Unwrap() error { return e.Cause }

// ExistsError is returned for a new run in the folder of another.
type ExistsError struct{ Dir string }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("%s holds a training run already: go on with it, or choose another folder", e.Dir)
}

// DivergedError is returned when the loss or a value is no longer a finite number. Gone on with, the run does the same
// again.
type DivergedError struct {
	Dir         string
	Epoch, Step int // from 1; no epoch where the data have no end
	Saved       int // the step of the last checkpoint, 0 for none
	What        string
}

func (e *DivergedError) Error() string {
	at := fmt.Sprintf("step %d", e.Step)
	if e.Epoch > 0 {
		at = fmt.Sprintf("epoch %d, %s", e.Epoch, at)
	}
	s := fmt.Sprintf("training diverged: %s is not a finite number (%s). "+
		"Train anew with a lower learning rate or in float32, in another folder", e.What, at)
	if e.Saved > 0 {
		s += fmt.Sprintf("; the checkpoints in %s are from before it, the latest of step %d", e.Dir, e.Saved)
	}
	return s
}

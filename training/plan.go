package training

import (
	"fmt"
	"path/filepath"
)

// plan says which steps a run has. After each period of steps it keeps a model: after an epoch, or after KeepEvery
// steps where the data have no end.
type plan struct {
	images int // of the data; 0: they have no end
	period int // steps
	total  int // steps
}

func (c Config) plan() plan {
	if c.Data.Images == 0 {
		return plan{period: c.KeepEvery, total: c.Steps}
	}
	perEpoch := (c.Data.Images + c.Batch - 1) / c.Batch
	return plan{images: c.Data.Images, period: perEpoch, total: c.Epochs * perEpoch}
}

// endless reports whether the data have no end, and so no epochs.
func (p plan) endless() bool { return p.images == 0 }

// start is the first step, counted from 0, of the period of a step.
func (p plan) start(step int) int { return step - step%p.period }

// ends reports whether a model is kept when so many steps have been made.
func (p plan) ends(steps int) bool { return steps > 0 && (steps%p.period == 0 || steps == p.total) }

// epoch is the epoch, from 1, of a step, counted from 0; 0 where there are none.
func (p plan) epoch(step int) int {
	if p.endless() {
		return 0
	}
	return step/p.period + 1
}

// name says which model was kept after so many steps: "epoch-03", or "step-003000" where the data have no end.
func (p plan) name(steps int) string {
	if p.endless() {
		return fmt.Sprintf("step-%06d", steps)
	}
	return epochName(steps / p.period)
}

// modelOf is where the model of an epoch is, or of a step where the data have no end.
func (p plan) modelOf(dir string, at int) string {
	if p.endless() {
		return p.modelDir(dir, at)
	}
	return EpochDir(dir, at)
}

func epochName(epoch int) string { return fmt.Sprintf("epoch-%02d", epoch) }

func (p plan) modelDir(dir string, steps int) string {
	return filepath.Join(dir, checkpointsDir, p.name(steps))
}

func (p plan) samplePath(dir string, steps int) string {
	return filepath.Join(dir, samplesDir, p.name(steps)+".png")
}

// describeLength says how long a run is: "20 epochs of 469 steps".
func (c Config) describeLength() string {
	if c.Data.Images == 0 {
		return number(c.Steps, "step")
	}
	return number(c.Epochs, "epoch") + " of " + number(c.plan().period, "step")
}

func number(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

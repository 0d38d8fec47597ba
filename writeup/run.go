package writeup

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/pretrained"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
)

// Run is what a page tells of a training run.
type Run struct {
	Name    string // what the page calls its model
	Command string // trains it again
	mnist.Config

	Loss          []float64 // of every step so far, mean squared error per pixel
	StepsPerEpoch int
	EpochLoss     []float64 // mean of each finished epoch's steps
	LastRate      float64   // the last step's learning rate
	Others        []string  // commits of other builds that went on with it, in their order
	Computers     []string  // what it was computed by, in their order: threads of the CPU or another backend
	Time          time.Duration
}

// ReadRun reads a run's folder; that of a run in progress too.
func ReadRun(dir string) (Run, error) {
	c, err := mnist.ReadConfig(dir)
	if err != nil {
		return Run{}, err
	}
	metrics, err := training.ReadMetrics(dir)
	if err != nil {
		return Run{}, err
	}
	return newRun(dir, c, metrics)
}

// readBundled reads the run of a model that comes with the program.
func readBundled(name string) (Run, error) {
	s, err := pretrained.Summary(name)
	if err != nil {
		return Run{}, err
	}
	c, err := mnist.Of(s.Config)
	if err != nil {
		return Run{}, err
	}
	metrics, err := pretrained.Metrics(name)
	if err != nil {
		return Run{}, err
	}
	return newRun(name, c, metrics)
}

func newRun(dir string, c mnist.Config, metrics []training.Metric) (Run, error) {
	r := Run{Config: c, Computers: []string{engine.Computer(c.Backend, c.Threads)}}
	commit := c.Program.Commit
	for _, m := range metrics {
		switch m.Event {
		case "run":
			r.StepsPerEpoch = m.Steps
		case "resume":
			if m.Commit != commit {
				commit = m.Commit
				r.Others = append(r.Others, commit)
			}
			// early runs don't say
			if by := engine.Computer(m.Backend, m.Threads); (m.Threads > 0 || m.Backend != "") &&
				by != r.Computers[len(r.Computers)-1] {
				r.Computers = append(r.Computers, by)
			}
		case "step":
			if expected := len(r.Loss) + 1; m.Step != expected {
				return Run{}, fmt.Errorf("%s lacks step %d: what is left can't be shown", training.MetricsPath(dir),
					expected)
			}
			r.Loss = append(r.Loss, float64(m.Loss))
			r.LastRate = m.LearningRate
		case "epoch":
			r.EpochLoss = append(r.EpochLoss, m.MeanLoss)
			r.Time += time.Duration(m.Seconds * float64(time.Second))
		}
	}
	if len(r.EpochLoss) == 0 {
		return r, fmt.Errorf("the run %s has not finished an epoch yet: there is nothing to show of it", dir)
	}
	return r, nil
}

// Alike reports whether both runs have the same recipe, but for how the learning rate falls.
func (r Run) Alike(o Run) bool {
	a, b := r.Config, o.Config
	a.Decay, a.DecaySteps, a.Schedule, a.Planned = b.Decay, b.DecaySteps, b.Schedule, b.Planned
	a.Threads, a.Program, a.Data.Name = b.Threads, b.Program, b.Data.Name
	return reflect.DeepEqual(a, b) && len(r.EpochLoss) == len(o.EpochLoss)
}

// What templates say of a run.

func (r Run) Done() int         { return len(r.EpochLoss) }
func (r Run) FirstLoss() string { return significant(r.EpochLoss[0]) }
func (r Run) LastLoss() string  { return significant(r.EpochLoss[len(r.EpochLoss)-1]) }
func (r Run) Images() string    { return spokenCount(r.Data.Images) }

func (r Run) check() error {
	if len(r.Loss) == 0 || len(r.EpochLoss) == 0 {
		return fmt.Errorf("the run of the %s has no loss", r.Name)
	}
	return nil
}

// runsTable sets the runs side by side.
func runsTable(runs []Run) Table {
	t := Table{Caption: "The runs", Header: []string{""}}
	for _, r := range runs {
		t.Header = append(t.Header, r.Name)
	}
	add := func(what string, say func(Run) string) {
		row, known := []string{what}, false
		for _, r := range runs {
			row = append(row, say(r))
			known = known || say(r) != ""
		}
		if known {
			t.Rows = append(t.Rows, row)
		}
	}
	add("network", func(r Run) string { return fmt.Sprintf("UNet, dim %d", r.Network.Dim) })
	add("learns", func(r Run) string { return r.Network.Learns() })
	add("classes hidden", func(r Run) string {
		if r.Network.Condition != mnistunet.Class {
			return ""
		}
		return fmt.Sprintf("%.4g %%", 100*r.Dropout)
	})
	add("parameters", func(r Run) string { return spokenCount(r.Network.Parameters()) })
	add("learns from", func(r Run) string { return r.Images() + " images, " + r.Data.Name })
	add("epochs", func(r Run) string {
		if r.Done() < r.Epochs {
			return fmt.Sprintf("%d of %d so far", r.Done(), r.Epochs)
		}
		return fmt.Sprint(r.Epochs)
	})
	add("batch", func(r Run) string { return fmt.Sprint(r.Batch) })
	add("learning rate, Adam", func(r Run) string {
		if r.Decay == 1 {
			return fmt.Sprintf("%g", r.LearningRate)
		}
		return fmt.Sprintf("%g, at last %.2g", r.LearningRate, r.LastRate)
	})
	add("mean loss of the first epoch", Run.FirstLoss)
	add("mean loss of the last epoch", Run.LastLoss)
	add("training time", func(r Run) string { return spokenTime(r.Time) })
	add("computed in", func(r Run) string { return r.DType + ", " + strings.Join(r.Computers, ", then ") })
	add("seed", func(r Run) string { return fmt.Sprint(r.Seed) })
	add("data", func(r Run) string { return r.Data.Checksum })
	add("commit", func(r Run) string {
		return strings.Join(append([]string{r.Program.Commit}, r.Others...),
			", then ")
	})
	return t
}

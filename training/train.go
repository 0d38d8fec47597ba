package training

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/weights"
)

// Options are what a run needs besides its recipe and its task.
type Options struct {
	Backend compute.Backend

	// From is the model that a new run begins with, instead of random values.
	From Start

	// Length makes a resumed run longer or shorter than it was planned: epochs, or steps where the data have no end. 0:
	// as it is. The learning rate goes on as planned, and is constant behind the plan's end.
	Length int

	// CheckpointEvery is the longest time between two checkpoints, a minute when 0. There is one with each kept model
	// besides.
	CheckpointEvery time.Duration

	// OnStep is called after each step, if not nil.
	OnStep func(Progress)

	// Draw makes the picture kept.Sample of a model that was kept just now, Validate measures it, and OnKept is told of
	// it. Each may be nil. Errors end the run. A run that is stopped during the calls makes them again when it goes on.
	Draw     func(context.Context, Kept) error
	Validate func(context.Context, Kept) (map[string]float64, error)
	OnKept   func(Kept) error

	// Warn is told what a person should know though the run goes on, if not nil.
	Warn func(string)
}

// Start is a model to begin with: its name, for people, and its values as Network.Params names them.
type Start struct {
	Name   string
	Values map[string]weights.Tensor
}

// Progress is how far a run is.
type Progress struct {
	Epoch, Epochs     int // from 1; 0 where the data have no end
	Step, Steps       int // of this epoch, or since a model was last kept, from 1
	RunStep, RunSteps int // of the whole run, from 1
	Loss              float64
	MeanLoss          float64 // of this epoch so far
	LearningRate      float64
	ImagesPerSecond   float64       // lately
	Remaining         time.Duration // of the whole run, without drawing and validation; an estimate
}

// String is the progress on one line.
func (p Progress) String() string {
	at := fmt.Sprintf("step %d/%d", p.RunStep, p.RunSteps)
	if p.Epoch > 0 {
		at = fmt.Sprintf("epoch %d/%d  step %d/%d", p.Epoch, p.Epochs, p.Step, p.Steps)
	}
	return fmt.Sprintf("%s  loss %.4f (mean %.4f)  %.0f images/s  %s left", at, p.Loss, p.MeanLoss, p.ImagesPerSecond,
		duration.Format(p.Remaining))
}

// Kept is a model that was kept just now.
type Kept struct {
	Epoch, Epochs int // from 1; 0 where the data have no end
	Step, Steps   int // of the whole run, from 1
	MeanLoss      float64
	Dir           string             // the run's folder
	ModelDir      string             // the model's
	Sample        string             // the picture's path
	Scores        map[string]float64 // what Validate measured, when OnKept is told

	run *run
}

// MarshalJSON makes an event of it: of an epoch, or of a model that was kept where the data have no end.
func (k Kept) MarshalJSON() ([]byte, error) {
	event := map[string]any{"version": 1, "event": "kept", "step": k.Step, "mean_loss": k.MeanLoss, "samples": k.Sample}
	if k.Epoch > 0 {
		event["event"], event["epoch"], event["epochs"] = "epoch", k.Epoch, k.Epochs
	}
	if k.Scores != nil {
		event["scores"] = k.Scores
	}
	return json.Marshal(event)
}

// String is what is known of the model, on one line.
func (k Kept) String() string {
	at := fmt.Sprintf("step %d/%d", k.Step, k.Steps)
	if k.Epoch > 0 {
		at = fmt.Sprintf("epoch %d/%d", k.Epoch, k.Epochs)
	}
	scores := ""
	for _, name := range slices.Sorted(maps.Keys(k.Scores)) {
		scores += fmt.Sprintf("  %s %.4f", name, k.Scores[name])
	}
	return fmt.Sprintf("%s  mean loss %.4f%s  %s", at, k.MeanLoss, scores, k.Sample)
}

// Loss is the kept model's mean loss over the first n images of held-out data, with the same noise each time.
func (k Kept) Loss(ctx context.Context, held Dataset, n int) (float64, error) {
	return k.run.lossOn(ctx, held, n)
}

// Result is the end of a run.
type Result struct {
	Dir      string
	Steps    int     // of the whole run
	MeanLoss float64 // of the last epoch's steps
	ModelDir string  // the last model's
}

// Train makes a new run in dir. It ends with a [StoppedError] when ctx ends.
func Train(ctx context.Context, dir string, c Config, t Task, o Options) (Result, error) {
	if err := o.check(t); err != nil {
		return Result{}, err
	}
	if err := c.complete(t, o); err != nil {
		return Result{}, err
	}
	if err := c.Validate(); err != nil {
		return Result{}, fmt.Errorf("the recipe: %w", err)
	}
	l, err := create(dir)
	if err != nil {
		return Result{}, err
	}
	defer l.release()
	if err = c.write(dir); err != nil {
		return Result{}, err
	}
	r, err := train(ctx, dir, l, c, t, o)
	var stopped *StoppedError
	// nothing to go on with: another try may have the folder
	if err != nil && !errors.As(err, &stopped) && !learned(dir) {
		err = errors.Join(err, remove(dir))
	}
	return r, err
}

// learned reports whether a run has made a step, or may have.
func learned(dir string) bool {
	metrics, err := ReadMetrics(dir)
	return err != nil && !errors.Is(err, fs.ErrNotExist) ||
		slices.ContainsFunc(metrics, func(m Metric) bool { return m.Event == "step" })
}

func (o Options) check(t Task) error {
	if o.Backend == nil {
		return errors.New("training needs a backend: see onednn.New")
	}
	if t.Network == nil || t.Data == nil || t.Objective == nil {
		return errors.New("training needs a network, data and an objective")
	}
	return nil
}

// Resume goes on with the run in dir, to the same numbers as without the stop, if the backend has as many threads as
// before and runs on the same kind of CPU. Of a run that is complete, it only repeats what follows the last model: see
// [Options].
func Resume(ctx context.Context, dir string, t Task, o Options) (Result, error) {
	if err := o.check(t); err != nil {
		return Result{}, err
	}
	c, err := ReadConfig(dir)
	if err != nil {
		return Result{}, err
	}
	now := c
	if err := now.complete(t, o); err != nil {
		return Result{}, err
	}
	var before bytes.Buffer
	if err := json.Compact(&before, c.Network); err != nil || !bytes.Equal(before.Bytes(), now.Network) {
		return Result{}, fmt.Errorf("the run in %s has another network: expected %s, found %s", dir, before.Bytes(),
			now.Network)
	}
	if now.Data.Images != c.Data.Images || now.Data.Checksum != c.Data.Checksum {
		return Result{}, fmt.Errorf(
			"the run in %s learns from other images: it has %s with %d images (%s), found %d images (%s)",
			dir, c.Data.Name, c.Data.Images, c.Data.Checksum, now.Data.Images, now.Data.Checksum)
	}
	l, err := lock(dir)
	if err != nil {
		return Result{}, err
	}
	defer l.release()
	if now.Data.Name != "" { // the same images may have moved
		c.Data.Name = now.Data.Name
	}
	if o.Length > 0 {
		c = c.WithLength(o.Length)
	}
	if err := c.Validate(); err != nil {
		return Result{}, err
	}
	return train(ctx, dir, l, c, t, o)
}

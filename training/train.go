package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/mnistunet"
)

// Options are what a run needs besides its recipe.
type Options struct {
	Backend  compute.Backend
	Data     *dataset.Labeled
	DataName string // where Data can be opened again, for config.json; empty in Resume: as before

	// CheckpointEvery is the longest time between two checkpoints, a minute when 0. There is one after each epoch besides.
	CheckpointEvery time.Duration

	// OnStep is called after each step, if not nil.
	OnStep func(Progress)
	// OnEpoch is called after each epoch with the model as it stands, to sample from it. An error ends the run. A run that is
	// stopped during the call makes it again when it goes on.
	OnEpoch func(context.Context, Epoch) error
	// Warn is told what a person should know though the run goes on, if not nil.
	Warn func(string)
}

// Progress is how far a run is.
type Progress struct {
	Epoch, Epochs     int // from 1
	Step, Steps       int // of this epoch, from 1
	RunStep, RunSteps int // of the whole run, from 1
	Loss              float64
	MeanLoss          float64 // of this epoch so far
	LearningRate      float64
	ImagesPerSecond   float64       // lately
	Remaining         time.Duration // of the whole run, without OnEpoch; an estimate
}

// Epoch is what OnEpoch gets.
type Epoch struct {
	Epoch, Epochs int // from 1
	MeanLoss      float64
	Model         *mnistunet.Model // to evaluate during the call only
	Dir           string           // the run's folder
}

// Result is the end of a run.
type Result struct {
	Dir      string
	Steps    int     // of the whole run
	MeanLoss float64 // of the last epoch's steps
	ModelDir string  // of the last epoch
}

// Train makes a new run in dir. It ends with a [StoppedError] when ctx ends.
func Train(ctx context.Context, dir string, c Config, o Options) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	c.complete(o)
	if err := c.Validate(); err != nil {
		return Result{}, fmt.Errorf("the recipe: %w", err)
	}
	b, err := newBatches(c, o.Data)
	if err != nil {
		return Result{}, err
	}
	l, err := create(dir)
	if err != nil {
		return Result{}, err
	}
	defer l.release()
	if err = c.write(dir); err != nil {
		return Result{}, err
	}
	r, err := train(ctx, dir, l, c, b, o)
	var stopped *StoppedError
	if err != nil && !errors.As(err, &stopped) && !learned(dir) { // nothing to go on with: another try may have the folder
		err = errors.Join(err, remove(dir))
	}
	return r, err
}

// learned tells whether a run has made a step, or may have.
func learned(dir string) bool {
	metrics, err := ReadMetrics(dir)
	return err != nil && !errors.Is(err, fs.ErrNotExist) || slices.ContainsFunc(metrics, func(m Metric) bool { return m.Event == "step" })
}

func (o Options) check() error {
	if o.Backend == nil {
		return errors.New("training needs a backend: see onednn.New")
	}
	return o.Data.Check(mnistunet.Size, mnistunet.Size)
}

// Resume goes on with the run in dir, to the same numbers as without the stop, if the backend has as many threads as before and runs
// on the same kind of CPU. Of a run that is complete, it only repeats the last call of OnEpoch.
func Resume(ctx context.Context, dir string, o Options) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	c, err := ReadConfig(dir)
	if err != nil {
		return Result{}, err
	}
	b, err := newBatches(c, o.Data)
	if err != nil {
		return Result{}, err
	}
	if data := describe(o.Data, c.Data.Name); data != c.Data {
		return Result{}, fmt.Errorf("the run in %s learns from other images: it has %s with %d images (%s), found %d images (%s)",
			dir, c.Data.Name, c.Data.Images, c.Data.Checksum, data.Images, data.Checksum)
	}
	l, err := lock(dir)
	if err != nil {
		return Result{}, err
	}
	defer l.release()
	if o.DataName != "" && o.DataName != c.Data.Name { // the same images, moved
		c.Data.Name = o.DataName
		if err := c.write(dir); err != nil {
			return Result{}, err
		}
	}
	return train(ctx, dir, l, c, b, o)
}

// run is a run in progress.
type run struct {
	Options
	dir     string
	lock    *runLock
	config  Config
	batches *batches
	trainer *mnistunet.Trainer
	metrics *metrics
	counters
	saved     time.Time
	savedStep int // of the latest checkpoint
	total     int // steps
}

func train(ctx context.Context, dir string, l *runLock, c Config, b *batches, o Options) (_ Result, err error) {
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = time.Minute
	}
	if o.OnStep == nil {
		o.OnStep = func(Progress) {}
	}
	if o.OnEpoch == nil {
		o.OnEpoch = func(context.Context, Epoch) error { return nil }
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if err := makeSubfolders(dir); err != nil {
		return Result{}, err
	}
	r := &run{Options: o, dir: dir, lock: l, config: c, batches: b, total: c.Epochs * b.perEpoch, saved: time.Now()}
	r.trainer, r.counters, err = loadCheckpoint(dir, o.Backend, c, o.Warn)
	if err != nil {
		return Result{}, err
	}
	defer r.trainer.Close()
	r.savedStep = r.step
	if r.step > r.total {
		return Result{}, fmt.Errorf("the checkpoint in %s is of step %d, but the run has %d: its %s does not belong to it", dir, r.step, r.total, configFile)
	}
	if r.metrics, err = openMetrics(dir, r.logged, o.Warn); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, r.metrics.close()) }()
	switch {
	case r.step == 0:
		err = r.metrics.add(Metric{Event: "run", Version: version, Epochs: c.Epochs, Steps: b.perEpoch})
	case r.step < r.total:
		by := computer(o.Backend)
		if before := c.Program.OneDNN; before != "" && by.library != "" && by.library != before {
			o.Warn(fmt.Sprintf("the run began with oneDNN %s and goes on with %s: sums may round otherwise", before, by.library))
		}
		err = r.metrics.add(Metric{Event: "resume", Step: r.step, Commit: build.Commit(), Threads: by.threads, Backend: by.backend})
	}
	if err != nil {
		return Result{}, err
	}
	return r.loop(ctx)
}

// loop makes the steps that are left.
func (r *run) loop(ctx context.Context) (Result, error) {
	feeding, stop := context.WithCancel(context.Background()) // not ctx: the step in progress is finished
	defer stop()
	ready, free := r.batches.feed(feeding, r.step, r.total)

	if r.step > 0 && r.step%r.batches.perEpoch == 0 {
		if err := r.endEpoch(ctx); err != nil {
			return Result{}, err
		}
	}
	var speed speed
	for r.step < r.total {
		if ctx.Err() != nil {
			return Result{}, r.stop(ctx)
		}
		epoch := r.step / r.batches.perEpoch
		rate := r.config.rate(r.step, r.batches.perEpoch)
		if r.step%r.batches.perEpoch == 0 {
			r.loss, r.seconds = 0, 0
		}
		start := time.Now()
		batch := <-ready
		if batch.err != nil {
			return Result{}, fmt.Errorf("preparing the batch of step %d: %w", r.step+1, batch.err)
		}
		loss, err := r.trainer.Step(batch.Batch, rate)
		if err != nil {
			return Result{}, fmt.Errorf("step %d: %w", r.step+1, err)
		}
		n := batch.N
		free <- batch.scratch
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return Result{}, r.diverged(r.step+1, "the loss")
		}
		took := time.Since(start)
		r.step++
		r.loss += loss
		r.seconds += took.Seconds()
		inEpoch := r.step - epoch*r.batches.perEpoch
		if err := r.metrics.add(Metric{Event: "step", Epoch: epoch + 1, Step: r.step, Loss: float32(loss), LearningRate: rate}); err != nil {
			return Result{}, err
		}
		imagesPerSecond, remaining := speed.step(n, took, r.total-r.step)
		r.OnStep(Progress{
			Epoch: epoch + 1, Epochs: r.config.Epochs, Step: inEpoch, Steps: r.batches.perEpoch, RunStep: r.step, RunSteps: r.total,
			Loss: loss, MeanLoss: r.loss / float64(inEpoch), LearningRate: rate, ImagesPerSecond: imagesPerSecond, Remaining: remaining,
		})
		switch {
		case inEpoch == r.batches.perEpoch:
			err := r.metrics.add(Metric{
				Event: "epoch", Epoch: epoch + 1, Step: r.step, LearningRate: rate, MeanLoss: r.loss / float64(inEpoch),
				Seconds: r.seconds, ImagesPerSecond: float64(r.batches.data.Len()) / r.seconds,
			})
			if err == nil {
				err = r.save()
			}
			if err == nil {
				err = r.endEpoch(ctx)
			}
			if err != nil {
				return Result{}, err
			}
		case time.Since(r.saved) >= r.CheckpointEvery:
			if err := r.save(); err != nil {
				return Result{}, err
			}
		}
	}
	return Result{Dir: r.dir, Steps: r.step, MeanLoss: r.loss / float64(r.batches.perEpoch), ModelDir: EpochDir(r.dir, r.config.Epochs)}, nil
}

// endEpoch saves the model of the epoch that has just ended and lets the caller sample from it. Stopped on the way, it is
// called again when the run goes on.
func (r *run) endEpoch(ctx context.Context) error {
	epoch := r.step / r.batches.perEpoch
	if err := r.lock.check(); err != nil {
		return err
	}
	if err := r.trainer.Save(EpochDir(r.dir, epoch)); err != nil {
		return err
	}
	err := r.OnEpoch(ctx, Epoch{
		Epoch: epoch, Epochs: r.config.Epochs, MeanLoss: r.loss / float64(r.batches.perEpoch), Model: r.trainer.Model, Dir: r.dir,
	})
	if err != nil && ctx.Err() != nil {
		return r.stopped(ctx)
	}
	if err != nil {
		return fmt.Errorf("after epoch %d: %w", epoch, err)
	}
	return nil
}

// save writes a checkpoint.
func (r *run) save() error {
	if err := r.lock.check(); err != nil {
		return err
	}
	if err := r.metrics.sync(); err != nil {
		return err
	}
	r.logged = r.metrics.size
	err := saveCheckpoint(r.dir, r.trainer, r.counters)
	var infinite *notFiniteError
	if errors.As(err, &infinite) {
		return r.diverged(r.step, "a value of "+infinite.tensor)
	}
	r.saved, r.savedStep = time.Now(), r.step
	return err
}

// stop makes a checkpoint, unless one of this step is there.
func (r *run) stop(ctx context.Context) error {
	if r.step > r.savedStep {
		if err := r.save(); err != nil {
			return err
		}
	}
	return r.stopped(ctx)
}

func (r *run) stopped(ctx context.Context) error {
	return &StoppedError{Dir: r.dir, Step: r.step, Total: r.total, Cause: context.Cause(ctx)}
}

func (r *run) diverged(step int, what string) error {
	return &DivergedError{Dir: r.dir, Saved: r.savedStep, Epoch: (step-1)/r.batches.perEpoch + 1, Step: step, What: what}
}

// speed averages over the last steps.
type speed struct {
	imagesPerSecond float64
	seconds         float64 // a step
	steps           int
}

func (s *speed) step(images int, took time.Duration, left int) (imagesPerSecond float64, remaining time.Duration) {
	if s.steps < 2 { // the first step compiles: the second one's time replaces it
		s.seconds, s.imagesPerSecond = took.Seconds(), float64(images)/took.Seconds()
	} else {
		weight := max(0.05, 1/float64(s.steps))
		s.seconds += weight * (took.Seconds() - s.seconds)
		s.imagesPerSecond += weight * (float64(images)/took.Seconds() - s.imagesPerSecond)
	}
	s.steps++
	return s.imagesPerSecond, time.Duration(float64(left) * s.seconds * float64(time.Second))
}

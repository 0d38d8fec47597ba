package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/nn"
)

// run is a run in progress.
type run struct {
	Options
	dir     string
	lock    *runLock
	config  Config
	plan    plan
	batches *batches
	trainer *nn.Trainer
	metrics *metrics
	counters
	saved     time.Time
	savedStep int // of the latest checkpoint

	first  float64 // the first step's loss here
	warned bool    // that the loss has risen
}

// train makes the run's steps.
func train(ctx context.Context, dir string, l *runLock, c Config, t Task, o Options) (_ Result, err error) {
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = time.Minute
	}
	if o.OnStep == nil {
		o.OnStep = func(Progress) {}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if err := makeSubfolders(dir); err != nil {
		return Result{}, err
	}
	r := &run{Options: o, dir: dir, lock: l, config: c, plan: c.plan(), batches: newBatches(c, t), saved: time.Now()}
	r.trainer, r.counters, err = loadCheckpoint(dir, o, c, t.Network)
	if err != nil {
		return Result{}, err
	}
	defer r.trainer.Close()
	r.savedStep = r.step
	if r.step > r.plan.total {
		return Result{}, fmt.Errorf(
			"the run in %s has made %d steps already, expected at most the %d of its length: %s",
			dir, r.step, r.plan.total, c.describeLength())
	}
	if err := c.write(dir); err != nil { // of a run that goes on, the length and the data's name may have changed
		return Result{}, err
	}
	if r.metrics, err = openMetrics(dir, r.logged, o.Warn); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, r.metrics.close()) }()
	if err := r.begin(); err != nil {
		return Result{}, err
	}
	return r.loop(ctx)
}

// begin writes the first line of the metrics, or that the run goes on.
func (r *run) begin() error {
	m := Metric{Event: "run", Version: version, Epochs: r.config.Epochs, Total: r.config.Steps, Steps: r.plan.period,
		Rate: r.config.Rate()}
	switch {
	case r.metrics.size == 0:
		if err := r.metrics.add(m); err != nil || r.From.Values == nil {
			return err
		}
		return r.save() // with a checkpoint, going on needs no From
	case r.step < r.plan.total:
		by := computer(r.Backend)
		if before := r.config.Program.OneDNN; before != "" && by.library != "" && by.library != before {
			r.Warn(fmt.Sprintf("the run began with oneDNN %s and goes on with %s: sums may round otherwise", before,
				by.library))
		}
		m.Event, m.Version, m.Steps, m.Step = "resume", 0, 0, r.step
		m.Commit, m.Threads, m.Backend = build.Commit(), by.threads, by.backend
		return r.metrics.add(m)
	}
	return nil
}

// loop makes the steps that are left.
func (r *run) loop(ctx context.Context) (Result, error) {
	feeding, stop := context.WithCancel(context.Background()) // not ctx: the step in progress is finished
	defer stop()
	ready, free := r.batches.feed(feeding, r.step, r.plan.total)

	if r.plan.ends(r.step) {
		if err := r.keep(ctx); err != nil {
			return Result{}, err
		}
	}
	var speed speed
	for r.step < r.plan.total {
		if ctx.Err() != nil {
			return Result{}, r.stop(ctx)
		}
		start := time.Now()
		batch := <-ready
		if batch.err != nil {
			return Result{}, fmt.Errorf("preparing the batch of step %d: %w", r.step+1, batch.err)
		}
		p, err := r.makeStep(batch.Batch, start, &speed)
		free <- batch.Batch
		if err != nil {
			return Result{}, err
		}
		r.OnStep(p)
		switch {
		case r.plan.ends(r.step):
			err := r.endPeriod()
			if err == nil {
				err = r.save()
			}
			if err == nil {
				err = r.keep(ctx)
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
	return Result{Dir: r.dir, Steps: r.step, MeanLoss: r.meanLoss(), ModelDir: r.plan.modelDir(r.dir, r.step)}, nil
}

// makeStep learns from a batch.
func (r *run) makeStep(b *Batch, start time.Time, speed *speed) (Progress, error) {
	first := r.plan.start(r.step)
	if r.step == first {
		r.loss, r.seconds = 0, 0
	}
	rate := r.config.rate(r.step)
	s, err := r.trainer.Step(b.arrays, rate, r.config.averageDecay(r.step))
	if err != nil {
		return Progress{}, fmt.Errorf("step %d: %w", r.step+1, err)
	}
	if math.IsNaN(s.Loss) || math.IsInf(s.Loss, 0) {
		return Progress{}, r.diverged(r.step+1, "the loss")
	}
	took := time.Since(start)
	p := Progress{
		Epoch: r.plan.epoch(r.step), Epochs: r.config.Epochs, Step: r.step + 1 - first,
		Steps:   min(r.plan.period, r.plan.total-first),
		RunStep: r.step + 1, RunSteps: r.plan.total, Loss: s.Loss, LearningRate: rate,
	}
	r.step++
	r.loss += s.Loss
	if r.first == 0 {
		r.first = s.Loss
	}
	r.seconds += took.Seconds()
	p.MeanLoss = r.loss / float64(p.Step)
	p.ImagesPerSecond, p.Remaining = speed.step(b.N, took, r.plan.total-r.step)
	return p, r.metrics.add(Metric{Event: "step", Epoch: p.Epoch, Step: r.step, Loss: float32(s.Loss),
		Norm: float32(s.Norm), LearningRate: rate})
}

// made is how many steps the last period has so far.
func (r *run) made() int { return r.step - r.plan.start(r.step-1) }

// meanLoss is the mean of the last period's steps so far.
func (r *run) meanLoss() float64 { return r.loss / float64(r.made()) }

// muchLarger is how many times the first loss a mean loss tells of training that diverges.
const muchLarger = 10

// endPeriod writes the summary of the steps since a model was last kept.
func (r *run) endPeriod() error {
	if mean := r.meanLoss(); mean > muchLarger*r.first && r.first > 0 && !r.warned {
		r.warned = true
		r.Warn(fmt.Sprintf(
			"the loss has risen, from %.4g at first to a mean of %.4g: training diverges. "+
				"Train anew with a lower learning rate", r.first, mean))
	}
	m := Metric{
		Event: "epoch", Epoch: r.plan.epoch(r.step - 1), Step: r.step, MeanLoss: r.meanLoss(),
		LearningRate: r.config.rate(r.step - 1),
		Seconds:      r.seconds, ImagesPerSecond: float64(r.plan.images) / r.seconds,
	}
	if r.plan.endless() {
		m.Event, m.ImagesPerSecond = "interval", float64(r.made()*r.config.Batch)/r.seconds
	}
	return r.metrics.add(m)
}

// keep saves the model as it stands after an epoch, or an interval, and lets the caller draw with it and measure it.
// Stopped on the way, it is called again when the run goes on.
func (r *run) keep(ctx context.Context) error {
	if err := r.lock.check(); err != nil {
		return err
	}
	k := Kept{
		Epoch: r.plan.epoch(r.step - 1), Epochs: r.config.Epochs, Step: r.step, Steps: r.plan.total,
		MeanLoss: r.meanLoss(),
		Dir:      r.dir, ModelDir: r.plan.modelDir(r.dir, r.step), Sample: r.plan.samplePath(r.dir, r.step), run: r,
	}
	values, err := r.trainer.Tensors()
	if err == nil {
		err = atomicfile.WriteFolder(k.ModelDir, func(dir string) error { return r.batches.Network.Save(dir, values) })
	}
	if err == nil {
		err = r.show(ctx, k)
	}
	if err != nil && ctx.Err() != nil {
		return r.stopped(ctx)
	}
	if errors.Is(err, diffusion.ErrNotFinite) {
		// as this step's checkpoint does
		return &DivergedError{Dir: r.dir, Epoch: k.Epoch, Step: r.step, What: "what the model draws"}
	}
	if err != nil {
		return fmt.Errorf("after %s: %w", r.plan.name(r.step), err)
	}
	return nil
}

// show lets the caller see a kept model.
func (r *run) show(ctx context.Context, k Kept) (err error) {
	if r.Draw != nil {
		if err := r.Draw(ctx, k); err != nil {
			return err
		}
	}
	if r.Validate != nil {
		if k.Scores, err = r.Validate(ctx, k); err != nil {
			return err
		}
	}
	if k.Scores != nil {
		m := Metric{Event: "validation", Epoch: k.Epoch, Step: k.Step, Scores: k.Scores}
		if err := r.metrics.add(m); err != nil {
			return err
		}
	}
	if r.OnKept != nil {
		return r.OnKept(k)
	}
	return nil
}

// lossOn is Kept.Loss.
func (r *run) lossOn(ctx context.Context, held Dataset, n int) (float64, error) {
	var b Batch
	sum := 0.0
	for from := 0; from < n; from += r.config.Batch {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		g := generator(r.config.Seed, forLoss, from)
		err := held.Fill(&b, count(from, min(r.config.Batch, n-from)), g)
		if err == nil {
			err = r.batches.Objective.Fill(&b, g)
		}
		if err != nil {
			return 0, err
		}
		loss, err := r.trainer.Loss(b.arrays)
		if err != nil {
			return 0, err
		}
		sum += loss * float64(b.N)
	}
	return sum / float64(n), nil
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
	return &StoppedError{Dir: r.dir, Step: r.step, Total: r.plan.total, Cause: context.Cause(ctx)}
}

func (r *run) diverged(step int, what string) error {
	return &DivergedError{Dir: r.dir, Saved: r.savedStep, Epoch: r.plan.epoch(step - 1), Step: step, What: what}
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

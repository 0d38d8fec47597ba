package studio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/training"
)

// Set is a set of images that the studio can train on.
type Set struct {
	Name     string `json:"name"`
	Captions bool   `json:"captions" doc:"its pictures have captions; else they are digits or letters of 28×28 pixels"`
	Sent     bool   `json:"sent,omitempty" doc:"it was sent to the studio, and can be added to and deleted"`
	Pictures int    `json:"pictures,omitempty" doc:"how many were sent"`

	path string
}

// RunState is how far a training is.
type RunState string

// The states. A run that is stopped or has failed can go on.
const (
	RunTraining RunState = "training"
	RunWaiting  RunState = "waiting" // until nobody draws
	RunStopped  RunState = "stopped"
	RunFailed   RunState = "failed"
	RunDone     RunState = "done"
)

// Run is what there is to say of a training.
type Run struct {
	ID        string             `json:"id"`
	State     RunState           `json:"state" enum:"training,waiting,stopped,failed,done"`
	Kind      string             `json:"kind" enum:"digits,captions"`
	Data      string             `json:"data"`
	Model     string             `json:"model,omitempty" doc:"the name to draw with, once a model is kept"`
	Step      int                `json:"step" doc:"steps made"`
	Steps     int                `json:"steps" doc:"of the whole run"`
	Epoch     int                `json:"epoch,omitempty"`
	Epochs    int                `json:"epochs,omitempty"`
	Loss      float64            `json:"loss,omitempty" doc:"of the last step"`
	MeanLoss  float64            `json:"mean_loss,omitempty" doc:"of the epoch so far"`
	Rate      float64            `json:"images_per_second,omitempty"`
	Remaining float64            `json:"seconds_left,omitempty"`
	Scores    map[string]float64 `json:"scores,omitempty"`
	Samples   []string           `json:"samples" doc:"addresses of sheets, the oldest first"`
	Error     string             `json:"error,omitempty"`
}

// Loss is a point of a run's curve.
type Loss struct {
	Step int     `json:"step"`
	Loss float64 `json:"loss"`
}

// runs are the trainings in a folder: at most one of them goes on at a time, and it gives way to who draws.
type runs struct {
	dir    string
	sets   *sets
	models *models
	lab    lab.Options
	busy   func() (bool, <-chan struct{}) // whether somebody draws, and what is closed when that may have changed
	log    *slog.Logger

	mu      sync.Mutex
	now     *Run // the one that goes on, or that ended here last
	stop    context.CancelFunc
	done    chan struct{} // closed when nothing goes on
	changed chan struct{} // closed, and replaced, when something changes
}

var runName = regexp.MustCompile(`^(digits|captions)-\d{8}-\d{6}-[0-9a-f]{8}$`)

func newRuns(r *runs) (*runs, error) {
	r.done, r.changed = make(chan struct{}), make(chan struct{})
	close(r.done)
	if err := os.MkdirAll(r.dir, 0o777); err != nil {
		return nil, err
	}
	for _, id := range r.ids() {
		r.serve(id)
	}
	return r, nil
}

// ids lists the runs, the newest first.
func (r *runs) ids() (ids []string) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		r.log.Warn("the runs can't be listed", "error", err)
	}
	for _, e := range entries {
		if runName.MatchString(e.Name()) && training.IsRun(filepath.Join(r.dir, e.Name())) {
			ids = append(ids, e.Name())
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(timeOf(b), timeOf(a)) })
	return ids
}

// timeOf is the part of a run's name that begins with its time.
func timeOf(id string) string { return id[len(id)-24:] }

// serve lets requests name a run's newest model, if it has one.
func (r *runs) serve(id string) {
	dir, err := training.ModelDir(filepath.Join(r.dir, id))
	if err == nil {
		_, err = r.models.add(id, dir)
		if err != nil {
			r.log.Warn("a run's model can't be opened", "run", id, "error", err)
		}
	}
}

// list tells of all runs, the newest first.
func (r *runs) list() []Run {
	all := []Run{}
	for _, id := range r.ids() {
		if run, err := r.get(id); err == nil {
			all = append(all, run)
		}
	}
	return all
}

// learnedFrom reports whether a run learns, or has learned, from a set of captions of this name.
func (r *runs) learnedFrom(set string) bool {
	return slices.ContainsFunc(r.ids(), func(id string) bool {
		c, err := training.ReadConfig(filepath.Join(r.dir, id))
		return err == nil && !isDigits(c) && filepath.Base(c.Data.Name) == set
	})
}

var errNoRun = errors.New("there is no such training")

// get tells of a run.
func (r *runs) get(id string) (Run, error) {
	dir := filepath.Join(r.dir, id)
	if !runName.MatchString(id) || !training.IsRun(dir) {
		return Run{}, errNoRun
	}
	r.mu.Lock()
	now := r.now
	r.mu.Unlock()
	run := Run{ID: id, State: RunStopped, Samples: []string{}}
	c, err := training.ReadConfig(dir)
	if err != nil {
		return run, err
	}
	run.Kind, run.Data, run.Epochs, run.Steps = "captions", filepath.Base(c.Data.Name), c.Epochs, c.Steps
	if isDigits(c) {
		run.Kind = "digits"
		run.Steps = c.Epochs * ((c.Data.Images + c.Batch - 1) / max(c.Batch, 1))
	}
	if now != nil && now.ID == id {
		steps := run.Steps
		kind, data, epochs := run.Kind, run.Data, run.Epochs
		run = *now
		run.Kind, run.Data, run.Epochs, run.Steps = kind, data, epochs, steps
	} else if metrics, err := training.ReadMetrics(dir); err == nil {
		for _, m := range metrics {
			switch m.Event {
			case "step":
				run.Step, run.Epoch, run.Loss = m.Step, m.Epoch, float64(m.Loss)
			case "resume":
				run.Step = m.Step
			case "epoch", "interval":
				run.MeanLoss, run.Rate = m.MeanLoss, m.ImagesPerSecond
			case "validation":
				run.Scores = m.Scores
			}
		}
		if run.Step >= run.Steps && run.Steps > 0 {
			run.State = RunDone
		}
	}
	if _, err := training.ModelDir(dir); err == nil {
		run.Model = id
	}
	run.Samples = []string{}
	for _, name := range r.samples(id) {
		run.Samples = append(run.Samples, "/api/trainings/"+id+"/samples/"+name)
	}
	return run, nil
}

var sampleName = regexp.MustCompile(`^(epoch|step)-\d{1,9}\.png$`)

// samples lists the names of a run's sheets, the oldest first.
func (r *runs) samples(id string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(r.dir, id, "samples")) // none is no sheet
	for _, e := range entries {
		if sampleName.MatchString(e.Name()) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return names
}

// sample reads a sheet.
func (r *runs) sample(id, name string) ([]byte, bool) {
	if !runName.MatchString(id) || !slices.Contains(r.samples(id), name) {
		return nil, false
	}
	data, err := os.ReadFile(filepath.Join(r.dir, id, "samples", name))
	return data, err == nil
}

// losses is a run's curve, with at most so many points: each the mean of some steps.
func (r *runs) losses(id string, most int) ([]Loss, error) {
	if _, err := r.get(id); err != nil {
		return nil, err
	}
	metrics, err := training.ReadMetrics(filepath.Join(r.dir, id))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	metrics = slices.DeleteFunc(metrics, func(m training.Metric) bool { return m.Event != "step" })
	each := max(1, (len(metrics)+most-1)/most)
	all := []Loss{}
	for some := range slices.Chunk(metrics, each) {
		sum := 0.0
		for _, m := range some {
			sum += float64(m.Loss)
		}
		all = append(all, Loss{some[len(some)-1].Step, sum / float64(len(some))})
	}
	return all, nil
}

// begin starts a new run.
func (r *runs) begin(t TrainRequest) (Run, error) {
	set, ok := r.sets.find(t.Data)
	if !ok {
		return Run{}, errData(t.Data)
	}
	kind := "digits"
	if set.Captions {
		kind = "captions"
	}
	id := kind + "-" + newID()
	return r.start(id, func(b compute.Backend) (trainee, error) { return newTrainee(b, t, set.path, set.Captions) }, false)
}

// resume goes on with a run.
func (r *runs) resume(id string) (Run, error) {
	if _, err := r.get(id); err != nil {
		return Run{}, err
	}
	dir := filepath.Join(r.dir, id)
	return r.start(id, func(b compute.Backend) (trainee, error) { return oldTrainee(b, dir) }, true)
}

// start prepares a run and lets it go on by itself.
func (r *runs) start(id string, open func(compute.Backend) (trainee, error), resume bool) (Run, error) {
	r.mu.Lock()
	select {
	case <-r.done:
	default:
		r.mu.Unlock()
		return Run{}, errTraining
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	r.now, r.stop, r.done = &Run{ID: id, State: RunTraining}, stop, done
	r.mu.Unlock()
	opened := make(chan error, 1)
	go func() {
		defer close(done)
		defer stop()
		err := r.train(ctx, id, open, resume, opened)
		r.change(func(now *Run) {
			var stopped *training.StoppedError
			switch {
			case err == nil:
				now.State = RunDone
			case errors.As(err, &stopped), ctx.Err() != nil:
				now.State = RunStopped
			default:
				now.State, now.Error = RunFailed, jobs.FaultOf(err).Message
			}
		})
		r.log.Info("training", "run", id, "error", err)
	}()
	if err := <-opened; err != nil {
		<-done
		r.mu.Lock()
		r.now = nil
		r.mu.Unlock()
		return Run{}, err
	}
	return r.get(id)
}

// train opens what a run needs, tells on opened whether it has begun, and makes its steps.
func (r *runs) train(ctx context.Context, id string, open func(compute.Backend) (trainee, error), resume bool,
	opened chan<- error) (err error) {
	begun := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
		if !begun {
			opened <- err
		}
	}()
	b, _, err := engine.New(engine.Options{Backend: r.lab.Backend, Threads: r.lab.Threads, Without: r.lab.Without})
	if err != nil {
		return err
	}
	defer b.Finalize()
	t, err := open(b)
	if err != nil {
		return err
	}
	o := t.options
	o.CheckpointEvery = time.Minute
	o.OnStep = func(p training.Progress) {
		if !begun {
			begun = true
			opened <- nil
		}
		r.change(func(now *Run) {
			now.State, now.Step, now.Epoch, now.Loss, now.MeanLoss = RunTraining, p.RunStep, p.Epoch, p.Loss, p.MeanLoss
			now.Rate, now.Remaining = p.ImagesPerSecond, p.Remaining.Seconds()
		})
		r.giveWay(ctx)
	}
	o.OnKept = func(k training.Kept) error {
		r.serve(id)
		r.change(func(now *Run) { now.Scores = maps.Clone(k.Scores) })
		return nil
	}
	o.Warn = func(text string) { r.log.Warn("training", "run", id, "warning", text) }
	dir := filepath.Join(r.dir, id)
	if resume {
		_, err = training.Resume(ctx, dir, t.task, o)
	} else {
		_, err = training.Train(ctx, dir, t.config, t.task, o)
	}
	return err
}

// giveWay waits between two steps until nobody draws.
func (r *runs) giveWay(ctx context.Context) {
	for {
		busy, changed := r.busy()
		if !busy || ctx.Err() != nil {
			return
		}
		r.change(func(now *Run) { now.State = RunWaiting })
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// change changes what is told of the run that goes on, and wakes who watches it.
func (r *runs) change(do func(*Run)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := *r.now
	do(&now)
	r.now = &now
	close(r.changed)
	r.changed = make(chan struct{})
}

// halt stops the run after the step at hand, and waits for its checkpoint.
func (r *runs) halt(id string) {
	r.mu.Lock()
	stop, done := r.stop, r.done
	if r.now == nil || id != "" && r.now.ID != id {
		stop = nil
	}
	r.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
}

// remove deletes a run with its models.
func (r *runs) remove(id string) error {
	run, err := r.get(id)
	if err != nil {
		return err
	}
	if run.State == RunTraining || run.State == RunWaiting {
		return errTraining
	}
	r.models.remove(id)
	dir := filepath.Join(r.dir, id)
	if err := training.Remove(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// watch calls each with a run's state, now and when it has changed, until it goes on no more.
func (r *runs) watch(ctx context.Context, id string, each func(Run) error) error {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		run, err := r.get(id)
		if err != nil {
			return err
		}
		if err := each(run); err != nil {
			return err
		}
		if run.State != RunTraining && run.State != RunWaiting {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		select { // no more often than an eye sees
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

package course

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/bench"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/writeup"
)

// Lesson is a training on digits that is short enough to watch: about a minute, unless it is told its size.
type Lesson struct {
	Dir         string // of the run; one that is there is used, or goes on
	Epochs      int
	Dim, Limit  int // 0: what the machine does in a minute
	Seed        uint64
	Fresh       bool // begin again
	Backend     compute.Backend
	BackendName string // if it is not onednn
	DType       dtypes.DType
	Draw        evaluation.Draw
	Print       func(format string, args ...any)
	Update      func(line func() string)
	Warn        func(string)
}

const (
	lessonTime  = time.Minute
	lessonBatch = 32 // small: many steps in the one epoch, so that digits are legible after it
	leastImages = 8000
)

var lessonDims = []int{64, 48, 32, 24, 16}

// Train trains, or uses what was trained, and draws with it.
func (l Lesson) Train(ctx context.Context) (d writeup.DemoRun, err error) {
	dir := filepath.Clean(l.Dir)
	if l.Fresh {
		if err := training.Remove(dir); err != nil {
			return d, err
		}
	}
	train, _, err := mnist.OpenData(mnist.Embedded)
	if err != nil {
		return d, err
	}
	old, readErr := mnist.ReadConfig(dir)
	if training.IsRun(dir) && readErr == nil {
		if l.Dim == 0 {
			l.Dim = old.Network.Dim
			if l.Limit == 0 {
				l.Limit = old.Data.Images
			}
		}
	} else if l.Dim == 0 && readErr != nil && !training.IsRun(dir) {
		if l.Dim, l.Limit, err = l.size(ctx, train.Len(), l.Limit); err != nil {
			return d, err
		}
	}
	if l.Limit > 0 {
		train = train.Head(l.Limit)
	}
	c := mnist.ForDemo(engine.Name(l.DType), l.Dim)
	c.Epochs, c.Seed, c.Backend = l.Epochs, l.Seed, l.BackendName
	r, err := c.Ensure(ctx, dir, train, training.Options{Backend: l.Backend, Warn: l.Warn,
		OnStep: func(s training.Progress) { l.Update(func() string { return "training: " + s.String() }) }}, l.Print)
	if err != nil {
		var stopped *training.StoppedError
		if errors.As(err, &stopped) {
			return d, fmt.Errorf("stopped after step %d of %d (%w); the same command without --fresh goes on",
				stopped.Step, stopped.Total, stopped.Cause)
		}
		return d, err
	}
	m, err := mnistunet.Load(l.Backend, r.ModelDir, l.DType)
	if err != nil {
		return d, err
	}
	defer m.Close()
	return writeup.DrawDemo(ctx, m, l.Draw, dir, l.Seed, func(done, total int) {
		l.Update(func() string { return fmt.Sprintf("drawing with it: step %d/%d", done, total) })
	})
}

// size measures what the machine does in a minute: the widest network that sees all images once; where there is none,
// the narrowest one and fewer images.
func (l Lesson) size(ctx context.Context, all, limit int) (dim, images int, err error) {
	images = all
	if limit > 0 {
		images = min(limit, all)
	}
	var took time.Duration
	for _, dim = range lessonDims {
		l.Update(func() string { return fmt.Sprintf("measuring: a network of %d channels", dim) })
		if took, err = l.step(ctx, dim); err != nil {
			return 0, 0, err
		}
		if took*time.Duration(images/lessonBatch) <= lessonTime {
			return dim, images, nil
		}
	}
	return dim, min(images, max(leastImages, int(lessonTime/took)*lessonBatch)), nil
}

// step measures a step of training.
func (l Lesson) step(ctx context.Context, dim int) (time.Duration, error) {
	c := mnistunet.Default(mnistunet.Class)
	c.Dim = dim
	once, release, err := bench.TrainDigits(l.Backend, c, l.DType, lessonBatch)
	if err != nil {
		return 0, err
	}
	defer release()
	s, err := bench.Runs{Warmup: 1, Counted: 4}.Time(ctx, l.Backend, once)
	return time.Duration(s.Median * float64(time.Second)), err
}

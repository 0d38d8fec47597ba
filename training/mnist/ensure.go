package mnist

import (
	"context"
	"fmt"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
)

// ForDemo is a recipe after whose one epoch digits are legible: it makes more steps. dim 0 is the usual network, or in
// float32 a smaller one, so that it takes minutes there too.
func ForDemo(dtype string, dim int) Config {
	c := Default(mnistunet.Class)
	c.Epochs, c.Batch, c.DecaySteps, c.DType = 1, 32, true, dtype
	switch {
	case dim > 0:
		c.Network.Dim = dim
	case dtype == "f32":
		c.Network.Dim = 32
	}
	return c
}

// Ensure trains a run in dir, goes on with it if it was stopped, or uses it if it is finished. A run with other
// settings is refused. say is told what it does.
func (c Config) Ensure(ctx context.Context, dir string, images *dataset.Labeled, o training.Options,
	say func(format string, args ...any)) (training.Result, error) {
	task, err := c.Task(images, Embedded)
	if err != nil {
		return training.Result{}, err
	}
	if !training.IsRun(dir) {
		say("training a network of %d parameters on %d digits, %d epoch(s)", c.Network.Parameters(), images.Len(),
			c.Epochs)
		return training.Train(ctx, dir, c.Config, task, o)
	}
	old, err := ReadConfig(dir)
	if err != nil {
		return training.Result{}, fmt.Errorf("%w; give --fresh to replace the run", err)
	}
	if old.Epochs != c.Epochs || old.Seed != c.Seed || old.Network != c.Network || old.DType != c.DType ||
		old.Backend != c.Backend || old.Data.Images != images.Len() {
		return training.Result{}, fmt.Errorf("%s holds a run with other settings; give --fresh to replace it, or "+
			"another --out", dir)
	}
	say("using the run in %s; --fresh trains anew", dir)
	return training.Resume(ctx, dir, task, o)
}

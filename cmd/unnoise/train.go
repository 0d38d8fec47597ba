package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/ranges"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/writeup"
)

func newTrain() *cobra.Command {
	return group("train", "Train a model", newTrainMNIST(), newTrainText2Image())
}

type trainFlags struct {
	computing
	condition, objective, data, out, resume, from, schedule string
	epochs, batch, dim, timesteps, limit, warmup, validate,
	checkpointEvery int
	lr, decay, dropout, sigma, clip, ema float64
	seed                                 uint64
	noSamples, json                      bool
}

func newTrainMNIST() *cobra.Command {
	var f trainFlags
	cmd := &cobra.Command{
		Use:   "mnist",
		Short: "Train the UNet for digits on MNIST or another IDX set",
		Long: `Trains the UNet for 28×28 images, with these recipes if no flag changes them:

  --condition none    σ = 0.5 denoiser: dim 128, batch 256, 5 epochs, Adam 1e-4
  --condition time    DDPM, T = 300: dim 64, batch 128, 20 epochs, Adam 1e-3 falling
                      towards a tenth, after each epoch by the same factor
  --condition class   the same, conditioned on the class too, hidden for one image in ten

With --objective flow, time and class learn flow matching instead of DDPM, by the same recipe: the
velocity of straight lines from noise to image.

The run is a folder: config.json, metrics.jsonl, checkpoints/ and samples/. Ctrl-C stops after the
step at hand, as do SIGTERM and SIGHUP; --resume goes on from there, or from the latest checkpoint
after a crash, to the same numbers (with another --threads they are added up in another order).

With --resume, --epochs makes the run longer or shorter than it was planned. The learning rate falls
as it was planned, and is constant behind the plan's end. --from begins a new run with a model's
weights; the network is the model's.`,
		Example: `  unnoise train mnist --condition class
  unnoise train mnist --condition time --epochs 5 --out runs/short
  unnoise train mnist --condition class --objective flow
  unnoise train mnist --resume runs/short
  unnoise train mnist --resume runs/short --epochs 10
  unnoise train mnist --from mnist-class --data letters --lr 1e-4`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	choiceFlag(cmd, &f.condition, "condition", "class", "what the network is told besides the image", "none", "time", "class")
	choiceFlag(cmd, &f.objective, "objective", "noise", "what time and class learn to estimate: the noise of DDPM, or the velocity of flow matching", "noise", "flow")
	flags.StringVar(&f.data, "data", "", "folder with an IDX set of 28×28 images (default: the embedded MNIST)")
	completeFolder(cmd, "data")
	flags.StringVar(&f.out, "out", "", "folder for the run (default: runs/mnist-CONDITION-DATE)")
	completeFolder(cmd, "out")
	flags.StringVar(&f.resume, "resume", "", "go on with the run in this folder")
	completeFolder(cmd, "resume")
	flags.StringVar(&f.from, "from", "", "begin with this model's weights: a run's folder, a model folder, or one of 'unnoise model list'")
	completeModels(cmd, "from")
	intFlag(cmd, &f.epochs, "epochs", 0, 0, 1_000_000, "times to go through the set; 0: the recipe's")
	intFlag(cmd, &f.batch, "batch", 0, 0, 65536, "images a step; 0: the recipe's")
	intFlag(cmd, &f.dim, "dim", 0, 0, 4096, "channels of the network's first level; 0: the recipe's")
	intFlag(cmd, &f.timesteps, "timesteps", 0, 0, 1_000_000, "T, for time and class with objective noise; β are scaled to it; 0: the recipe's")
	intFlag(cmd, &f.limit, "limit", 0, 0, 1<<31-1, "train on the first images only; 0: all")
	intFlag(cmd, &f.checkpointEvery, "checkpoint-every", 60, 1, 1_000_000, "seconds between checkpoints; there is one after each epoch besides")
	floatFlag(cmd, &f.lr, "lr", 0, 0, 10, "Adam's learning rate in the first epoch; 0: the recipe's")
	floatFlag(cmd, &f.decay, "decay", 0, 0, 1, "what the learning rate falls to, as a part of --lr; 1 keeps it; 0: the recipe's, or with linear and cosine 0")
	choiceFlag(cmd, &f.schedule, "schedule", training.Exponential, "how it falls: by the same factor after each epoch, by as much after each step, or as half a cosine", training.Exponential, training.Linear, training.Cosine)
	intFlag(cmd, &f.warmup, "warmup", 0, 0, 1_000_000, "steps over which the learning rate rises at first")
	floatFlag(cmd, &f.clip, "clip", 0, 0, 1e6, "largest norm of the gradients of a step; larger ones are scaled down; 0: any")
	floatFlag(cmd, &f.ema, "ema", 0, 0, 0.999999, "decay of the moving average of the parameters, which the kept models have then; 0: none")
	floatFlag(cmd, &f.dropout, "dropout", 0.1, 0, 1, "how often an image's class is hidden, for class")
	floatFlag(cmd, &f.sigma, "sigma", 0, 0, 100, "noise level, for none; 0: the recipe's")
	seedFlag(cmd, &f.seed, "seed of everything random")
	computeFlags(cmd, &f.computing)
	intFlag(cmd, &f.validate, "validate", 0, 0, 1<<31-1, "test images to measure the loss on after each epoch, with the same noise each time; 0: none")
	flags.BoolVar(&f.noSamples, "no-samples", false, "draw no samples after the epochs")
	jsonFlag(cmd, &f.json, "print JSON lines instead of progress")
	return cmd
}

// testLoss is what --validate measures.
const testLoss = "test_loss"

// config is the recipe with what the flags change. from is the network of the model to begin with, or nil.
func (f *trainFlags) config(from *mnistunet.Config) mnist.Config {
	c := mnist.Default(mnistunet.Condition(f.condition))
	set := func(to *int, v int) {
		if v > 0 {
			*to = v
		}
	}
	set(&c.Epochs, f.epochs)
	set(&c.Batch, f.batch)
	set(&c.Network.Dim, f.dim)
	if from != nil {
		c = mnist.Default(from.Condition)
		c.Network = *from
		set(&c.Epochs, f.epochs)
		set(&c.Batch, f.batch)
	} else if f.objective == "flow" {
		c.Network = c.Network.ForFlow()
	} else if c.Network.Condition != mnistunet.None && f.timesteps > 0 {
		c.Network = c.Network.ForTimesteps(f.timesteps)
	}
	setFloat := func(to *float64, v float64) {
		if v > 0 {
			*to = v
		}
	}
	setFloat(&c.LearningRate, f.lr)
	if c.Decay = cmp.Or(f.decay, c.Decay); f.schedule != training.Exponential {
		c.Schedule, c.Decay = f.schedule, f.decay
	}
	if c.Network.Condition == mnistunet.None {
		setFloat(&c.Network.Sigma, f.sigma)
	}
	if c.Network.Condition == mnistunet.Class {
		c.Dropout = f.dropout
	}
	c.Warmup, c.Clip, c.EMA = f.warmup, f.clip, f.ema
	c.Seed, c.DType = f.seed, f.dtype
	return c
}

// misplaced refuses flags that the chosen condition or --resume has no use for.
func (f *trainFlags) misplaced(cmd *cobra.Command) error {
	given := cmd.Flags().Changed
	if f.resume != "" {
		for _, name := range []string{"condition", "objective", "from", "out", "batch", "dim", "timesteps", "limit", "lr", "decay", "schedule", "warmup", "clip", "ema", "dropout", "sigma", "seed", "dtype"} {
			if given(name) {
				return usagef("--%s can't be given with --resume: the run goes on as it was begun", name)
			}
		}
		return nil
	}
	if f.from != "" {
		for _, name := range []string{"condition", "objective", "dim", "timesteps", "sigma"} {
			if given(name) {
				return usagef("--%s can't be given with --from: the network is the model's", name)
			}
		}
		return nil
	}
	for _, of := range []struct{ flag, conditions string }{{"objective", "time class"}, {"sigma", "none"}, {"timesteps", "time class"}, {"dropout", "class"}} {
		if given(of.flag) && !slices.Contains(strings.Fields(of.conditions), f.condition) {
			return usagef("--%s has no meaning with --condition %s", of.flag, f.condition)
		}
	}
	if given("timesteps") && f.timesteps == 1 {
		return usagef("--timesteps: expected at least 2, found 1")
	}
	if f.objective == "flow" && given("timesteps") {
		return usagef("--timesteps has no meaning with --objective flow: its time is continuous")
	}
	return nil
}

func (f *trainFlags) run(cmd *cobra.Command) error {
	if err := f.misplaced(cmd); err != nil {
		return err
	}
	if err := f.trains(); err != nil {
		return err
	}
	var c mnist.Config
	dir := f.out
	if f.resume != "" {
		dir = f.resume
		var err error
		if c, err = mnist.ReadConfig(dir); err != nil {
			return err
		}
		if !cmd.Flags().Changed("backend") {
			f.backend = cmp.Or(c.Backend, onednn.BackendName)
		}
		if !cmd.Flags().Changed("threads") && f.backend == onednn.BackendName {
			f.threads = c.Threads
		}
		f.dtype = c.DType
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	var from training.Start
	if f.resume == "" {
		var network *mnistunet.Config
		if f.from != "" {
			if network, from, err = startFrom(b, f.from); err != nil {
				return fmt.Errorf("--from: %w", err)
			}
		}
		c = f.config(network)
		dir = cmp.Or(dir, fmt.Sprintf("runs/mnist-%s-%s", c.Network.Condition, time.Now().Format("2006-01-02-150405")))
	}
	c.Backend = f.other()
	name, train, test, err := f.openData(dir, c.Data)
	if err != nil {
		return err
	}
	limit := f.limit
	if f.resume != "" {
		limit = c.Data.Images
	}
	if limit > 0 {
		train = train.Head(limit)
	}
	if f.resume == "" && f.from == "" && c.Network.Condition == mnistunet.Class {
		c.Network = c.Network.ForClasses(train.Occurring())
	}
	task, err := c.Task(train, name)
	if err != nil {
		return err
	}

	recipe := c.Config
	recipe.Data = task.Data.Describe()
	if f.resume != "" && f.epochs > 0 {
		recipe = recipe.WithLength(f.epochs)
	}
	out := cmd.OutOrStdout()
	p := newProgress(out)
	show := p.print
	if f.json {
		show = func(string, ...any) {}
		if err := printJSON(out, map[string]any{"version": jsonVersion, "event": "start", "run": dir}); err != nil {
			return err
		}
	}
	show("%s, %s", info, engine.Name(dtype))
	images := fmt.Sprintf("%d images", train.Len())
	if c.Network.Condition == mnistunet.Class {
		classes := c.Network.Occurring()
		images += fmt.Sprintf(" of %d classes (%s)", len(classes), ranges.Format(classes))
	}
	show("%d parameters, %s, run folder %s", c.Network.Parameters(), images, dir)
	show("learning rate (Adam): %s", recipe.Rate())
	for _, note := range train.Notes(test) {
		p.warn(cmd)(note)
	}
	made := 0 // steps
	o := training.Options{
		Backend: b, From: from, Length: f.epochs, CheckpointEvery: time.Duration(f.checkpointEvery) * time.Second,
		Warn: p.warn(cmd),
		OnStep: func(s training.Progress) {
			made++
			if f.json {
				return
			}
			p.update(func() string {
				return fmt.Sprintf("epoch %d/%d  step %d/%d  loss %.4f (mean %.4f)  %.0f images/s  %s left",
					s.Epoch, s.Epochs, s.Step, s.Steps, s.Loss, s.MeanLoss, s.ImagesPerSecond, duration.Format(s.Remaining))
			})
		},
		OnKept: func(k training.Kept) error {
			path := k.Sample
			if f.noSamples {
				path = ""
			}
			if f.json {
				line := map[string]any{"version": jsonVersion, "event": "epoch", "epoch": k.Epoch, "epochs": k.Epochs, "mean_loss": k.MeanLoss, "samples": path}
				if k.Scores != nil {
					line["scores"] = k.Scores
				}
				return printJSON(out, line)
			}
			measured := ""
			if k.Scores != nil {
				measured = fmt.Sprintf("  on test images %.4f", k.Scores[testLoss])
			}
			show("epoch %d/%d  mean loss %.4f%s  %s", k.Epoch, k.Epochs, k.MeanLoss, measured, path)
			return nil
		},
	}
	if !f.noSamples {
		o.Draw = func(ctx context.Context, k training.Kept) error {
			m, err := mnistunet.Load(b, k.ModelDir, dtype)
			if err != nil {
				return err
			}
			defer m.Close()
			return writeup.DrawEpoch(ctx, m, drawDigits, k, test, c.Seed)
		}
	}
	if f.validate > 0 {
		held, err := c.Task(test.Head(f.validate), name)
		if err != nil {
			return fmt.Errorf("--validate: %w", err)
		}
		o.Validate = func(ctx context.Context, k training.Kept) (map[string]float64, error) {
			loss, err := k.Loss(ctx, held.Data, held.Data.Describe().Images)
			return map[string]float64{testLoss: loss}, err
		}
	}
	var r training.Result
	start := time.Now()
	if f.resume != "" {
		r, err = training.Resume(cmd.Context(), dir, task, o)
	} else {
		r, err = training.Train(cmd.Context(), dir, c.Config, task, o)
	}
	p.clear()
	if err != nil {
		return howToGoOn(err, "train mnist", dir)
	}
	if f.json {
		return printJSON(out, map[string]any{"version": jsonVersion, "event": "end", "run": r.Dir, "model": r.ModelDir, "steps": r.Steps, "mean_loss": r.MeanLoss, "seconds": time.Since(start).Seconds()})
	}
	if made == 0 {
		show("The run was finished already. It goes on with a larger --epochs.")
	}
	show("%d steps, mean loss of the last epoch %.4f, %s", r.Steps, r.MeanLoss, duration.Format(time.Since(start)))
	if c.Network.Condition != mnistunet.None {
		show("Draw digits with: unnoise sample --model %s --out digits.png", shell.Quote(r.Dir))
	}
	return nil
}

// startFrom opens the model of --from.
func startFrom(b compute.Backend, path string) (*mnistunet.Config, training.Start, error) {
	place, err := registry.Find(path)
	if err != nil {
		return nil, training.Start{}, err
	}
	m, err := place.Digits(registry.Options{Backend: b, DType: dtypes.Float32})
	if err != nil {
		return nil, training.Start{}, err
	}
	defer m.Close()
	values, err := m.Tensors()
	return &m.Config, training.Start{Name: path, Values: values}, err
}

// howToGoOn says with what stopped a run how to go on.
func howToGoOn(err error, verb, dir string) error {
	resume := fmt.Sprintf("unnoise %s --resume %s", verb, shell.Quote(dir))
	var stopped *training.StoppedError
	var exists *training.ExistsError
	var diverged *training.DivergedError
	switch full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT); {
	case errors.As(err, &stopped), errors.As(err, &exists):
		return fmt.Errorf("%w\nGo on with: %s", err, resume)
	case errors.As(err, &diverged):
		return fmt.Errorf("%w (--lr, --dtype f32, --out)", err)
	case full && training.IsRun(dir):
		return fmt.Errorf("%w\nMake room, then go on with: %s", err, resume)
	case full:
		return fmt.Errorf("%w\nMake room, or choose a folder on another disk with --out", err)
	}
	return err
}

// openData opens the images of --data, or those that a run to go on with has learned from.
func (f *trainFlags) openData(dir string, data training.Data) (name string, train, test *dataset.Labeled, err error) {
	if f.resume == "" || f.data != "" {
		return openFlagData(f.data)
	}
	if train, test, err = mnist.OpenDataOf(dir, data); err != nil {
		err = fmt.Errorf("%w. Say where they are now with --data", err)
	}
	return data.Name, train, test, err
}

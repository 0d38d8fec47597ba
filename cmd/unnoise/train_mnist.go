package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/drawdigits"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/writeup"
)

type trainFlags struct {
	recipeFlags
	mnist.Choice
	condition, objective string
	limit, validate      int
}

func newTrainMNIST() *cobra.Command { return new(trainFlags).verb() }

func (f *trainFlags) verb() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mnist", Short: "Train the UNet for digits on MNIST or another IDX set",
		Long: `Trains the UNet for 28×28 images, with these recipes if no flag changes them:

  --condition none    σ = 0.5 denoiser: dim 128, batch 256, 5 epochs, Adam 1e-4
  --condition time    DDPM, T = 300: dim 64, batch 128, 20 epochs, Adam 1e-3 falling
                      towards a tenth, after each epoch by the same factor
  --condition class   the same, conditioned on the class too, hidden for one image in ten

With --pure-noise, none is given noise alone, with no digit behind it, by the same recipe: the best
answer is then the mean of all digits.

With --objective flow, time and class learn flow matching instead of DDPM, by the same recipe: the
velocity of straight lines from noise to image.

` + aboutRuns + `

With --resume, --epochs makes the run longer or shorter than it was planned. The learning rate falls
as it was planned, and is constant behind the plan's end. --from begins a new run with a model's
weights; the network is the model's.`,
		Example: `  unnoise train mnist --condition class
  unnoise train mnist --condition time --epochs 5 --out runs/short
  unnoise train mnist --condition class --objective flow
  unnoise train mnist --condition none --pure-noise --dim 8 --batch 64 --lr 1e-3 --limit 10000
  unnoise train mnist --resume runs/short
  unnoise train mnist --resume runs/short --epochs 10
  unnoise train mnist --from mnist-class --data letters --lr 1e-4`,
		Args: cli.NoArgs, RunE: cli.Run(f.run),
	}
	cli.Choice(cmd, &f.condition, "condition", "class", "what the network is told besides the image", "none", "time",
		"class")
	cli.Choice(cmd, &f.objective, "objective", "noise",
		"what time and class learn to estimate: the noise of DDPM, or the velocity of flow matching", "noise", "flow")
	cli.Folder(cmd, &f.data, "data", "", "folder with an IDX set of 28×28 images (default: the embedded MNIST)")
	cli.Int(cmd, &f.given.Epochs, "epochs", 0, 0, 1_000_000, "times to go through the set; 0: the recipe's")
	cli.Int(cmd, &f.Dim, "dim", 0, 0, 4096, "channels of the network's first level; 0: the recipe's")
	cli.Int(cmd, &f.Timesteps, "timesteps", 0, 0, 1_000_000,
		"T, for time and class with objective noise; β are scaled to it; 0: the recipe's")
	cli.Int(cmd, &f.limit, "limit", 0, 0, 1<<31-1, "train on the first images only; 0: all")
	cli.Float(cmd, &f.given.Dropout, "dropout", 0.1, 0, 1, "how often an image's class is hidden, for class")
	cli.Float(cmd, &f.Sigma, "sigma", 0, 0, 100, "noise level, for none; 0: the recipe's")
	cmd.Flags().BoolVar(&f.PureNoise, "pure-noise", false, "learn from noise alone, with no image behind it, for none")
	cli.Int(cmd, &f.validate, "validate", 0, 0, 1<<31-1,
		"test images to measure the loss on after each epoch, with the same noise each time; 0: none")
	f.add(cmd, training.Config{}, 60)
	return cmd
}

// config is the recipe with what the flags change. from is the network of the model to begin with, or nil.
func (f *trainFlags) config(cmd *cobra.Command, from *mnistunet.Config) (mnist.Config, error) {
	f.From, f.Condition, f.Flow = from, mnistunet.Condition(f.condition), f.objective == "flow"
	c := f.Config()
	return c, f.change(cmd, &c.Config)
}

// misplaced refuses flags that the chosen condition, --resume or --from has no use for.
func (f *trainFlags) misplaced(cmd *cobra.Command) error {
	network := []string{"condition", "objective", "dim", "timesteps", "sigma", "pure-noise"}
	if f.resume != "" {
		return cli.Refuse(cmd, goesOn, slices.Concat(fixed, network, []string{"limit"})...)
	}
	if f.from != "" {
		return cli.Refuse(cmd, "can't be given with --from: the network is the model's", network...)
	}
	given := cmd.Flags().Changed
	for _, of := range []struct{ flag, conditions string }{{"objective", "time class"}, {"sigma", "none"},
		{"pure-noise", "none"}, {"timesteps", "time class"}, {"dropout", "class"}} {
		if given(of.flag) && !slices.Contains(strings.Fields(of.conditions), f.condition) {
			return cli.Usagef("--%s has no meaning with --condition %s", of.flag, f.condition)
		}
	}
	if f.PureNoise && given("sigma") {
		return cli.Usagef("--sigma has no meaning with --pure-noise: there is nothing but noise")
	}
	if given("timesteps") && f.Timesteps == 1 {
		return cli.Usagef("--timesteps: expected at least 2, found 1")
	}
	if f.objective == "flow" && given("timesteps") {
		return cli.Usagef("--timesteps has no meaning with --objective flow: its time is continuous")
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
	var err error
	if f.resume != "" {
		if c, err = mnist.ReadConfig(f.resume); err != nil {
			return err
		}
		f.goOn(cmd, c.Config)
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	var from training.Start
	if f.resume == "" {
		var start *mnistunet.Config
		if f.from != "" {
			var network mnistunet.Config
			if network, from, err = registry.Start(b, f.from); err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			start = &network
		}
		if c, err = f.config(cmd, start); err != nil {
			return err
		}
	}
	c.Backend = f.other()
	dir := f.folder("mnist-" + string(c.Network.Condition))
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
	o := training.Options{Backend: b, From: from}
	if !f.noSamples {
		o.Draw = writeup.EpochDrawer(b, dtype, drawdigits.Draw, test, c.Seed)
	}
	if f.validate > 0 {
		if o.Validate, err = c.Measure(test.Head(f.validate), name); err != nil {
			return fmt.Errorf("--validate: %w", err)
		}
	}
	run := trainRun{recipeFlags: &f.recipeFlags, dir: dir, config: c.Config, task: task, options: o,
		notes: train.Notes(test)}
	run.about = []string{fmt.Sprintf("%s, %s", info, engine.Name(dtype)), c.About(train)}
	if c.Network.Condition != mnistunet.None {
		run.then = fmt.Sprintf("Draw digits with: unnoise sample --model %s --out digits.png", shell.Quote(dir))
	}
	return run.run(cmd)
}

// openData opens the images of --data, or those that a run to go on with has learned from.
func (f *trainFlags) openData(dir string, data training.Data) (name string, train, test *dataset.Labeled, err error) {
	if f.resume == "" || f.data != "" {
		return openData(f.data)
	}
	if train, test, err = mnist.OpenDataOf(dir, data); err != nil {
		err = fmt.Errorf("%w. Say where they are now with --data", err)
	}
	return data.Name, train, test, err
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/text2image"
	"github.com/unnoise/unnoise/training"
)

type trainText2ImageFlags struct {
	recipeFlags
	stage, half, keepEvery int
}

func newTrainText2Image() *cobra.Command {
	var f trainText2ImageFlags
	cmd := &cobra.Command{
		Use:   "text2image",
		Short: "Train a text-to-image model on pictures with captions",
		Long: `Trains a text encoder and a UNet of DeepFloyd IF's classes for 32×32 pictures from captions, both from
random values: v-prediction by Adam, with a learning rate that rises at first and then falls as half a
cosine. The models that are kept have averages of the parameters.

The pictures are those of 'unnoise dataset emoji', or any folder with captions: metadata.jsonl, or a
.txt beside each. The first ones come in half the size, which costs a quarter.

` + aboutRuns + `

Each kept model is a folder in the hub's layout, which diffusers' IFPipeline loads too. With --resume,
--steps makes the run longer or shorter than it was planned. --from begins a new run with a model's
weights and its vocabulary.

--stage 2 trains the second stage, which makes 128×128 of 32×32, on crops. It is told the small picture,
noised, and no text. diffusers' IFSuperResolutionPipeline loads it.`,
		Example: `  unnoise dataset emoji
  unnoise train text2image --out runs/emoji
  unnoise train text2image --resume runs/emoji
  unnoise train text2image --data pictures --steps 5000
  unnoise train text2image --stage 2 --out runs/emoji2`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	recipe, second := text2image.Recipe(), text2image.SecondRecipe()
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "",
		"folder with pictures and captions (default: where 'unnoise dataset emoji' puts them)")
	completeFolder(cmd, "data")
	intFlag(cmd, &f.length, "steps", 0, 0, 1_000_000_000,
		fmt.Sprintf("steps of the run; 0: %d, %d with --stage 2, or as it was planned", recipe.Steps, second.Steps))
	intFlag(cmd, &f.stage, "stage", 1, 1, 2, fmt.Sprintf("1: from captions to 32×32; 2: from 32×32 to 128×128, by "+
		"default with --keep-every %d --batch %d --warmup %d --ema %g", second.KeepEvery, second.Batch, second.Warmup,
		second.EMA))
	intFlag(cmd, &f.half, "half", text2image.Half, 0, 1_000_000_000, "pictures that come first in half the size")
	intFlag(cmd, &f.keepEvery, "keep-every", recipe.KeepEvery, 1, 1_000_000_000,
		"steps between the models that are kept, each with a sheet of samples")
	floatFlag(cmd, &f.dropout, "dropout", recipe.Dropout, 0, 1, "how often a caption is hidden, for guidance")
	f.add(cmd, recipe, 300)
	return cmd
}

func (f *trainText2ImageFlags) run(cmd *cobra.Command) error {
	if err := f.trains(); err != nil {
		return err
	}
	c, err := f.recipe(cmd)
	if err != nil {
		return err
	}
	name := cmp.Or(f.data, c.Data.Name)
	if name == "" {
		if name, err = cachedir.Path("data", "emoji"); err != nil {
			return err
		}
		if _, err := os.Stat(name); err != nil {
			return errors.New(
				"there are no pictures to learn from: make them with 'unnoise dataset emoji', or give --data")
		}
	}
	train, held, err := emoji.OpenAny(name)
	if err != nil {
		return err
	}
	if f.stage == 2 {
		return f.second(cmd, c, name, train, held)
	}
	network, from, err := f.network(cmd, c, train)
	if err != nil {
		return err
	}
	task, err := text2image.Task(network, train, name, c)
	if err != nil {
		return err
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	c.Backend = f.other()

	o := training.Options{Backend: b, From: from}
	if !f.noSamples {
		look := text2image.Look{Backend: b, DType: dtype, Network: network, Held: held, Batch: c.Batch}
		o.Draw, o.Validate = look.Draw, look.Measure
	}
	return trainRun{
		recipeFlags: &f.recipeFlags, dir: f.folder("text2image"), config: c, task: task, options: o,
		about: []string{fmt.Sprintf("%s, %s", info, engine.Name(dtype)),
			fmt.Sprintf("%d parameters, %d pictures", network.Parameters(), train.Len())},
		then: fmt.Sprintf("Draw with: unnoise generate --model %s --prompt \"a rocket\"",
			shell.Quote(f.folder("text2image"))),
	}.run(cmd)
}

// second trains a second stage.
func (f *trainText2ImageFlags) second(cmd *cobra.Command, c training.Config, name string, train,
	held captioned.Source) error {
	network, err := text2image.NewSecondStage()
	if f.resume != "" {
		if network, err = text2image.ReadSecondStage(c.Network); err != nil {
			err = fmt.Errorf("%s: network: %w", filepath.Join(f.resume, "config.json"), err)
		}
	}
	if err != nil {
		return err
	}
	task, err := text2image.SecondTask(network, train, name, c)
	if err != nil {
		return err
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	c.Backend = f.other()
	o := training.Options{Backend: b}
	if !f.noSamples {
		if held == nil {
			held = train
		}
		look := text2image.SecondLook{Backend: b, DType: dtype, Network: network, Source: held}
		o.Draw, o.Validate = look.Draw, look.Measure
	}
	dir := f.folder("text2image")
	return trainRun{
		recipeFlags: &f.recipeFlags, dir: dir, config: c, task: task, options: o,
		about: []string{fmt.Sprintf("%s, %s", info, engine.Name(dtype)),
			fmt.Sprintf("second stage, %d parameters, %d pictures", network.Parameters(), train.Len())},
		then: fmt.Sprintf("Draw with: unnoise generate --model FIRST --upscale %s --prompt \"a rocket\"",
			shell.Quote(dir)),
	}.run(cmd)
}

// recipe is the run's.
func (f *trainText2ImageFlags) recipe(cmd *cobra.Command) (training.Config, error) {
	if f.stage == 2 && f.resume == "" {
		if err := refuse(cmd, "--stage 2, which reads no text and begins anew", "half", "dropout", "from"); err != nil {
			return training.Config{}, err
		}
		c := text2image.SecondRecipe()
		f.defaults(cmd, c)
		c.Steps = cmp.Or(f.length, c.Steps)
		if cmd.Flags().Changed("keep-every") {
			c.KeepEvery = f.keepEvery
		}
		return c, f.apply(&c)
	}
	if f.resume == "" {
		c := text2image.Recipe()
		c.Steps, c.KeepEvery, c.Dropout = cmp.Or(f.length, c.Steps), f.keepEvery, f.dropout
		return c, f.apply(&c)
	}
	if err := refuse(cmd, "--resume: the run goes on as it was begun",
		append(fixed, "stage", "half", "keep-every")...); err != nil {
		return training.Config{}, err
	}
	c, err := training.ReadConfig(f.resume)
	if err != nil {
		return c, err
	}
	f.goOn(cmd, c)
	f.stage = 1
	if _, err := text2image.ReadSecondStage(c.Network); err == nil {
		f.stage = 2
	}
	return c, nil
}

// network is the run's, that of the model to begin with, or a new one with the words of the captions.
func (f *trainText2ImageFlags) network(cmd *cobra.Command, c training.Config,
	train captioned.Source) (*text2image.Network, training.Start, error) {
	var from training.Start
	if f.resume != "" {
		n, err := text2image.Read(c.Network)
		if err != nil {
			err = fmt.Errorf("%s: network: %w", filepath.Join(f.resume, "config.json"), err)
		}
		return n, from, err
	}
	if f.from != "" {
		place, err := registry.Find(f.from)
		if err == nil && place.Kind != registry.Pipeline {
			err = fmt.Errorf("%s is no text-to-image model", f.from)
		}
		if err != nil {
			return nil, from, fmt.Errorf("--from: %w", err)
		}
		n, values, err := text2image.From(place.Dir)
		if err != nil {
			return nil, from, fmt.Errorf("--from: %w", err)
		}
		if cmd.Flags().Changed("half") { // it knows words and colors by now
			n.Half = f.half
		}
		return n, training.Start{Name: f.from, Values: values}, nil
	}
	n, err := text2image.FromCaptions(train, c.Seed)
	if err != nil {
		return nil, from, err
	}
	n.Half = f.half
	return n, from, nil
}

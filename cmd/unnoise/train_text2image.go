package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/text2image"
	"github.com/unnoise/unnoise/training"
)

type trainText2ImageFlags struct {
	recipeFlags
	stage, half int
	text        string
	frozen      bool
	even        bool
}

func newTrainText2Image() *cobra.Command {
	var f trainText2ImageFlags
	cmd := &cobra.Command{
		Use: "text2image", Short: "Train a text-to-image model on pictures with captions",
		Long: `Trains a text encoder and a UNet of DeepFloyd IF's classes for 32×32 pictures from captions, both from
random values: v-prediction by Adam, with a learning rate that rises at first and then falls as half a
cosine. The models that are kept have averages of the parameters.

The pictures are those of 'unnoise dataset emoji', or any folder with captions: metadata.jsonl, or a
.txt beside each. The first ones come in half the size, which takes half the time.

` + aboutRuns + `

Each kept model is a folder in the hub's layout, which diffusers' IFPipeline loads too. With --resume,
--steps makes the run longer or shorter than it was planned. --from begins a new run with a model's
weights and its vocabulary; with --stage 0 with its text encoder's.

--stage 0 trains the text encoder alone, to estimate the mean picture of a caption in 16×16. That is
quick, with --batch 256 or more. --text begins a first stage with it; --freeze-text leaves it as it is,
which small batches would spoil.

--stage 2 trains the second stage, which makes 128×128 of 32×32, on crops. It is told the small picture,
noised, and no text. diffusers' IFSuperResolutionPipeline loads it.`,
		Example: `  unnoise dataset emoji
  unnoise train text2image --out runs/emoji
  unnoise train text2image --resume runs/emoji
  unnoise train text2image --data pictures --steps 5000
  unnoise train text2image --stage 2 --out runs/emoji2`,
		Args: cli.NoArgs, RunE: cli.Run(f.run),
	}
	recipe, second := text2image.Recipe(), text2image.SecondRecipe()
	cli.Folder(cmd, &f.data, "data", "",
		"folder with pictures and captions (default: where 'unnoise dataset emoji' puts them)")
	cli.Int(cmd, &f.given.Steps, "steps", 0, 0, 1_000_000_000,
		fmt.Sprintf("steps of the run; 0: %d, %d with --stage 2, or as it was planned", recipe.Steps, second.Steps))
	cli.Folder(cmd, &f.text, "text", "", "begin with this text encoder: a run's of --stage 0, or its model's")
	cmd.Flags().BoolVar(&f.frozen, "freeze-text", false, "leave the text encoder as it is: the UNet learns alone")
	cmd.Flags().BoolVar(&f.even, "even-timesteps", false, "learn at all timesteps as often; not: half of the time in the "+
		"last quarter of the schedule, where the caption tells most")
	cli.Int(cmd, &f.stage, "stage", 1, 0, 2, fmt.Sprintf("0: the text encoder alone, from captions to pictures' "+
		"means; 1: from captions to 32×32; 2: from 32×32 to 128×128, by "+
		"default with --keep-every %d --batch %d --warmup %d --ema %g", second.KeepEvery, second.Batch, second.Warmup,
		second.EMA))
	cli.Int(cmd, &f.half, "half", text2image.Half, 0, 1_000_000_000, "pictures that come first in half the size")
	cli.Int(cmd, &f.given.KeepEvery, "keep-every", recipe.KeepEvery, 1, 1_000_000_000,
		"steps between the models that are kept, each with a sheet of samples")
	cli.Float(cmd, &f.given.Dropout, "dropout", recipe.Dropout, 0, 1, "how often a caption is hidden, for guidance")
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
	set := text2image.Set{Name: cmp.Or(f.data, c.Data.Name)}
	if set.Name == "" {
		if set.Name, err = emoji.DefaultDir(); err != nil {
			return err
		}
		if !emoji.Is(set.Name) {
			return errors.New(
				"there are no pictures to learn from: make them with 'unnoise dataset emoji', or give --data")
		}
	}
	if set.Train, set.Held, err = emoji.OpenAny(set.Name); err != nil {
		return err
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	c.Backend = f.other()
	r, err := f.prepare(cmd, c, set)
	if err != nil {
		return err
	}
	if f.text != "" {
		text, err := training.ModelDir(f.text)
		if err == nil {
			err = r.WithText(f.text, text)
		}
		if err != nil {
			return fmt.Errorf("--text: %w", err)
		}
	}
	dir := f.folder("text2image")
	then := fmt.Sprintf("Draw with: unnoise generate --model %s --prompt \"a rocket\"", shell.Quote(dir))
	switch f.stage {
	case 0:
		then = "Begin a first stage with it: unnoise train text2image --text " + shell.Quote(dir)
	case 2:
		then = fmt.Sprintf("Draw with: unnoise generate --model FIRST --upscale %s --prompt \"a rocket\"",
			shell.Quote(dir))
	}
	return trainRun{recipeFlags: &f.recipeFlags, dir: dir, config: r.Config, task: r.Task,
		options: r.Options(b, dtype, !f.noSamples), kept: func() error { return text2image.WriteCurves(dir) },
		about: []string{fmt.Sprintf("%s, %s", info, engine.Name(dtype)), r.About},
		then:  then,
	}.run(cmd)
}

// prepare makes the run: the one to go on with, one that begins with a model, or a new one.
func (f *trainText2ImageFlags) prepare(cmd *cobra.Command, c training.Config, set text2image.Set) (text2image.Run,
	error) {
	var none text2image.Run
	switch {
	case f.resume != "":
		r, err := text2image.OldRun(c, set)
		if err != nil {
			err = fmt.Errorf("%s: %w", filepath.Join(f.resume, "config.json"), err)
		}
		return r, err
	case f.from != "":
		place, err := registry.FindPipeline(f.from)
		if err != nil {
			return none, fmt.Errorf("--from: %w", err)
		}
		r, err := f.begin(cmd, place.Dir, c, set)
		if err != nil {
			err = fmt.Errorf("--from: %w", err)
		}
		return r, err
	case f.stage == 2:
		n, err := text2image.NewSecondStage()
		if err != nil {
			return none, err
		}
		return text2image.SecondRun(n, c, set)
	}
	n, err := text2image.FromCaptions(set.Train, c.Seed)
	if err != nil {
		return none, err
	}
	if f.stage == 0 {
		return text2image.TextRun(text2image.NewTextStage(n), c, set)
	}
	n.Half, n.Frozen, n.Even = f.half, f.frozen, f.even
	return text2image.FirstRun(n, c, set)
}

// begin makes a run that begins with the model in dir.
func (f *trainText2ImageFlags) begin(cmd *cobra.Command, dir string, c training.Config, set text2image.Set) (
	text2image.Run, error) {
	switch f.stage {
	case 0:
		return text2image.TextRunFrom(f.from, dir, c, set)
	case 2:
		return text2image.SecondRunFrom(f.from, dir, c, set)
	}
	var half *int
	if cmd.Flags().Changed("half") {
		half = &f.half
	}
	return text2image.RunFrom(f.from, dir, half, f.frozen, f.even, c, set)
}

// recipe is the run's.
func (f *trainText2ImageFlags) recipe(cmd *cobra.Command) (c training.Config, err error) {
	switch {
	case f.resume != "":
		if err := cli.Refuse(cmd, goesOn, append(fixed, "stage", "text", "freeze-text", "even-timesteps", "half",
			"keep-every")...); err != nil {
			return c, err
		}
		if c, err = training.ReadConfig(f.resume); err != nil {
			return c, err
		}
		f.goOn(cmd, c)
		f.stage = text2image.StageOf(c)
		return c, nil
	case f.stage == 2:
		err := cli.Refuse(cmd, "can't be given with --stage 2, which reads no text", "half", "dropout", "text",
			"freeze-text", "even-timesteps")
		if err != nil {
			return c, err
		}
		c = text2image.SecondRecipe()
	case f.stage == 0:
		err := cli.Refuse(cmd, "can't be given with --stage 0, which is a text encoder's", "half", "text",
			"freeze-text", "even-timesteps")
		if err != nil {
			return c, err
		}
		c = text2image.Recipe()
	default:
		c = text2image.Recipe()
	}
	return c, f.change(cmd, &c)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/text2image"
	"github.com/unnoise/unnoise/training"
)

type trainText2ImageFlags struct {
	recipeFlags
	half, keepEvery int
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
weights and its vocabulary.`,
		Example: `  unnoise dataset emoji
  unnoise train text2image --out runs/emoji
  unnoise train text2image --resume runs/emoji
  unnoise train text2image --data pictures --steps 5000`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	recipe := text2image.Recipe()
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "folder with pictures and captions (default: where 'unnoise dataset emoji' puts them)")
	completeFolder(cmd, "data")
	intFlag(cmd, &f.length, "steps", 0, 0, 1_000_000_000, fmt.Sprintf("steps of the run; 0: %d, or as it was planned", recipe.Steps))
	intFlag(cmd, &f.half, "half", text2image.Half, 0, 1_000_000_000, "pictures that come first in half the size")
	intFlag(cmd, &f.keepEvery, "keep-every", recipe.KeepEvery, 1, 1_000_000_000, "steps between the models that are kept, each with a sheet of samples")
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
			return errors.New("there are no pictures to learn from: make them with 'unnoise dataset emoji', or give --data")
		}
	}
	train, held, err := openCaptioned(name)
	if err != nil {
		return err
	}
	network, from, err := f.network(cmd, c, train)
	if err != nil {
		return err
	}
	task, err := text2imageTask(network, train, name, c)
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
		look := text2imageLook{b: b, dtype: dtype, network: network, held: held, batch: c.Batch}
		o.Draw, o.Validate = look.draw, look.measure
	}
	return trainRun{
		recipeFlags: &f.recipeFlags, dir: f.folder("text2image"), config: c, task: task, options: o,
		about: []string{fmt.Sprintf("%s, %s", info, engine.Name(dtype)), fmt.Sprintf("%d parameters, %d pictures", network.Parameters(), train.Len())},
		then:  fmt.Sprintf("Draw with: unnoise generate --model %s --prompt \"a rocket\"", shell.Quote(f.folder("text2image"))),
	}.run(cmd)
}

// recipe is the run's.
func (f *trainText2ImageFlags) recipe(cmd *cobra.Command) (training.Config, error) {
	if f.resume == "" {
		c := text2image.Recipe()
		c.Steps, c.KeepEvery, c.Dropout = cmp.Or(f.length, c.Steps), f.keepEvery, f.dropout
		return c, f.apply(&c)
	}
	if err := refuse(cmd, "--resume: the run goes on as it was begun", append(fixed, "half", "keep-every")...); err != nil {
		return training.Config{}, err
	}
	c, err := training.ReadConfig(f.resume)
	f.goOn(cmd, c)
	return c, err
}

// network is the run's, that of the model to begin with, or a new one with the words of the captions.
func (f *trainText2ImageFlags) network(cmd *cobra.Command, c training.Config, train captioned.Source) (*text2image.Network, training.Start, error) {
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
	captions := make([]string, text2image.Captions)
	for i := range captions {
		var err error
		if captions[i], err = train.Caption(c.Seed, i); err != nil {
			return nil, from, err
		}
	}
	n, err := text2image.New(captions, text2image.Words)
	if err != nil {
		return nil, from, err
	}
	n.Half = f.half
	return n, from, nil
}

func text2imageTask(n *text2image.Network, train captioned.Source, name string, c training.Config) (training.Task, error) {
	pictures, err := text2image.NewPictures(text2image.Pictures{Source: train, Network: n, Name: name, Seed: c.Seed, Dropout: c.Dropout})
	if err != nil {
		return training.Task{}, err
	}
	o, err := text2image.NewObjective()
	return training.Task{Network: n, Data: pictures, Objective: o}, err
}

// text2imageLook looks at models that are kept.
type text2imageLook struct {
	b       compute.Backend
	dtype   dtypes.DType
	network *text2image.Network
	held    captioned.Source // nil where nothing is held out
	batch   int
}

// side is that of the pictures that the step before k learned from.
func (l text2imageLook) side(k training.Kept) int {
	if (k.Step-1)*l.batch < l.network.Half {
		return l.network.Side() / 2
	}
	return l.network.Side()
}

func (l text2imageLook) open(k training.Kept) (*deepfloyd.Pipeline, error) {
	return deepfloyd.OpenPipeline(l.b, k.ModelDir, deepfloyd.Options{DType: l.dtype})
}

// draw draws a sheet of prompts.
func (l text2imageLook) draw(ctx context.Context, k training.Kept) error {
	m, err := l.open(k)
	if err != nil {
		return err
	}
	defer m.Close()
	const columns, guidance, steps, pixels = 4, 3, 25, 128
	x, err := text2image.Draw(ctx, m, text2image.Prompts, text2image.Sampling{Size: l.side(k), Steps: steps, Guidance: guidance})
	if err != nil {
		return err
	}
	picture, err := figure.Grid{Images: x, Columns: columns, Scale: max(1, pixels/x.H), Padding: 4}.Draw()
	if err != nil {
		return err
	}
	var parameters figure.Parameters
	parameters.Add("Software", "unnoise "+build.Commit())
	parameters.Add("model", k.ModelDir)
	parameters.Add("prompts", strings.Join(text2image.Prompts, "; "))
	parameters.Add("sampler", "ddim")
	parameters.Add("steps", steps)
	parameters.Add("guidance", guidance)
	return figure.WritePNG(k.Sample, picture, parameters)
}

// measure tells the errors on pictures that are held out, by band of t.
func (l text2imageLook) measure(ctx context.Context, k training.Kept) (map[string]float64, error) {
	if l.held == nil {
		return nil, nil
	}
	m, err := l.open(k)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	const pictures = 64
	all, err := text2image.Errors(ctx, m, l.held, l.side(k), pictures)
	if err != nil {
		return nil, err
	}
	scores := map[string]float64{}
	for band, e := range all {
		scores[fmt.Sprintf("error_t%d", band*text2image.Timesteps/text2image.Bands)] = e
	}
	return scores, nil
}

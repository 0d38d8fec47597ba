package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/text2image"
	"github.com/unnoise/unnoise/training"
)

type trainText2ImageFlags struct {
	computing
	data, out, resume                              string
	steps, batch, half, keepEvery, checkpointEvery int
	lr                                             float64
	seed                                           uint64
	noSamples, json                                bool
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

The run is a folder: config.json, metrics.jsonl, checkpoints/ and samples/. Each kept model is a folder
in the hub's layout, which diffusers' IFPipeline loads too. Ctrl-C stops after the step at hand;
--resume goes on from there, also on another machine. --steps makes a resumed run longer or shorter.`,
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
	flags.StringVar(&f.out, "out", "", "folder for the run (default: runs/text2image-DATE)")
	completeFolder(cmd, "out")
	flags.StringVar(&f.resume, "resume", "", "go on with the run in this folder")
	completeFolder(cmd, "resume")
	intFlag(cmd, &f.steps, "steps", 0, 0, 1_000_000_000, fmt.Sprintf("steps of the run; 0: %d, or as it was planned", recipe.Steps))
	intFlag(cmd, &f.batch, "batch", recipe.Batch, 1, 65536, "pictures a step")
	intFlag(cmd, &f.half, "half", text2image.Half, 0, 1_000_000_000, "pictures that come first in half the size")
	floatFlag(cmd, &f.lr, "lr", recipe.LearningRate, 0, 10, "learning rate after the warm-up")
	intFlag(cmd, &f.keepEvery, "keep-every", recipe.KeepEvery, 1, 1_000_000_000, "steps between the models that are kept, each with a sheet of samples")
	intFlag(cmd, &f.checkpointEvery, "checkpoint-every", 300, 1, 1_000_000, "seconds between checkpoints; there is one with each kept model besides")
	seedFlag(cmd, &f.seed, "seed of everything random")
	computeFlags(cmd, &f.computing)
	flags.BoolVar(&f.noSamples, "no-samples", false, "draw no samples, and measure nothing, when a model is kept")
	jsonFlag(cmd, &f.json, "print JSON lines instead of progress")
	return cmd
}

func (f *trainText2ImageFlags) run(cmd *cobra.Command) error {
	if err := f.trains(); err != nil {
		return err
	}
	c, dir, err := f.recipe(cmd)
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
	network, err := f.network(c, train)
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
	show("%d parameters, %d pictures, run folder %s", network.Parameters(), train.Len(), dir)
	made := 0 // steps
	o := training.Options{
		Backend: b, Length: f.steps, CheckpointEvery: time.Duration(f.checkpointEvery) * time.Second, Warn: p.warn(cmd),
		OnStep: func(s training.Progress) {
			made++
			if !f.json {
				p.update(func() string {
					return fmt.Sprintf("step %d/%d  loss %.4f (mean %.4f)  %.0f pictures/s  %s left",
						s.RunStep, s.RunSteps, s.Loss, s.MeanLoss, s.ImagesPerSecond, duration.Format(s.Remaining))
				})
			}
		},
		OnKept: func(k training.Kept) error {
			path := k.Sample
			if f.noSamples {
				path = ""
			}
			if f.json {
				return printJSON(out, map[string]any{"version": jsonVersion, "event": "kept", "step": k.Step, "mean_loss": k.MeanLoss, "scores": k.Scores, "samples": path})
			}
			show("step %d/%d  mean loss %.4f  %s", k.Step, k.Steps, k.MeanLoss, path)
			return nil
		},
	}
	if !f.noSamples {
		look := text2imageLook{b: b, dtype: dtype, network: network, held: held, batch: c.Batch}
		o.Draw, o.Validate = look.draw, look.measure
	}
	var r training.Result
	start := time.Now()
	if f.resume != "" {
		r, err = training.Resume(cmd.Context(), dir, task, o)
	} else {
		r, err = training.Train(cmd.Context(), dir, c, task, o)
	}
	p.clear()
	if err != nil {
		return howToGoOn(err, "train text2image", dir)
	}
	if f.json {
		return printJSON(out, map[string]any{"version": jsonVersion, "event": "end", "run": r.Dir, "model": r.ModelDir, "steps": r.Steps, "mean_loss": r.MeanLoss, "seconds": time.Since(start).Seconds()})
	}
	if made == 0 {
		show("The run was finished already. It goes on with a larger --steps.")
	}
	show("%d steps, mean loss of the last ones %.4f, %s", r.Steps, r.MeanLoss, duration.Format(time.Since(start)))
	show("Draw with: unnoise generate --model %s --prompt \"a rocket\"", shell.Quote(r.ModelDir))
	return nil
}

// recipe is the run's, and its folder.
func (f *trainText2ImageFlags) recipe(cmd *cobra.Command) (c training.Config, dir string, err error) {
	if f.resume == "" {
		c = text2image.Recipe()
		c.Batch, c.LearningRate, c.KeepEvery, c.Seed, c.DType = f.batch, f.lr, f.keepEvery, f.seed, f.dtype
		c.Steps = cmp.Or(f.steps, c.Steps)
		return c, cmp.Or(f.out, "runs/text2image-"+time.Now().Format("2006-01-02-150405")), nil
	}
	for _, flag := range []string{"out", "batch", "half", "lr", "keep-every", "seed", "dtype"} {
		if cmd.Flags().Changed(flag) {
			return c, "", usagef("--%s can't be given with --resume: the run goes on as it was begun", flag)
		}
	}
	if c, err = training.ReadConfig(f.resume); err != nil {
		return c, "", err
	}
	if !cmd.Flags().Changed("backend") {
		f.backend = cmp.Or(c.Backend, onednn.BackendName)
	}
	f.dtype = c.DType
	return c, f.resume, nil
}

// network is the run's, or a new one with the words of the captions.
func (f *trainText2ImageFlags) network(c training.Config, train captioned.Source) (*text2image.Network, error) {
	if f.resume != "" {
		n, err := text2image.Read(c.Network)
		if err != nil {
			return nil, fmt.Errorf("%s: network: %w", filepath.Join(f.resume, "config.json"), err)
		}
		return n, nil
	}
	captions := make([]string, text2image.Captions)
	for i := range captions {
		var err error
		if captions[i], err = train.Caption(c.Seed, i); err != nil {
			return nil, err
		}
	}
	n, err := text2image.New(captions, text2image.Words)
	if err != nil {
		return nil, err
	}
	n.Half = f.half
	return n, nil
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
	errors, err := text2image.Errors(ctx, m, l.held, l.side(k), pictures)
	if err != nil {
		return nil, err
	}
	scores := map[string]float64{}
	for band, e := range errors {
		scores[fmt.Sprintf("error_t%d", band*text2image.Timesteps/text2image.Bands)] = e
	}
	return scores, nil
}

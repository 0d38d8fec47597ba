package main

import (
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/evaluation/captions"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
)

type evalText2ImageFlags struct {
	computing
	models           []string
	data, out, sheet string
	samplings        []evaluation.Sampling
	guidance         []float64
	names            int
	held             bool
	seed             uint64
	json             bool
}

func newEvalText2Image() *cobra.Command {
	var f evalText2ImageFlags
	cmd := &cobra.Command{
		Use:   "text2image",
		Short: "Measure how well a text-to-image model follows captions",
		Long: `Draws names that everyone knows, each in all styles of the emoji set, and looks for the nearest of all its
pictures: how often does it carry the name, and how often one of the five nearest. Nearest is by colors and
edges in 8×8 cells. Beside it stands what the set's own pictures get, drawn as training shows them, and
what any of them get.

--held-out also draws what training never saw: names in a style, among all pictures; names in a color, on a
ground, and two at once, each among all that is held out of the kind. --model, --sampler and --guidance take
several: each combination is a row.`,
		Example: `  unnoise eval text2image --names 200 --guidance 1,3,5 --sampler dpm++:20,ddim:50 --held-out
  unnoise eval text2image --model runs/emoji/checkpoints/step-010000 --model runs/emoji --names 50`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.models, "model", []string{registry.Default()},
		"first stage to measure, as for generate; may be given more than once")
	completeModels(cmd, "model")
	cli.Folder(cmd, &f.data, "data", "", "folder of the emoji set (default: where 'unnoise dataset emoji' puts it)")
	f.samplings = []evaluation.Sampling{{Sampler: "dpm++", Steps: 20}}
	cli.List(cmd, &f.samplings, "sampler", "name[:steps],...", cli.Expected("names with commas, "+
		cli.Alternatives(model.Samplers())+", each with its steps or without"), evaluation.ParseSampling,
		evaluation.Sampling.String, "how to go from noise to image, and in how many steps")
	cli.Complete(cmd, "sampler", model.Samplers()...)
	f.guidance = []float64{3}
	cli.Numbers(cmd, &f.guidance, "guidance", "float,...", "numbers from -100 to 100 with commas",
		func(v float64) bool { return math.Abs(v) <= 100 }, "classifier-free guidance scales γ")
	cli.Int(cmd, &f.names, "names", 200, 1, 10_000, "names to draw, each in up to four styles")
	flags.BoolVar(&f.held, "held-out", false, "draw what training never saw, too")
	cli.Seed(cmd, &f.seed, "seed of PyTorch's random numbers")
	flags.StringVar(&f.out, "out", "", "write the report to this file too, .json")
	flags.StringVar(&f.sheet, "sheet", "",
		"write the first 100 images of the last row too, the nearest picture behind each, .png")
	computeFlags(cmd, &f.computing)
	cli.JSONFlag(cmd, &f.json, "print the report as JSON instead of a table and progress")
	return cmd
}

func (f *evalText2ImageFlags) run(cmd *cobra.Command) error {
	for _, file := range []struct{ flag, path, ending string }{{"out", f.out, ".json"}, {"sheet", f.sheet, ".png"}} {
		if file.path == "" {
			continue
		}
		if err := cli.CheckOutput(file.flag, file.path, file.ending); err != nil {
			return err
		}
	}
	if f.data == "" {
		var err error
		if f.data, err = emoji.DefaultDir(); err != nil {
			return err
		}
	}
	set, err := emoji.Open(f.data)
	if err != nil {
		return fmt.Errorf("--data: %w (make it with 'unnoise dataset emoji')", err)
	}
	b, _, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	p := cli.Progress(cmd, f.json)
	judge, err := captions.NewJudge(set, f.names)
	if err != nil {
		return err
	}
	r := captions.Report{Version: captions.ReportVersion, Commit: build.Commit(), Data: f.data,
		DType: engine.Name(dtype), Seed: f.seed}
	if r.Own, r.Random, err = judge.Baselines(); err != nil {
		return err
	}
	err = f.measure(cmd, b, dtype, captions.Measurement{Report: &r, Judge: judge, Held: f.held, Update: p.Update})
	p.Clear()
	if f.out != "" { // what was measured until then, where it was stopped
		err = errors.Join(err, r.Write(f.out))
	}
	return errors.Join(err, cli.Print(cmd, f.json, &r))
}

func (f *evalText2ImageFlags) measure(cmd *cobra.Command, b compute.Backend, dtype dtypes.DType,
	m captions.Measurement) error {
	for i, name := range f.models {
		first, err := registry.Open(name, registry.Options{Backend: b, BackendName: f.other(), DType: dtype})
		if err != nil {
			return fmt.Errorf("--model: %w", err)
		}
		samples, err := m.Model(cmd.Context(), first, f.samplings, f.guidance)
		first.Close()
		if err != nil {
			return err
		}
		if i == len(f.models)-1 && f.sheet != "" {
			if err := m.WriteSheet(f.sheet, samples); err != nil {
				return err
			}
		}
	}
	return nil
}

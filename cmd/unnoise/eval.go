package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/drawdigits"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training/mnist"
)

type evalFlags struct {
	computing
	model, samples, data string
	samplings            []evaluation.Sampling
	guidance             []float64
	count                int
	seed                 uint64
	out                  string
	retrain, json        bool
}

func newEval() *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use: "eval", Short: "Measure the quality of a model, or of samples from elsewhere",
		Long: `Draws samples with a model and measures them with a classifier of digits: how many are read as the
class that was asked for, and the Fréchet distance of the classifier's features to those of the test
digits, beside that of training digits, which is the baseline. --sampler and --guidance take lists; each
combination is a row.

Models of condition time have no classes: what is read is counted. Models of condition none are
measured by their mean squared error on the first test digits at several noise levels.

The classifier is trained once, in a minute or a few, and kept in the cache folder.`,
		Example: `  unnoise eval --model runs/digits --guidance 0,1,5,10
  unnoise eval --model runs/digits --sampler ddpm,ddim:10,ddim:20,dpm++:20 --count 500 --out report.json
  unnoise eval --samples samples.safetensors`,
		Args: cli.NoArgs, RunE: cli.Run(f.run),
	}
	flags := cmd.Flags()
	modelFlag(cmd, &f.model, "")
	flags.StringVar(&f.samples, "samples", "",
		"safetensors file with images [N,1,28,28] in [0,1] and labels [N], in place of a model")
	cli.Folder(cmd, &f.data, "data", "",
		"folder with an IDX set to compare with (default: the run's, or the embedded MNIST)")
	f.samplings = []evaluation.Sampling{{}}
	wanted := cli.Expected("names with commas, " + cli.Alternatives(model.Samplers()) +
		", each with its steps or without, as in ddpm,ddim:20")
	cli.List(cmd, &f.samplings, "sampler", "name[:steps],...", wanted, evaluation.ParseSampling,
		evaluation.Sampling.String, "how to go from noise to image, and in how many steps: without, all timesteps "+
			"for ddpm, 20 for dpm++, 50 else")
	flags.Lookup("sampler").DefValue = "ddpm, with objective flow euler"
	cli.Complete(cmd, "sampler", model.Samplers()...)
	f.guidance = []float64{5}
	cli.Numbers(cmd, &f.guidance, "guidance", "float,...", "numbers from -100 to 100 with commas",
		func(v float64) bool { return math.Abs(v) <= 100 },
		"classifier-free guidance scales γ: 0 ignores the class, 1 is the model without guidance, more "+
			"exaggerates the class")
	cli.Int(cmd, &f.count, "count", 1000, 2, 100_000,
		"samples of each row, going round the classes; or test digits, for condition none")
	cli.Seed(cmd, &f.seed, "seed of PyTorch's random numbers")
	flags.StringVar(&f.out, "out", "", "write the report to this file too, .json")
	flags.BoolVar(&f.retrain, "retrain", false, "train the classifier anew")
	computeFlags(cmd, &f.computing)
	cli.JSONFlag(cmd, &f.json, "print the report as JSON instead of tables and progress")
	cmd.AddCommand(newEvalText2Image())
	return cmd
}

func (f *evalFlags) run(cmd *cobra.Command) error {
	switch {
	case f.model == "" && f.samples == "":
		return cli.Usagef("expected --model with the folder of a run or a model, or --samples with a safetensors file; " +
			"found neither")
	case f.model != "" && f.samples != "":
		return cli.Usagef("expected either --model or --samples, found both")
	}
	if err := cli.CheckOutput("out", f.out, ".json"); err != nil {
		return err
	}
	if f.samples != "" {
		if err := cli.Refuse(cmd, "has no meaning with --samples", "sampler", "guidance", "count", "seed", "dtype"); err != nil {
			return err
		}
	}
	name, train, test, err := f.openData()
	if err != nil {
		return err
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	r := evaluation.Report{Version: evaluation.ReportVersion, Commit: build.Commit(), Data: name, Threads: info.Threads,
		Backend: f.other()}
	p := cli.Progress(cmd, f.json)
	m := &evaluation.Measurement{Report: &r, Backend: b, Train: train, Test: test, Retrain: f.retrain, Draw: drawdigits.Draw,
		Warn: p.Warn, Update: p.Update,
		Done: func(line string) {
			p.Print("%s", line)
			if f.out != "" {
				r.Write(f.out) // if it fails, it does so at the end too, where that is said beside what was measured
			}
		}}
	err = f.measure(cmd, m, dtype)
	p.Clear()
	r.Complete = err == nil
	if len(r.Rows)+len(r.Denoising) == 0 {
		return err
	}
	var failed error
	if f.out != "" { // first, for who reads the output may stop reading
		failed = r.Write(f.out)
	}
	if f.json {
		return errors.Join(err, failed, cli.JSON(cmd, r))
	}
	return errors.Join(err, failed, evaluation.WriteTables(cmd.OutOrStdout(), r.Tables()))
}

func (f *evalFlags) measure(cmd *cobra.Command, m *evaluation.Measurement, dtype dtypes.DType) error {
	ctx := cmd.Context()
	if f.samples != "" {
		return m.Samples(ctx, f.samples)
	}
	network, err := openDigits(m.Backend, f.model, dtype)
	if err != nil {
		return err
	}
	defer network.Close()
	m.Report.Model, m.Config, m.Seed, m.DType = network.Name, &network.Config, &f.seed, engine.Name(dtype)
	condition := network.Config.Condition
	unused := map[mnistunet.Condition][]string{mnistunet.None: {"sampler", "guidance", "retrain"},
		mnistunet.Time: {"guidance"}}
	err = cli.Refuse(cmd, fmt.Sprintf("has no meaning with a model of condition %s", condition), unused[condition]...)
	if err != nil {
		return err
	}
	if condition == mnistunet.None {
		m.Test = m.Test.Head(f.count)
		return m.Denoiser(ctx, network, f.seed)
	}
	ways, err := evaluation.Ways(network.Config, f.samplings, f.guidance, f.seed)
	if err != nil {
		return err
	}
	labels, err := m.Labels(network.Config, f.count)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	return m.Model(ctx, network, ways, labels, f.count)
}

// openData opens the images to compare with: those of --data, or that the model was trained on.
func (f *evalFlags) openData() (name string, train, test *dataset.Labeled, err error) {
	if f.data != "" || f.model == "" {
		return openData(f.data)
	}
	place, err := registry.Find(f.model)
	if err != nil {
		return "", nil, nil, fmt.Errorf("--model: %w", err)
	}
	data, err := place.Data()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil, cli.Usagef("--data: %s does not tell which images its model was trained on; expected a "+
			"folder with an IDX set, or %s for the embedded one", f.model, mnist.Embedded)
	}
	if err != nil {
		return "", nil, nil, err
	}
	if train, test, err = mnist.OpenDataOf(f.model, data); err != nil {
		err = fmt.Errorf("%w. Give the images to compare with by --data", err)
	}
	return data.Name, train, test, err
}

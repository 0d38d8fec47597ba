package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"

	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training"
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
		Use:   "eval",
		Short: "Measure the quality of a model, or of samples from elsewhere",
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
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	modelFlag(cmd, &f.model, "")
	flags.StringVar(&f.samples, "samples", "",
		"safetensors file with images [N,1,28,28] in [0,1] and labels [N], in place of a model")
	flags.StringVar(&f.data, "data", "",
		"folder with an IDX set to compare with (default: the run's, or the embedded MNIST)")
	completeFolder(cmd, "data")
	f.samplings = []evaluation.Sampling{{}}
	wanted := expected("names with commas, " + alternatives(model.Samplers()) +
		", each with its steps or without, as in ddpm,ddim:20")
	listFlag(cmd, &f.samplings, "sampler", "name[:steps],...", wanted, evaluation.ParseSampling,
		evaluation.Sampling.String, "how to go from noise to image, and in how many steps: without, all timesteps "+
			"for ddpm, 20 for dpm++, 50 else")
	flags.Lookup("sampler").DefValue = "ddpm, with objective flow euler"
	complete(cmd, "sampler", model.Samplers()...)
	f.guidance = []float64{5}
	listFlag(cmd, &f.guidance, "guidance", "float,...", "numbers from -100 to 100 with commas", parseGuidance,
		formatFloat, "classifier-free guidance scales γ: 0 ignores the class, 1 is the model without guidance, more "+
			"exaggerates the class")
	intFlag(cmd, &f.count, "count", 1000, 2, 100_000,
		"samples of each row, going round the classes; or test digits, for condition none")
	seedFlag(cmd, &f.seed, "seed of PyTorch's random numbers")
	flags.StringVar(&f.out, "out", "", "write the report to this file too, .json")
	flags.BoolVar(&f.retrain, "retrain", false, "train the classifier anew")
	computeFlags(cmd, &f.computing)
	jsonFlag(cmd, &f.json, "print the report as JSON instead of tables and progress")
	return cmd
}

func parseGuidance(word string) (float64, bool) {
	v, err := strconv.ParseFloat(word, 64)
	return v, err == nil && math.Abs(v) <= 100
}

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// misplaced refuses flags that what is measured has no use for.
func misplaced(cmd *cobra.Command, what string, names ...string) error {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return usagef("--%s has no meaning with %s", name, what)
		}
	}
	return nil
}

func (f *evalFlags) run(cmd *cobra.Command) error {
	switch {
	case f.model == "" && f.samples == "":
		return usagef("expected --model with the folder of a run or a model, or --samples with a safetensors file; " +
			"found neither")
	case f.model != "" && f.samples != "":
		return usagef("expected either --model or --samples, found both")
	}
	if f.out != "" {
		if err := checkOutput("out", f.out, ".json"); err != nil {
			return err
		}
	}
	if f.samples != "" {
		if err := misplaced(cmd, "--samples", "sampler", "guidance", "count", "seed", "dtype"); err != nil {
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
	p := newProgress(cmd.ErrOrStderr())
	m := f.measurement(cmd, p, &r)
	m.Backend, m.Train, m.Test = b, train, test
	err = f.measure(cmd, m, dtype)
	p.clear()
	r.Complete = err == nil
	if len(r.Rows)+len(r.Denoising) == 0 {
		return err
	}
	var failed error
	if f.out != "" { // first, for who reads the output may stop reading
		failed = r.Write(f.out)
	}
	if f.json {
		return errors.Join(err, failed, printJSON(cmd.OutOrStdout(), r))
	}
	return errors.Join(err, failed, evaluation.WriteTables(cmd.OutOrStdout(), r.Tables()))
}

// measurement is told where its progress goes.
func (f *evalFlags) measurement(cmd *cobra.Command, p *progress, r *evaluation.Report) *evaluation.Measurement {
	return &evaluation.Measurement{
		Report: r, Retrain: f.retrain, Draw: drawDigits, Warn: p.warn(cmd),
		Update: func(line func() string) {
			if !f.json {
				p.update(line)
			}
		},
		Done: func(line string) {
			if !f.json {
				p.print("%s", line)
			}
			if f.out != "" {
				r.Write(f.out) // if it fails, it does so at the end too, where that is said beside what was measured
			}
		},
	}
}

func (f *evalFlags) measure(cmd *cobra.Command, m *evaluation.Measurement, dtype dtypes.DType) error {
	ctx := cmd.Context()
	if f.samples != "" {
		return m.Samples(ctx, f.samples)
	}
	network, dir, err := openModel(m.Backend, f.model, dtype)
	if err != nil {
		return err
	}
	defer network.Close()
	m.Report.Model, m.Config, m.Seed, m.DType = dir, &network.Config, &f.seed, engine.Name(dtype)
	switch network.Config.Condition {
	case mnistunet.None:
		if err := misplaced(cmd, "a model of condition none", "sampler", "guidance", "retrain"); err != nil {
			return err
		}
		m.Test = m.Test.Head(f.count)
		return m.Denoiser(ctx, network, f.seed)
	case mnistunet.Time:
		if err := misplaced(cmd, "a model of condition time, which has no classes", "guidance"); err != nil {
			return err
		}
		f.guidance = []float64{1}
	}
	var ways []evaluation.Sampling
	for _, s := range f.samplings {
		for _, s.Guidance = range f.guidance {
			way := s
			way.Seed = f.seed
			if err := way.Complete(network.Config); err != nil {
				return usagef("--sampler %s: %w", s, err)
			}
			ways = append(ways, way)
		}
	}
	labels, err := m.Labels(network.Config, f.count)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	return m.Model(ctx, network, ways, labels, f.count)
}

// openData opens the images to compare with: those of --data, or that the model was trained on.
func (f *evalFlags) openData() (name string, train, test *dataset.Labeled, err error) {
	var data training.Data
	switch {
	case f.data != "" || f.model == "":
		return openFlagData(f.data)
	default:
		place, err := registry.Find(f.model)
		if err != nil {
			return "", nil, nil, fmt.Errorf("--model: %w", err)
		}
		if place.Kind == registry.Bundled {
			s, err := place.Summary()
			if err != nil {
				return "", nil, nil, err
			}
			data = s.Config.Data
			break
		}
		data, err = training.DataOf(f.model)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil, nil, usagef("--data: %s does not tell which images its model was trained on; expected a "+
				"folder with an IDX set, or %s for the embedded one", f.model, mnist.Embedded)
		}
		if err != nil {
			return "", nil, nil, err
		}
	}
	if train, test, err = mnist.OpenDataOf(f.model, data); err != nil {
		err = fmt.Errorf("%w. Give the images to compare with by --data", err)
	}
	return data.Name, train, test, err
}

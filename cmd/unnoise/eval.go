package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/ranges"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training"
)

// classifierSeed is that of the classifier which judges: always the same one, so that distances can be compared.
const classifierSeed = 0

// leastAccuracy is what a classifier of MNIST is to reach to judge well.
const leastAccuracy = 0.99

type evalFlags struct {
	computing
	model, samples, data string
	samplings            []sampling
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
digits, beside that of training digits, which is the floor. --sampler and --guidance take lists; each
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
	flags.StringVar(&f.samples, "samples", "", "safetensors file with images [N,1,28,28] in [0,1] and labels [N], in place of a model")
	flags.StringVar(&f.data, "data", "", "folder with an IDX set to compare with (default: the run's, or the embedded MNIST)")
	completeFolder(cmd, "data")
	f.samplings = []sampling{{}}
	wanted := expected("names with commas, " + alternatives(allSamplers()) + ", each with its steps or without, as in ddpm,ddim:20")
	listFlag(cmd, &f.samplings, "sampler", "name[:steps],...", wanted, parseSampling, sampling.short, "how to go from noise to image, and in how many steps: without, all timesteps for ddpm, 20 for dpm++, 50 else")
	flags.Lookup("sampler").DefValue = "ddpm, with objective flow euler"
	complete(cmd, "sampler", allSamplers()...)
	f.guidance = []float64{5}
	listFlag(cmd, &f.guidance, "guidance", "float,...", "numbers from -100 to 100 with commas", parseGuidance, formatFloat, "classifier-free guidance scales γ: 0 ignores the class, 1 is the model without guidance, more exaggerates the class")
	intFlag(cmd, &f.count, "count", 1000, 2, 100_000, "samples of each row, going round the classes; or test digits, for condition none")
	seedFlag(cmd, &f.seed, "seed of PyTorch's random numbers")
	flags.StringVar(&f.out, "out", "", "write the report to this file too, .json")
	flags.BoolVar(&f.retrain, "retrain", false, "train the classifier anew")
	computeFlags(cmd, &f.computing)
	jsonFlag(cmd, &f.json, "print the report as JSON instead of tables and progress")
	return cmd
}

func allSamplers() []string { return model.Samplers() }

// parseSampling reads ddim or ddim:20.
func parseSampling(word string) (s sampling, ok bool) {
	name, steps, given := strings.Cut(word, ":")
	if !slices.Contains(allSamplers(), name) {
		return sampling{}, false
	}
	s.sampler = name
	if given {
		n, err := strconv.Atoi(steps)
		if err != nil || n < 1 {
			return sampling{}, false
		}
		s.steps = n
	}
	return s, true
}

// short is what parseSampling reads.
func (s sampling) short() string {
	if s.steps == 0 {
		return s.sampler
	}
	return fmt.Sprintf("%s:%d", s.sampler, s.steps)
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
		return usagef("expected --model with the folder of a run or a model, or --samples with a safetensors file; found neither")
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
	e := &evaluating{evalFlags: f, cmd: cmd, progress: newProgress(cmd.ErrOrStderr())}
	e.Version, e.Commit, e.Data, e.Threads, e.Backend = evaluation.ReportVersion, build.Commit(), name, info.Threads, f.other()

	if f.samples != "" {
		e.Samples = f.samples
		return e.finish(e.measureSamples(b, train, test))
	}
	m, dir, err := openModel(b, f.model, dtype)
	if err != nil {
		return err
	}
	defer m.Close()
	e.Model, e.Config, e.Seed, e.DType = dir, &m.Config, &f.seed, engine.Name(dtype)
	switch m.Config.Condition {
	case mnistunet.None:
		if err := misplaced(cmd, "a model of condition none", "sampler", "guidance", "retrain"); err != nil {
			return err
		}
		return e.finish(e.measureDenoising(m, test.Head(f.count)))
	case mnistunet.Time:
		if err := misplaced(cmd, "a model of condition time, which has no classes", "guidance"); err != nil {
			return err
		}
		f.guidance = []float64{1}
	}
	for i, s := range f.samplings {
		if err := f.samplings[i].complete(m.Config); err != nil {
			return usagef("--sampler %s: %w", s.short(), err)
		}
	}
	return e.finish(e.measureModel(b, m, train, test))
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
			return "", nil, nil, usagef("--data: %s does not tell which images its model was trained on; expected a folder with an IDX set, or %s for the embedded one", f.model, embeddedData)
		}
		if err != nil {
			return "", nil, nil, err
		}
	}
	if train, test, err = openDataOf(f.model, data); err != nil {
		err = fmt.Errorf("%w. Give the images to compare with by --data", err)
	}
	return data.Name, train, test, err
}

// evaluating is an evaluation on its way.
type evaluating struct {
	*evalFlags
	evaluation.Report
	cmd      *cobra.Command
	progress *progress
}

func (e *evaluating) update(format string, args ...any) {
	if !e.json {
		e.progress.update(func() string { return fmt.Sprintf(format, args...) })
	}
}

// done keeps what was measured so far, and says a line about the latest.
func (e *evaluating) done(format string, args ...any) {
	if !e.json {
		e.progress.print(format, args...)
	}
	if e.out != "" {
		e.Write(e.out) // if it fails, finish does so too, and says it beside what was measured
	}
}

// finish reports what was measured, all of it or until err.
func (e *evaluating) finish(err error) error {
	e.progress.clear()
	e.Complete = err == nil
	if len(e.Rows)+len(e.Denoising) == 0 {
		return err
	}
	show := e.tables
	if e.json {
		show = func(w io.Writer) error { return printJSON(w, e.Report) }
	}
	var failed error
	if e.out != "" { // first, for who reads the output may stop reading
		failed = e.Write(e.out)
	}
	return errors.Join(err, failed, show(e.cmd.OutOrStdout()))
}

// judge gets the classifier, reads both sets, and measures the floors for all training digits and for as many as there are samples; labels
// are the classes that these are asked for, if they are.
func (e *evaluating) judge(b compute.Backend, train, test *dataset.Labeled, n int, labels []int) (*evaluation.Judge, error) {
	path, err := evaluation.CachePath(train, test, classifierSeed)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	c, err := evaluation.Open(e.cmd.Context(), b, path, train, test, classifierSeed, e.retrain, func(p evaluation.TrainProgress) {
		e.update("training the classifier: step %d/%d  loss %.3f  %s left", p.Step, p.Steps, p.Loss, duration.Left(start, p.Step, p.Steps))
	})
	if err != nil {
		return nil, err
	}
	e.Classifier = &evaluation.ClassifierInfo{Recipe: evaluation.RecipeVersion, Seed: c.Seed, Accuracy: c.Accuracy, Path: path}
	if e.Classifier.Sum, err = fileSum(path); err != nil {
		e.progress.clear()
		fmt.Fprintf(e.cmd.ErrOrStderr(), "unnoise: warning: the classifier could not be kept, and is trained again the next time: %v\n", err)
	}
	if e.Data == embeddedData && c.Accuracy < leastAccuracy {
		e.progress.clear()
		fmt.Fprintf(e.cmd.ErrOrStderr(), "unnoise: warning: the classifier reads %.2f %% of the test digits; expected at least %g %%. Its judgement is poor\n", 100*c.Accuracy, 100*leastAccuracy)
	}
	e.update("reading the training and test digits")
	j, err := evaluation.NewJudge(e.cmd.Context(), c, train, test)
	if err != nil {
		c.Close()
		return nil, err
	}
	for _, n := range []int{train.Len(), n} {
		floor, err := j.Floor(n, goesRound(labels, train.Occurring()))
		if err != nil {
			j.Close()
			return nil, err
		}
		if !slices.Contains(e.Floors, floor) { // as many samples as images
			e.Floors = append(e.Floors, floor)
		}
	}
	return j, nil
}

// goesRound tells whether equally many images of each class were asked for, up to one.
func goesRound(labels, classes []int) bool {
	count := make([]int, len(classes))
	for _, label := range labels {
		i, ok := slices.BinarySearch(classes, label)
		if !ok {
			return false
		}
		count[i]++
	}
	return labels != nil && slices.Max(count)-slices.Min(count) <= 1
}

func (e *evaluating) measureSamples(b compute.Backend, train, test *dataset.Labeled) error {
	images, labels, err := evaluation.ReadSamples(e.samples, train.Classes())
	if err != nil {
		return err
	}
	j, err := e.judge(b, train, test, images.N, labels)
	if err != nil {
		return err
	}
	defer j.Close()
	score, err := j.Score(e.cmd.Context(), images, labels)
	if err != nil {
		return fmt.Errorf("%s: %w", e.samples, err)
	}
	e.Rows = []evaluation.Row{{Score: score}}
	return nil
}

func (e *evaluating) measureModel(b compute.Backend, m *mnistunet.Model, train, test *dataset.Labeled) error {
	ctx, c := e.cmd.Context(), m.Config
	var labels []int
	if c.Condition == mnistunet.Class {
		drawn, found := c.Occurring(), train.Occurring()
		if slices.ContainsFunc(drawn, func(class int) bool { return !slices.Contains(found, class) }) {
			return fmt.Errorf("--data: %s draws images of the classes %s; expected all of them in %s, found %s", e.Model, ranges.Format(drawn), e.Data, ranges.Format(found))
		}
		for i := range e.count {
			labels = append(labels, drawn[i%len(drawn)])
		}
	}
	j, err := e.judge(b, train, test, e.count, labels)
	if err != nil {
		return err
	}
	defer j.Close()
	rows := len(e.samplings) * len(e.guidance)
	for _, s := range e.samplings {
		for _, scale := range e.guidance {
			s.guidance, s.seed = scale, e.seed
			row := evaluation.Row{Sampler: s.sampler, Steps: s.steps}
			if labels != nil {
				row.Guidance = &scale
			}
			start := time.Now()
			images, evaluations, err := s.run(ctx, m, labels, e.count, func(event lab.Event) {
				if step := event.Step; step != nil {
					e.update("row %d/%d, %s: step %d/%d  %s left", len(e.Rows)+1, rows, name(row), step.Index+1, step.Total, duration.Left(start, step.Index+1, step.Total))
				}
			})
			if err != nil {
				return err
			}
			row.Evaluations, row.Seconds = evaluations, time.Since(start).Seconds()
			row.ImagesPerSecond = float64(e.count) / row.Seconds
			if row.Score, err = j.Score(ctx, images, labels); err != nil {
				return err
			}
			e.Rows = append(e.Rows, row)
			e.done("row %d/%d, %s: %s", len(e.Rows), rows, name(row), duration.Format(time.Since(start)))
		}
	}
	return nil
}

func (e *evaluating) measureDenoising(m *mnistunet.Model, digits *dataset.Labeled) error {
	for _, sigma := range noiseLevels {
		e.update("%d test digits at σ = %g", digits.Len(), sigma)
		level, err := evaluation.MeasureDenoising(e.cmd.Context(), m, digits, sigma, e.seed)
		if err != nil {
			return err
		}
		e.Denoising = append(e.Denoising, level)
		e.done("σ = %g: mean squared error %.5f", sigma, level.Model)
	}
	return nil
}

// tables prints the report for people.
func (e *evaluating) tables(w io.Writer) error {
	for i, t := range reportTables(e.Report) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printTable(w, t); err != nil {
			return err
		}
	}
	return nil
}

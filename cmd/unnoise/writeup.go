package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/writeup"
)

type writeupFlags struct {
	computing
	none, time, class, flat, flow string
	reports                       []string
	out                           string
	seed                          uint64
}

func newWriteup() *cobra.Command {
	var f writeupFlags
	cmd := &cobra.Command{
		Use:   "writeup",
		Short: "Make a page that shows what runs have learned",
		Long: `Makes one page of training runs: noise, the denoiser, the training curves, samples after several epochs
as animations, guidance, flow matching, and how to make it again. What has no run is left out; a run in
progress is shown as far as it is. Drawing takes minutes with big networks; what was drawn is kept in
the page's folder, so that Ctrl-C loses little and a second page is quick.`,
		Example: `  unnoise writeup --none runs/denoiser --time runs/time --class runs/digits --class-flat runs/digits-flat
  unnoise writeup --class runs/digits --out out/digits`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := f.run(cmd)
			if cause := context.Cause(cmd.Context()); err != nil && cause != nil {
				return fmt.Errorf("stopped by %w; the same command goes on from what was drawn", cause)
			}
			return err
		},
	}
	for _, r := range []struct {
		to          *string
		name, usage string
	}{
		{&f.none, "none", "run of condition none"},
		{&f.time, "time", "run of condition time"},
		{&f.class, "class", "run of condition class"},
		{&f.flat, "class-flat", "like --class, but trained without learning-rate decay (--decay 1), to compare"},
		{&f.flow, "flow", "run of condition class trained with --objective flow"},
	} {
		cmd.Flags().StringVar(r.to, r.name, "", r.usage)
		completeFolder(cmd, r.name)
	}
	cmd.Flags().StringArrayVar(&f.reports, "eval", nil, "report of 'unnoise eval --out', to show as a table; may be given more than once")
	cmd.Flags().StringVar(&f.out, "out", "out/writeup", "folder for the page, its figures and the drawings")
	completeFolder(cmd, "out")
	seedFlag(cmd, &f.seed, "seed of all noise")
	computeFlags(cmd, &f.computing)
	return cmd
}

// shownRun is a run of which the page shows some epochs.
type shownRun struct {
	writeup.Run
	dir         string
	epochs      []int
	train, test *dataset.Labeled
}

func (r shownRun) last() string { return training.EpochDir(r.dir, r.epochs[len(r.epochs)-1]) }

// openRun reads a run. Of the wanted epochs the page shows those that the run has, and always its last.
func openRun(dir, name string, condition mnistunet.Condition, objective mnistunet.Objective, wanted []int) (*shownRun, error) {
	run, err := writeup.ReadRun(dir)
	if err != nil {
		return nil, err
	}
	if got := run.Network.Condition; got != condition {
		return nil, fmt.Errorf("expected a run of condition %s, %s has condition %s", condition, dir, got)
	}
	switch got := run.Network.Objective; {
	case objective == mnistunet.Flow && got != objective:
		return nil, fmt.Errorf("expected a run trained with --objective flow, %s was trained without", dir)
	case got != objective && condition == mnistunet.Class:
		return nil, fmt.Errorf("%s was trained with --objective %s; give it to --flow", dir, got)
	case got != objective:
		return nil, fmt.Errorf("%s was trained with --objective %s, of which the page shows condition class only, by --flow", dir, got)
	}
	train, test, err := openDataOf(dir, run.Data)
	if err != nil {
		return nil, fmt.Errorf("%w. Say where they are now with: unnoise train mnist --resume %s --data FOLDER", err, quote(dir))
	}
	all, err := training.Epochs(dir)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the run %s keeps no model of any epoch", dir)
	}
	r := &shownRun{Run: run, dir: dir, train: train, test: test}
	for i, epoch := range all {
		if slices.Contains(wanted, epoch) || i == len(all)-1 {
			r.epochs = append(r.epochs, epoch)
		}
	}
	r.Name, r.Command = name, trainCommand(run.Config, run.Data.Images < train.Len(), dir)
	return r, nil
}

func (f *writeupFlags) run(cmd *cobra.Command) error {
	start := time.Now()
	var none, timed, class, flat, flow *shownRun
	byEpoch := []int{1, 6, 11, 16, 20}
	for _, r := range []struct {
		to              **shownRun
		flag, dir, name string
		condition       mnistunet.Condition
		objective       mnistunet.Objective
		epochs          []int
	}{
		{&none, "none", f.none, "denoiser", mnistunet.None, mnistunet.Noise, []int{1, 5}},
		{&timed, "time", f.time, "time-conditional", mnistunet.Time, mnistunet.Noise, byEpoch},
		{&class, "class", f.class, "class-conditional", mnistunet.Class, mnistunet.Noise, byEpoch},
		{&flat, "class-flat", f.flat, "class-conditional, constant rate", mnistunet.Class, mnistunet.Noise, nil},
		{&flow, "flow", f.flow, "flow matching", mnistunet.Class, mnistunet.Flow, byEpoch},
	} {
		if r.dir == "" {
			continue
		}
		var err error
		if *r.to, err = openRun(r.dir, r.name, r.condition, r.objective, r.epochs); err != nil {
			return fmt.Errorf("--%s: %w", r.flag, err)
		}
	}
	switch {
	case none == nil && timed == nil && class == nil && flow == nil:
		return usagef("expected the folder of a run for --none, --time, --class or --flow, found nothing (train one with 'unnoise train mnist')")
	case flat != nil && class == nil:
		return usagef("--class-flat is compared with --class, which is missing")
	case flat != nil && (flat.Decay != 1 || class.Decay == 1):
		return fmt.Errorf("--class-flat: expected a run with decay 1 beside a --class run with another, found decay %g in %s and %g in %s", flat.Decay, f.flat, class.Decay, f.class)
	case flat != nil && flat.Network.Classes != class.Network.Classes:
		return fmt.Errorf("--class-flat: %s knows %d classes, %s %d", f.flat, flat.Network.Classes, f.class, class.Network.Classes)
	}
	if err := writeup.Check(f.out); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	w := writeup.Data{Item: "digit"}
	var reports []evaluation.Report
	said := map[string]bool{} // notes: once each
	for _, path := range f.reports {
		r, err := evaluation.ReadReport(path)
		if err != nil {
			return fmt.Errorf("--eval: %w", err)
		}
		for _, t := range reportTables(r) {
			if said[t.Note] {
				t.Note = ""
			}
			said[t.Note] = true
			w.Tables = append(w.Tables, t)
		}
		reports = append(reports, r)
	}
	compared, apart := comparisons(reports)
	w.Tables = append(w.Tables, compared...)
	if apart != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "unnoise: warning: no table sets flows beside estimates of noise, which were measured otherwise: %s\n", apart)
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	w.Command = f.command(cmd, dtype)
	p := newProgress(cmd.ErrOrStderr())
	d := &drawings{dir: filepath.Join(f.out, "drawings"), backend: b, dtype: dtype, other: f.other(), by: by{"unnoise " + build.Commit(), info.Device}, p: p}
	defer d.close()
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if err := atomicfile.Check(filepath.Join(d.dir, "drawing")); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	var test *dataset.Labeled
	for _, r := range []*shownRun{none, timed, class, flat, flow} {
		if r == nil {
			continue
		}
		if r.Data.Name != embeddedData {
			w.Item = "image"
		}
		if test == nil {
			test = r.test
		}
		if r != flat {
			d.planned += len(r.epochs)
		}
		if r != none && r != timed {
			d.planned += len(guidanceScales)
		}
	}
	var ways []drawnBy
	if flow != nil {
		if ways, err = f.fewSteps(flow, class); err != nil {
			return err
		}
		d.planned += len(ways)
	}
	w.Forward = forward(test, f.seed)
	if none != nil {
		if w.Denoiser, err = f.denoiser(cmd.Context(), d, none); err != nil {
			return err
		}
	}
	if timed != nil {
		m, err := f.model(cmd.Context(), d, "time", timed)
		if err != nil {
			return err
		}
		w.Models = append(w.Models, m)
	}
	if class != nil {
		m, err := f.model(cmd.Context(), d, "class", class)
		if err == nil {
			m.ByGuidance, err = f.byGuidance(cmd.Context(), d, "class", class)
		}
		if err == nil && flat != nil {
			m.Flat = &writeup.Flat{Run: flat.Run}
			m.Flat.ByGuidance, err = f.byGuidance(cmd.Context(), d, "class-flat", flat)
		}
		if err != nil {
			return err
		}
		w.Models = append(w.Models, m)
	}
	if flow != nil {
		m, err := f.model(cmd.Context(), d, "flow", flow)
		if err == nil {
			m.ByGuidance, err = f.byGuidance(cmd.Context(), d, "flow", flow)
		}
		if err == nil {
			m.BySteps, err = f.bySteps(cmd.Context(), d, ways)
		}
		if err != nil {
			return err
		}
		w.Models = append(w.Models, m)
	}
	w.Parameters.Add("Software", d.by.Software)
	if by := d.all(func(b by) string { return b.Software }); by != "" && by != d.by.Software {
		w.Parameters.Add("drawn by", by)
	}
	w.Parameters.Add("drawn in", engine.Name(dtype))
	w.Parameters.Add("engine", d.all(func(b by) string { return b.Engine }))
	p.update(func() string { return "writing the page" })
	page, err := writeup.Write(f.out, w)
	p.clear()
	if err != nil {
		return err
	}
	if full, err := filepath.Abs(page); err == nil {
		page = full
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "The page, made in %s: %s\n", duration.Format(time.Since(start)), page)
	return err
}

// command is the line that makes the page again.
func (f *writeupFlags) command(cmd *cobra.Command, dtype dtypes.DType) string {
	line := "unnoise writeup" + given(cmd, "none", "time", "class", "class-flat", "flow", "out", "backend", "threads")
	for _, path := range f.reports {
		line += " --eval " + quote(path)
	}
	return fmt.Sprintf("%s --seed %d --dtype %s", line, f.seed, engine.Name(dtype))
}

// trainCommand is the line that trains a run again, which learned from all images of its set or from the first ones only.
func trainCommand(c mnist.Config, limited bool, dir string) string {
	usual := mnist.Default(c.Network.Condition)
	if c.Network.Objective == mnistunet.Flow {
		usual.Network = usual.Network.ForFlow()
	}
	var line strings.Builder
	add := func(flag string, value, usual any) {
		if value != usual {
			fmt.Fprintf(&line, " --%s %v", flag, value)
		}
	}
	if c.DecaySteps { // only the demo trains so
		fmt.Fprintf(&line, "unnoise demo --epochs %d --dim %d", c.Epochs, c.Network.Dim)
	} else {
		line.WriteString("unnoise train mnist")
		if c.From != "" {
			fmt.Fprintf(&line, " --from %s", quote(c.From))
		} else {
			fmt.Fprintf(&line, " --condition %s", c.Network.Condition)
			add("objective", c.Network.Objective, mnistunet.Noise)
			add("dim", c.Network.Dim, usual.Network.Dim)
			add("timesteps", c.Network.Timesteps, usual.Network.Timesteps)
			add("sigma", c.Network.Sigma, usual.Network.Sigma)
		}
		add("epochs", cmp.Or(c.Planned, c.Epochs), usual.Epochs)
		add("batch", c.Batch, usual.Batch)
		add("lr", c.LearningRate, usual.LearningRate)
		add("decay", c.Decay, usual.Decay)
		add("schedule", cmp.Or(c.Schedule, training.Exponential), training.Exponential)
		add("warmup", c.Warmup, 0)
		add("clip", c.Clip, 0.)
		add("ema", c.EMA, 0.)
		add("dropout", c.Dropout, usual.Dropout)
		if c.Data.Name != embeddedData {
			fmt.Fprintf(&line, " --data %s", quote(c.Data.Name))
		}
	}
	if limited {
		fmt.Fprintf(&line, " --limit %d", c.Data.Images)
	}
	fmt.Fprintf(&line, " --seed %d --dtype %s", c.Seed, c.DType)
	if c.Backend != "" {
		fmt.Fprintf(&line, " --backend %s", quote(c.Backend))
	} else {
		fmt.Fprintf(&line, " --threads %d", c.Threads)
	}
	if c.DecaySteps { // the page's folder, in which the run is
		dir = filepath.Dir(filepath.Clean(dir))
	}
	fmt.Fprintf(&line, " --out %s", quote(dir))
	if c.Planned > 0 && c.Epochs > c.Planned { // it went on past its end
		fmt.Fprintf(&line, " && unnoise train mnist --resume %s --epochs %d", quote(dir), c.Epochs)
	}
	return line.String()
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
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
	cmd.Flags().StringArrayVar(&f.reports, "eval", nil,
		"report of 'unnoise eval --out', to show as a table; may be given more than once")
	cmd.Flags().StringVar(&f.out, "out", "out/writeup", "folder for the page, its figures and the drawings")
	completeFolder(cmd, "out")
	seedFlag(cmd, &f.seed, "seed of all noise")
	computeFlags(cmd, &f.computing)
	return cmd
}

func (f *writeupFlags) run(cmd *cobra.Command) error {
	start := time.Now()
	o := writeup.Page{Dir: f.out, Seed: f.seed}
	for _, r := range []struct {
		to        **writeup.ShownRun
		flag, dir string
		kind      writeup.Kind
	}{
		{&o.None, "none", f.none, writeup.DenoiserRun},
		{&o.Time, "time", f.time, writeup.TimeRun},
		{&o.Class, "class", f.class, writeup.ClassRun},
		{&o.Flat, "class-flat", f.flat, writeup.FlatRun},
		{&o.Flow, "flow", f.flow, writeup.FlowRun},
	} {
		if r.dir == "" {
			continue
		}
		run, err := writeup.OpenRun(r.dir, r.kind)
		if err != nil {
			return fmt.Errorf("--%s: %w", r.flag, err)
		}
		run.Command = trainCommand(run.Config, run.Limited(), run.Dir)
		*r.to = run
	}
	class, flat := o.Class, o.Flat
	switch {
	case o.None == nil && o.Time == nil && class == nil && o.Flow == nil:
		return usagef("expected the folder of a run for --none, --time, --class or --flow, found nothing (train one " +
			"with 'unnoise train mnist')")
	case flat != nil && class == nil:
		return usagef("--class-flat is compared with --class, which is missing")
	case flat != nil && (flat.Decay != 1 || class.Decay == 1):
		return fmt.Errorf("--class-flat: expected a run with decay 1 beside a --class run with another, found decay "+
			"%g in %s and %g in %s", flat.Decay, f.flat, class.Decay, f.class)
	case flat != nil && flat.Network.Classes != class.Network.Classes:
		return fmt.Errorf("--class-flat: %s knows %d classes, %s %d", f.flat, flat.Network.Classes, f.class,
			class.Network.Classes)
	}
	if err := writeup.Check(f.out); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	var reports []evaluation.Report
	for _, path := range f.reports {
		r, err := evaluation.ReadReport(path)
		if err != nil {
			return fmt.Errorf("--eval: %w", err)
		}
		reports = append(reports, r)
	}
	p := newProgress(cmd.ErrOrStderr())
	var apart string
	if o.Tables, apart = writeup.ReportTables(reports); apart != "" {
		p.warn(cmd)("no table sets flows beside estimates of noise, which were measured otherwise: " + apart)
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	if err := o.CheckDrawings(); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	o.Command = f.command(cmd, dtype)
	o.Drawer = writeup.Drawer{Backend: b, BackendName: f.other(), DType: dtype, Device: info.Device, Draw: drawDigits,
		Update: p.update}
	page, err := o.Make(cmd.Context())
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
		line += " --eval " + shell.Quote(path)
	}
	return fmt.Sprintf("%s --seed %d --dtype %s", line, f.seed, engine.Name(dtype))
}

// trainCommand is the line that trains a run again, which learned from all images of its set or from the first ones
// only.
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
			fmt.Fprintf(&line, " --from %s", shell.Quote(c.From))
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
		if c.Data.Name != mnist.Embedded {
			fmt.Fprintf(&line, " --data %s", shell.Quote(c.Data.Name))
		}
	}
	if limited {
		fmt.Fprintf(&line, " --limit %d", c.Data.Images)
	}
	fmt.Fprintf(&line, " --seed %d --dtype %s", c.Seed, c.DType)
	if c.Backend != "" {
		fmt.Fprintf(&line, " --backend %s", shell.Quote(c.Backend))
	} else {
		fmt.Fprintf(&line, " --threads %d", c.Threads)
	}
	if c.DecaySteps { // the page's folder, in which the run is
		dir = filepath.Dir(filepath.Clean(dir))
	}
	fmt.Fprintf(&line, " --out %s", shell.Quote(dir))
	if c.Planned > 0 && c.Epochs > c.Planned { // it went on past its end
		fmt.Fprintf(&line, " && unnoise train mnist --resume %s --epochs %d", shell.Quote(dir), c.Epochs)
	}
	return line.String()
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/writeup"
)

type writeupFlags struct {
	computing
	dirs    map[string]*string // of runs, by their flags
	reports []string
	out     string
	seed    uint64
}

// shownRuns are the flags of runs.
var shownRuns = []struct {
	flag, usage string
	kind        writeup.Kind
}{
	{"none", "run of condition none", writeup.DenoiserRun},
	{"time", "run of condition time", writeup.TimeRun},
	{"class", "run of condition class", writeup.ClassRun},
	{"class-flat", "like --class, but trained without learning-rate decay (--decay 1), to compare", writeup.FlatRun},
	{"flow", "run of condition class trained with --objective flow", writeup.FlowRun},
}

func newWriteup() *cobra.Command {
	f := writeupFlags{dirs: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "writeup",
		Short: "Make a page that shows what runs have learned",
		Long: `Makes one page of training runs: noise, the denoiser, the training curves, samples after several epochs
as animations, guidance, flow matching, and how to make it again. What has no run is left out; a run in
progress is shown as far as it is. Drawing takes minutes with big networks; what was drawn is kept in
the page's folder, so that Ctrl-C loses little and a second page is quick.`,
		Example: `  unnoise writeup --none runs/denoiser --time runs/time --class runs/digits --class-flat runs/digits-flat
  unnoise writeup --class runs/digits --out out/digits`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := f.run(cmd)
			if cause := context.Cause(cmd.Context()); err != nil && cause != nil {
				return fmt.Errorf("stopped by %w; the same command goes on from what was drawn", cause)
			}
			return err
		},
	}
	for _, r := range shownRuns {
		f.dirs[r.flag] = new(string)
		cli.Folder(cmd, f.dirs[r.flag], r.flag, "", r.usage)
	}
	cmd.Flags().StringArrayVar(&f.reports, "eval", nil,
		"report of 'unnoise eval --out', to show as a table; may be given more than once")
	cli.Folder(cmd, &f.out, "out", "out/writeup", "folder for the page, its figures and the drawings")
	cli.Seed(cmd, &f.seed, "seed of all noise")
	computeFlags(cmd, &f.computing)
	return cmd
}

func (f *writeupFlags) run(cmd *cobra.Command) error {
	start := time.Now()
	o := writeup.Page{Dir: f.out, Seed: f.seed}
	for _, r := range shownRuns {
		if dir := *f.dirs[r.flag]; dir != "" {
			if err := o.Open(dir, r.kind); err != nil {
				return fmt.Errorf("--%s: %w", r.flag, err)
			}
		}
	}
	if err := o.CheckRuns(); err != nil {
		return err
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
	p := cli.Progress(cmd, false)
	var apart string
	if o.Tables, apart = writeup.ReportTables(reports); apart != "" {
		p.Warn("no table sets flows beside estimates of noise, which were measured otherwise: " + apart)
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
		Update: p.Update}
	page, err := o.Make(cmd.Context())
	p.Clear()
	if err != nil {
		return err
	}
	if full, err := filepath.Abs(page); err == nil {
		page = full
	}
	return cli.Printf(cmd, "The page, made in %s: %s", duration.Format(time.Since(start)), page)
}

// command is the line that makes the page again.
func (f *writeupFlags) command(cmd *cobra.Command, dtype dtypes.DType) string {
	line := "unnoise writeup" + cli.Given(cmd, "none", "time", "class", "class-flat", "flow", "out", "backend", "threads")
	for _, path := range f.reports {
		line += " --eval " + shell.Quote(path)
	}
	return fmt.Sprintf("%s --seed %d --dtype %s", line, f.seed, engine.Name(dtype))
}

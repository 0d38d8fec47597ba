package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/course"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/drawdigits"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/writeup"
)

type writeupFlags struct {
	computing
	model, variant, upscale string
	half, subjects          string
	print                   bool
	photos, web, drawings   []string
	dirs                    map[string]*string // of runs, by their flags
	reports                 []string
	out                     string
	seed                    uint64
}

// shownRuns are the flags of runs.
var shownRuns = []struct {
	flag, usage string
	kind        writeup.Kind
}{
	{"none", "run of condition none", writeup.DenoiserRun},
	{"pure-noise", "run of condition none trained with --pure-noise (default: the page trains a small one)",
		writeup.PureRun},
	{"time", "run of condition time", writeup.TimeRun},
	{"class", "run of condition class", writeup.ClassRun},
	{"class-flat", "like --class, but trained without learning-rate decay (--decay 1), to compare", writeup.FlatRun},
	{"flow-time", "run of condition time trained with --objective flow", writeup.FlowTimeRun},
	{"flow", "run of condition class trained with --objective flow", writeup.FlowRun},
}

func newWriteup() *cobra.Command {
	f := writeupFlags{dirs: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "writeup",
		Short: "Make the write-up of a whole course on diffusion: one page",
		Long: `Makes one page in two halves, with a checklist of what Berkeley's project 5 asks for.

Part A, by --model: prompts in 10, 20 and 100 steps, the forward process, denoising in one step and in many,
sampling, guidance, edits of photos and drawings, holes filled, anagrams and hybrids with their candidates.
--photo, --web and --drawing take pictures of your own, --subjects all that is shown.

Part B, of training runs: the denoiser, the training curves, samples after several epochs, guidance, flow matching.
Name the runs that you have: a run in progress is shown as far as it is. The models that come with the program, of
which there is the last epoch only, stand in for runs that are not named, unless those learned from other pictures
than MNIST. The checklist says which command trains what is missing.

What was drawn is kept in the page's folder, so that Ctrl-C loses little and a second page is quick.`,
		Example: `  unnoise writeup
  unnoise writeup --model DeepFloyd/IF-I-M-v1.0 --photo me.jpg --photo dog.jpg --photo tower.jpg
  unnoise writeup --class runs/digits
  unnoise writeup --half b --none runs/none --time runs/time --class runs/digits --class-flat runs/digits-flat`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := f.run(cmd)
			if cause := context.Cause(cmd.Context()); err != nil && cause != nil {
				return fmt.Errorf("stopped by %w; the same command goes on from what was drawn", cause)
			}
			return err
		},
	}
	flags := cmd.Flags()
	modelFlag(cmd, &f.model, registry.Default())
	flags.StringVar(&f.variant, "variant", "", "weights to take where the model's folder has several, such as fp16")
	cli.Folder(cmd, &f.upscale, "upscale", "",
		"stage of super-resolution (default: the model's own in the program, where it has one)")
	cli.Choice(cmd, &f.half, "half", "both", "what the page has: a, what a model can do; b, how one comes about; both",
		"a", "b", "both")
	flags.StringArrayVar(&f.photos, "photo", nil, "picture to noise and edit instead of the program's; up to three")
	flags.StringArrayVar(&f.web, "web", nil, "picture from the web to edit instead of the program's")
	flags.StringArrayVar(&f.drawings, "drawing", nil, "drawing to edit instead of the program's; two are usual")
	flags.StringVar(&f.subjects, "subjects", "", "JSON file that says all prompts, pictures and illusions of part A")
	flags.BoolVar(&f.print, "print-subjects", false, "print the subjects that the page would have, to change them")
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
	p := cli.Progress(cmd, false)
	l := lab.New(lab.Options{Backend: f.other(), Threads: f.threads})
	defer l.Close()
	c := course.Course{Model: f.model, Variant: f.variant, Upscale: f.upscale, Seed: f.seed,
		Artist: course.Artist{Lab: l, Dir: filepath.Join(f.out, "drawings"), Warn: p.Warn,
			Update: func(line string) { p.Update(func() string { return line }) }}}
	if f.half != "b" {
		var err error
		if c.Subjects, err = f.chosen(l); err != nil {
			return err
		}
	}
	if f.print {
		text, err := c.Subjects.JSON()
		if err == nil {
			_, err = cmd.OutOrStdout().Write(text)
		}
		return err
	}
	o := writeup.Page{Dir: f.out, Seed: f.seed}
	for _, r := range shownRuns {
		if dir := *f.dirs[r.flag]; dir != "" {
			if err := o.Open(dir, r.kind); err != nil {
				return fmt.Errorf("--%s: %w", r.flag, err)
			}
		}
	}
	switch {
	case f.half == "a" && o.HasRuns():
		return cli.Usagef("--half a shows no runs; leave it out to show both halves")
	case f.half != "a" && o.OfDigits():
		if err := course.Complete(&o); err != nil {
			return err
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
	o.Drawer = writeup.Drawer{Backend: b, BackendName: f.other(), DType: dtype, Device: info.Device, Draw: drawdigits.Draw,
		Update: p.Update}
	if f.half != "a" && o.OfDigits() && o.Pure == nil && f.trains() == nil {
		if err := course.TrainPure(cmd.Context(), &o, filepath.Join(f.out, "pure-noise")); err != nil {
			p.Clear()
			return err
		}
	}
	if err := c.Page(cmd.Context(), &o, f.half != "b"); err != nil {
		p.Clear()
		return err
	}
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

// chosen are the subjects of part A.
func (f *writeupFlags) chosen(l *lab.Lab) (course.Subjects, error) {
	s, err := course.DefaultSubjects(l, f.model, f.variant)
	if err != nil {
		return s, err
	}
	if f.subjects != "" {
		text, err := os.ReadFile(f.subjects)
		if err == nil {
			s, err = course.ParseSubjects(text, s)
		}
		if err != nil {
			return s, fmt.Errorf("--subjects: %w", err)
		}
	}
	s.Own(f.photos, f.web, f.drawings)
	return s, nil
}

// command is the line that makes the page again.
func (f *writeupFlags) command(cmd *cobra.Command, dtype dtypes.DType) string {
	line := "unnoise writeup" + cli.Given(cmd, "half", "variant", "upscale", "subjects", "none", "pure-noise", "time",
		"class", "class-flat", "flow-time", "flow", "out", "backend", "threads")
	if f.half != "b" {
		line += " --model " + shell.Quote(f.model)
	}
	for _, list := range []struct {
		flag  string
		files []string
	}{{"photo", f.photos}, {"web", f.web}, {"drawing", f.drawings}} {
		for _, file := range list.files {
			line += fmt.Sprintf(" --%s %s", list.flag, shell.Quote(file))
		}
	}
	for _, path := range f.reports {
		line += " --eval " + shell.Quote(path)
	}
	return fmt.Sprintf("%s --seed %d --dtype %s", line, f.seed, engine.Name(dtype))
}

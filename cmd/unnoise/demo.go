package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/course"
	"github.com/unnoise/unnoise/internal/browser"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/drawdigits"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/terminal"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/writeup"
)

type demoFlags struct {
	computing
	model, only, out string
	epochs, dim      int
	limit            int
	seed             uint64
	fresh, browser   bool
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show what the program does, in two minutes, on a page",
		Long: `Draws with the models that come with the program: pictures from words, noise taken away step by step, a drawing
drawn anew, a hole filled, an anagram, a hybrid, a number that turns. Then it trains a network on handwritten digits
for about a minute, as large a one as this machine can train in that time, and draws with it.

The page grows part by part: Ctrl-C leaves what is there, and the same command goes on. A second run is quick;
--fresh trains anew.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	modelFlag(cmd, &f.model, registry.Default())
	cli.Choice(cmd, &f.only, "only", "all", "what is shown", "pictures", "training", "all")
	cli.Folder(cmd, &f.out, "out", "out/demo", "folder for the run and the page")
	cli.Int(cmd, &f.epochs, "epochs", 1, 1, 1000, "times to go through the digits")
	cli.Int(cmd, &f.dim, "dim", 0, 0, 4096, "channels of the network's first level; 0: what takes about a minute")
	cli.Int(cmd, &f.limit, "limit", 0, 0, 1<<31-1, "train on the first digits only; 0: all, or as many as fit")
	cli.Seed(cmd, &f.seed, "seed of everything random")
	cmd.Flags().BoolVar(&f.fresh, "fresh", false, "train again from the start")
	cmd.Flags().BoolVar(&f.browser, "open", os.Getenv("DISPLAY")+os.Getenv("WAYLAND_DISPLAY") != "",
		"open the page in the browser (default: where there is a desktop)")
	cmd.Flags().Lookup("open").DefValue = "false" // --help is the same everywhere
	computeFlags(cmd, &f.computing)
	return cmd
}

func (f *demoFlags) run(cmd *cobra.Command) (err error) {
	start := time.Now()
	if err := f.trains(); err != nil {
		return err
	}
	if err := writeup.Check(f.out); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	p := terminal.NewProgress(cmd.OutOrStdout(), cmd.ErrOrStderr())
	defer p.Clear()
	var shown writeup.DemoData
	if f.only != "training" {
		if shown, err = f.pictures(cmd, p); err != nil {
			return err
		}
	}
	var page string
	if f.only == "pictures" {
		page, err = writeup.Demo(f.out, shown)
	} else {
		page, err = f.training(cmd, p, shown)
	}
	if err != nil {
		return err
	}
	if full, err := filepath.Abs(page); err == nil {
		page = full
	}
	p.Print("all of it in %s", duration.Format(time.Since(start)))
	if f.only != "training" {
		p.Print("\nTry next:\n  %s\n", strings.Join(course.Try(), "\n  "))
	}
	p.Print("The page: %s", page)
	return nil
}

// pictures draws with the models of the program.
func (f *demoFlags) pictures(cmd *cobra.Command, p *terminal.Progress) (writeup.DemoData, error) {
	l := lab.New(lab.Options{Backend: f.other(), Threads: f.threads})
	defer l.Close()
	d := course.Demo{Digits: "mnist-class", Course: course.Course{Model: f.model, Seed: f.seed,
		Artist: course.Artist{Lab: l, Dir: filepath.Join(f.out, "drawings"), Warn: p.Warn,
			Update: func(line string) { p.Update(func() string { return line }) }}}}
	opened := false
	return d.Show(cmd.Context(), f.out, func(line string) {
		p.Print("%s", line)
		if !opened && f.browser {
			if page, err := filepath.Abs(filepath.Join(f.out, "index.html")); err == nil {
				_ = browser.Open("file://" + page) // its path was printed
			}
		}
		opened = true
	})
}

// training trains a network and puts it on the page, behind what is shown there.
func (f *demoFlags) training(cmd *cobra.Command, p *terminal.Progress, shown writeup.DemoData) (page string,
	err error) {
	defer func() {
		if err != nil && len(shown.Sections) > 0 {
			shown.Next, shown.Stopped = "", true
			_, _ = writeup.Demo(f.out, shown) // the page has all but the training
		}
	}()
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return "", err
	}
	defer b.Finalize()
	p.Print("%s, %s", info, engine.Name(dtype))
	d, err := course.Lesson{Dir: filepath.Join(f.out, "run"), Epochs: f.epochs, Dim: f.dim, Limit: f.limit,
		Seed: f.seed, Fresh: f.fresh, Backend: b, BackendName: f.other(), DType: dtype, Draw: drawdigits.Draw,
		Print: p.Print, Update: p.Update, Warn: p.Warn}.Train(cmd.Context())
	p.Clear()
	if err != nil {
		return "", err
	}
	d.Sections, d.Try = shown.Sections, shown.Try
	p.Print("trained in %s, drew %d digits in %s", duration.Format(d.TrainingTime), d.Samples.N,
		duration.Format(d.SamplingTime))
	return d.Write(f.out, f.command(cmd, d.Config()), info.Device)
}

// command is the line that makes the page again: the recipe, spelled out because the machine may have chosen it, and
// the other flags that were given.
func (f *demoFlags) command(cmd *cobra.Command, c mnist.Config) string {
	line := fmt.Sprintf("unnoise demo --epochs %d --dim %d --seed %d --dtype %s", c.Epochs, c.Network.Dim, c.Seed,
		c.DType)
	if c.Backend == "" {
		line += fmt.Sprintf(" --threads %d", c.Threads)
	}
	if f.limit == 0 && c.Data.Images < 60000 {
		line += fmt.Sprintf(" --limit %d", c.Data.Images)
	}
	return line + cli.Given(cmd, "limit", "backend", "model", "only", "out")
}

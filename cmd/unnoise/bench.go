package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/bench"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/onednn"
)

// timing are the flags that all benchmarks have.
type timing struct {
	computing
	batch, runs int
	json        bool
}

func (t *timing) add(cmd *cobra.Command, batch, runs int, batchUsage string) {
	intFlag(cmd, &t.batch, "batch", batch, 1, 65536, batchUsage)
	intFlag(cmd, &t.runs, "runs", runs, 1, 100_000, "counted runs")
	computeFlags(cmd, &t.computing)
	cmd.Flags().StringSliceVar(&t.without, "without", nil,
		"optimizations to leave out, to see what they earn: "+strings.Join(onednn.Optimizations(), ", "))
	cmd.Flags().BoolVar(&t.profile, "profile", false,
		"print what each operation takes to stderr, from as many runs again")
	jsonFlag(cmd, &t.json, "print a JSON object")
}

// timed says how a function is timed.
func (t *timing) timed(cmd *cobra.Command, warmup int) bench.Runs {
	r := bench.Runs{Warmup: warmup, Counted: t.runs}
	if t.profile {
		r.Profile = cmd.ErrOrStderr()
	}
	return r
}

type benchFlags struct {
	timing
	condition   string
	dim, warmup int
}

// benchReport is what --json prints.
type benchReport struct {
	Version         int     `json:"version"`
	What            string  `json:"what"`
	Condition       string  `json:"condition"`
	Dim             int     `json:"dim"`
	Batch           int     `json:"batch"`
	DType           string  `json:"dtype"`
	Threads         int     `json:"threads"`
	Device          string  `json:"device"`
	BestSeconds     float64 `json:"best_s"`
	MedianSeconds   float64 `json:"median_s"`
	ImagesPerSecond float64 `json:"images_per_s"` // of the best run
	FirstSeconds    float64 `json:"first_s"`      // the first run, which compiles
	PeakBytes       int64   `json:"peak_bytes"`   // of the process
}

func newBench() *cobra.Command {
	return group("bench", "Time the engine on this machine",
		newBenchOf("train", "Time a training step of the UNet for digits"),
		newBenchOf("evaluate", "Time an evaluation of the UNet for digits"),
		newBenchModel(), newBenchText2Image())
}

func newBenchOf(what, short string) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use: what, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, what) },
	}
	choiceFlag(cmd, &f.condition, "condition", "class", "what the network is told besides the image", "none", "time",
		"class")
	intFlag(cmd, &f.dim, "dim", 64, 1, 4096, "channels of the network's first level")
	intFlag(cmd, &f.warmup, "warmup", 2, 0, 1000, "runs before those that count")
	images := "images at once"
	if what == "evaluate" {
		images = "images; a network evaluates at most 256 at once"
	}
	f.add(cmd, 128, 8, images)
	return cmd
}

func (f *benchFlags) run(cmd *cobra.Command, what string) error {
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	c := mnistunet.Default(mnistunet.Condition(f.condition))
	c.Dim = f.dim
	var once func() error
	var release func()
	if what == "train" {
		once, release, err = bench.TrainDigits(b, c, dtype, f.batch)
	} else {
		once, release, err = bench.EvaluateDigits(cmd.Context(), b, c, dtype, f.batch)
	}
	if err != nil {
		return err
	}
	defer release()
	s, err := f.timed(cmd, f.warmup).Time(cmd.Context(), b, once)
	if err != nil {
		return err
	}
	r := benchReport{
		Version: jsonVersion, What: what, Condition: f.condition, Dim: f.dim, Batch: f.batch, DType: engine.Name(dtype),
		Threads: info.Threads, Device: info.Device,
		BestSeconds: s.Best, MedianSeconds: s.Median, ImagesPerSecond: float64(f.batch) / s.Best, FirstSeconds: s.First,
		PeakBytes: memory.Peak(),
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(),
		"%s, condition %s, dim %d, batch %d, %s, %s: best %.1f ms, median %.1f ms, %.0f images/s; the first %.0f ms; "+
			"peak memory %.0f MB\n",
		what, r.Condition, r.Dim, r.Batch, r.DType, r.Device, 1e3*r.BestSeconds, 1e3*r.MedianSeconds, r.ImagesPerSecond,
		1e3*r.FirstSeconds, float64(r.PeakBytes)/1e6)
	return err
}

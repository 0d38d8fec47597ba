package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/nn"
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
	cmd.Flags().StringSliceVar(&t.without, "without", nil, "optimisations to leave out, to see what they earn: "+strings.Join(onednn.Optimizations(), ", "))
	cmd.Flags().BoolVar(&t.profile, "profile", false, "print what each operation takes to stderr, from as many runs again")
	jsonFlag(cmd, &t.json, "print a JSON object")
}

// seconds are the times of a function's runs.
type seconds struct{ first, best, median float64 }

// measure runs a function, warmup times before it counts; where that is none, the first run counts too.
func (t *timing) measure(cmd *cobra.Command, b compute.Backend, warmup int, once func() error) (seconds, error) {
	times := make([]float64, warmup+t.runs)
	for i := range times {
		if err := cmd.Context().Err(); err != nil {
			return seconds{}, err
		}
		start := time.Now()
		if err := once(); err != nil {
			return seconds{}, err
		}
		times[i] = time.Since(start).Seconds()
	}
	s := seconds{first: times[0]}
	times = times[warmup:]
	slices.Sort(times)
	s.best, s.median = times[0], (times[(len(times)-1)/2]+times[len(times)/2])/2
	if t.profile {
		onednn.StartProfile(b)
		for range t.runs {
			if err := cmd.Context().Err(); err != nil {
				return seconds{}, err
			}
			if err := once(); err != nil {
				return seconds{}, err
			}
		}
		onednn.StopProfile(b, cmd.ErrOrStderr())
	}
	return s, nil
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
		newBenchModel())
}

func newBenchOf(what, short string) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use: what, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, what) },
	}
	choiceFlag(cmd, &f.condition, "condition", "class", "what the network is told besides the image", "none", "time", "class")
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
	data := randomBatch(c, f.batch)
	var once func() error
	if what == "train" {
		random := diffusion.NewGenerator(0)
		t, err := nn.NewTrainer(b, c, nn.TrainerOptions{DType: dtype}, func(p nn.Param) ([]float32, error) { return p.Initial(random), nil })
		if err != nil {
			return err
		}
		defer t.Close()
		once = func() error { _, err := t.Step(data.inputs(c), 1e-3, 0); return err }
	} else {
		m, err := mnistunet.New(b, c, dtype, 0)
		if err != nil {
			return err
		}
		defer m.Close()
		once = func() error {
			_, err := m.Evaluate(cmd.Context(), diffusion.Images{N: f.batch, C: 1, H: mnistunet.Size, W: mnistunet.Size, Data: data.x}, data.t, data.class)
			return err
		}
	}
	s, err := f.measure(cmd, b, f.warmup, once)
	if err != nil {
		return err
	}
	r := benchReport{
		Version: jsonVersion, What: what, Condition: f.condition, Dim: f.dim, Batch: f.batch, DType: engine.Name(dtype), Threads: info.Threads, Device: info.Device,
		BestSeconds: s.best, MedianSeconds: s.median, ImagesPerSecond: float64(f.batch) / s.best, FirstSeconds: s.first, PeakBytes: peakMemory(),
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s, condition %s, dim %d, batch %d, %s, %s: best %.1f ms, median %.1f ms, %.0f images/s; the first %.0f ms; peak memory %.0f MB\n",
		what, r.Condition, r.Dim, r.Batch, r.DType, r.Device, 1e3*r.BestSeconds, 1e3*r.MedianSeconds, r.ImagesPerSecond, 1e3*r.FirstSeconds, float64(r.PeakBytes)/1e6)
	return err
}

// peakMemory is the most memory, in bytes, that the process has held.
func peakMemory() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return int64(u.Maxrss) * 1024 // Linux counts KiB
}

// batch is what a step of n images learns from.
type batch struct {
	n                   int
	x, target, t, class []float32
}

// randomBatch is a batch of noise: times don't depend on the values.
func randomBatch(c mnistunet.Config, n int) batch {
	const size = mnistunet.Size * mnistunet.Size
	g := diffusion.NewGenerator(0)
	b := batch{n: n, x: make([]float32, n*size), target: make([]float32, n*size)}
	g.Normal(b.x)
	g.Normal(b.target)
	if c.Condition != mnistunet.None {
		b.t = make([]float32, n)
		g.Uniform(b.t)
	}
	if c.Condition == mnistunet.Class {
		b.class = make([]float32, n*c.Classes)
		for i := range n {
			b.class[i*c.Classes+i%c.Classes] = 1
		}
	}
	return b
}

// inputs are the arrays that the network takes in training.
func (b batch) inputs(c mnistunet.Config) []nn.Input {
	image := []int{b.n, mnistunet.Size, mnistunet.Size, 1}
	in := []nn.Input{{Name: "x", Shape: image, Values: b.x}, {Name: "target", Shape: image, Values: b.target}}
	if b.t != nil {
		in = append(in, nn.Input{Name: "t", Shape: []int{b.n, 1}, Values: b.t})
	}
	if b.class != nil {
		in = append(in, nn.Input{Name: "class", Shape: []int{b.n, c.Classes}, Values: b.class})
	}
	return in
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/deepfloyd/synthetic"
	"github.com/unnoise/unnoise/internal/bench"
	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/memory"
)

type benchModelFlags struct {
	timing
	size, dir string
}

// benchModelReport is what --json prints.
type benchModelReport struct {
	Version       int     `json:"version"`
	What          string  `json:"what"`
	Size          string  `json:"size"`
	Folder        string  `json:"folder"`
	Batch         int     `json:"batch"`
	DType         string  `json:"dtype"`
	Threads       int     `json:"threads"`
	Device        string  `json:"device"`
	BestSeconds   float64 `json:"best_s"`
	MedianSeconds float64 `json:"median_s"`
	LoadSeconds   float64 `json:"load_s"`  // reading the weights
	FirstSeconds  float64 `json:"first_s"` // the first evaluation, which compiles
	PeakBytes     int64   `json:"peak_bytes"`
}

func newBenchModel() *cobra.Command {
	var f benchModelFlags
	cmd := &cobra.Command{
		Use: "model", Short: "Time a network of DeepFloyd IF in full size",
		Long: `Times one evaluation of a network of DeepFloyd IF in its full size: stage I's UNet for images of 64×64
(M, L, XL), stage II's for 256×256 (sr-M), or its text encoder for texts of 77 tokens (t5-xxl).

The weights are random numbers, written once to a folder in the hub's layout: no download, no licence.
They take 2 bytes a parameter: 0.7 GB (M), 1.3 GB (sr-M), 1.9 GB (L), 8.6 GB (XL), 9.5 GB (t5-xxl).`,
		Example: "  unnoise bench model --size M\n  unnoise bench model --size XL --dir /data/random --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	choiceFlag(cmd, &f.size, "size", "M", "the network", synthetic.Sizes()...)
	cmd.Flags().StringVar(&f.dir, "dir", "",
		"folder for the networks' folders (default: unnoise/random in the cache folder)")
	completeFolder(cmd, "dir")
	f.add(cmd, 2, 3, "images or texts at once")
	return cmd
}

func (f *benchModelFlags) run(cmd *cobra.Command) error {
	network, err := synthetic.Find(f.size)
	if err != nil {
		return err
	}
	memory.Save()
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	dir, err := f.folder(cmd, network)
	if err != nil {
		return err
	}
	start := time.Now()
	load := bench.EvaluateStage
	if network.TextEncoder {
		load = bench.EvaluateTextEncoder
	}
	once, release, err := load(cmd.Context(), b, dir, dtype, f.batch)
	if err != nil {
		return err
	}
	defer release()
	loaded := time.Since(start).Seconds()
	s, err := f.timed(cmd, 1).Time(cmd.Context(), b, once)
	if err != nil {
		return err
	}
	r := benchModelReport{
		Version: jsonVersion, What: "model", Size: f.size, Folder: dir, Batch: f.batch, DType: engine.Name(dtype),
		Threads: info.Threads, Device: info.Device,
		BestSeconds: s.Best, MedianSeconds: s.Median, LoadSeconds: loaded, FirstSeconds: s.First,
		PeakBytes: memory.Peak(),
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(),
		"%s, batch %d, %s, %s: best %.2f s, median %.2f s; loading %.2f s, then the first evaluation %.2f s; peak "+
			"memory %.2f GB\n",
		r.Size, r.Batch, r.DType, r.Device, r.BestSeconds, r.MedianSeconds, r.LoadSeconds, r.FirstSeconds,
		float64(r.PeakBytes)/1e9)
	return err
}

// folder is where the network lies; it is written if it is not there.
func (f *benchModelFlags) folder(cmd *cobra.Command, network synthetic.Network) (string, error) {
	parent := f.dir
	if parent == "" {
		var err error
		if parent, err = cachedir.Path("random"); err != nil {
			return "", fmt.Errorf("%w; give --dir", err)
		}
	}
	dir := filepath.Join(parent, network.Folder)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	var w io.Writer = io.Discard
	if !f.json {
		w = cmd.ErrOrStderr()
	}
	shown := newProgress(w)
	defer shown.clear()
	err := network.Write(cmd.Context(), dir, 0, func(p synthetic.Progress) {
		if p.Done == 0 {
			shown.print("writing %.1f GB of random weights, once: %s", float64(p.Total)/1e9, dir)
			return
		}
		shown.update(func() string { return fmt.Sprintf("%s of %s", megabytes(p.Done), megabytes(p.Total)) })
	})
	return dir, err
}

package main

import (
	"fmt"
	"os"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/bench"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/text2image"
)

type benchText2ImageFlags struct {
	timing
	folder string
}

// benchText2ImageReport is what --json prints.
type benchText2ImageReport struct {
	Version             int     `json:"version"`
	What                string  `json:"what"`
	Parameters          int     `json:"parameters"`
	Batch               int     `json:"batch"`
	DType               string  `json:"dtype"`
	Threads             int     `json:"threads"`
	Device              string  `json:"device"`
	BestSeconds         float64 `json:"best_s"` // of a training step
	MedianSeconds       float64 `json:"median_s"`
	ImagesPerSecond     float64 `json:"images_per_s"`  // of the best step
	FirstSeconds        float64 `json:"first_s"`       // the first step, which compiles
	GuidedBestSeconds   float64 `json:"guided_best_s"` // of an evaluation of one image and two texts
	GuidedMedianSeconds float64 `json:"guided_median_s"`
	PeakBytes           int64   `json:"peak_bytes"` // of the process, up to the training steps
}

func newBenchText2Image() *cobra.Command {
	var f benchText2ImageFlags
	cmd := &cobra.Command{
		Use: "text2image", Short: "Time training and evaluating the text-to-image network",
		Long: `Times a training step of the first stage of 'unnoise train text2image' at 32×32, text encoder and UNet
together, and a guided evaluation of one image: both texts encoded, and the UNet with both. Values and
texts are random.`,
		Example: "  unnoise bench text2image\n  unnoise bench text2image --batch 64 --dtype f32 --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVar(&f.folder, "folder", "",
		"also write the network with its values to this folder, in the hub's layout, for other programs' benchmarks")
	completeFolder(cmd, "folder")
	f.add(cmd, 32, 5, "images a training step")
	return cmd
}

func (f *benchText2ImageFlags) run(cmd *cobra.Command) error {
	if err := f.trains(); err != nil {
		return err
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	network, err := bench.Text2ImageNetwork()
	if err != nil {
		return err
	}
	once, release, err := bench.TrainText2Image(b, network, dtype, f.batch)
	if err != nil {
		return err
	}
	defer release()
	step, err := f.timed(cmd, 2).Time(cmd.Context(), b, once)
	if err != nil {
		return err
	}
	peak := memory.Peak()
	release()
	guided, err := f.guided(cmd, b, dtype, network)
	if err != nil {
		return err
	}
	r := benchText2ImageReport{
		Version: jsonVersion, What: "text2image", Parameters: network.Parameters(), Batch: f.batch,
		DType: engine.Name(dtype), Threads: info.Threads, Device: info.Device,
		BestSeconds: step.Best, MedianSeconds: step.Median, ImagesPerSecond: float64(f.batch) / step.Best,
		FirstSeconds:      step.First,
		GuidedBestSeconds: guided.Best, GuidedMedianSeconds: guided.Median, PeakBytes: peak,
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(),
		"training step, batch %d, %s, %s: best %.1f ms, median %.1f ms, %.0f images/s; the first %.0f ms\nguided "+
			"evaluation of one image: best %.1f ms, median %.1f ms; peak memory %.0f MB\n",
		r.Batch, r.DType, r.Device, 1e3*r.BestSeconds, 1e3*r.MedianSeconds, r.ImagesPerSecond, 1e3*r.FirstSeconds,
		1e3*r.GuidedBestSeconds, 1e3*r.GuidedMedianSeconds, float64(r.PeakBytes)/1e6)
	return err
}

// guided times an evaluation of the network with initial values, from its folder.
func (f *benchText2ImageFlags) guided(cmd *cobra.Command, b compute.Backend, dtype dtypes.DType,
	n *text2image.Network) (bench.Seconds, error) {
	dir := f.folder
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "unnoise-text2image-"); err != nil {
			return bench.Seconds{}, err
		}
		defer os.RemoveAll(dir)
	}
	if err := n.Save(dir, n.Initial(0)); err != nil {
		return bench.Seconds{}, err
	}
	once, release, err := bench.EvaluateText2Image(cmd.Context(), b, dir, dtype)
	if err != nil {
		return bench.Seconds{}, err
	}
	defer release()
	return f.timed(cmd, 2).Time(cmd.Context(), b, once)
}

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/synthetic"
	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/mnistunet"
)

// Report is a benchmark's result. What a benchmark does not have is left out.
type Report struct {
	Version             int     `json:"version"`
	What                string  `json:"what"`
	Condition           string  `json:"condition,omitempty"` // of the network for digits
	Dim                 int     `json:"dim,omitempty"`
	Size                string  `json:"size,omitempty"` // of a network of DeepFloyd IF
	Folder              string  `json:"folder,omitempty"`
	Parameters          int     `json:"parameters,omitempty"`
	Batch               int     `json:"batch"`
	DType               string  `json:"dtype"`
	Threads             int     `json:"threads"`
	Device              string  `json:"device"`
	BestSeconds         float64 `json:"best_s"`
	MedianSeconds       float64 `json:"median_s"`
	ImagesPerSecond     float64 `json:"images_per_s,omitempty"`  // of the best run
	LoadSeconds         float64 `json:"load_s,omitempty"`        // reading the weights
	FirstSeconds        float64 `json:"first_s"`                 // the first run, which compiles
	GuidedBestSeconds   float64 `json:"guided_best_s,omitempty"` // of an evaluation of one image and two texts
	GuidedMedianSeconds float64 `json:"guided_median_s,omitempty"`
	PeakBytes           int64   `json:"peak_bytes"` // of the process; of text2image up to the training steps
}

// ReportVersion is the version of Report.
const ReportVersion = 1

// Setting is what a benchmark runs on.
type Setting struct {
	Backend compute.Backend
	Info    engine.Info
	DType   dtypes.DType
	Batch   int
	Runs
}

func (s Setting) report(what string, t Seconds) Report {
	return Report{Version: ReportVersion, What: what, Batch: s.Batch, DType: engine.Name(s.DType),
		Threads: s.Info.Threads, Device: s.Info.Device, BestSeconds: t.Best, MedianSeconds: t.Median,
		FirstSeconds: t.First, PeakBytes: memory.Peak()}
}

// Digits times a network for digits: a training step, or an evaluation.
func (s Setting) Digits(ctx context.Context, c mnistunet.Config, training bool) (Report, error) {
	what := "evaluate"
	var once func() error
	var release func()
	var err error
	if training {
		what = "train"
		once, release, err = TrainDigits(s.Backend, c, s.DType, s.Batch)
	} else {
		once, release, err = EvaluateDigits(ctx, s.Backend, c, s.DType, s.Batch)
	}
	if err != nil {
		return Report{}, err
	}
	defer release()
	t, err := s.Time(ctx, s.Backend, once)
	if err != nil {
		return Report{}, err
	}
	r := s.report(what, t)
	r.Condition, r.Dim, r.ImagesPerSecond = string(c.Condition), c.Dim, float64(s.Batch)/t.Best
	return r, nil
}

// Model times an evaluation of a network of DeepFloyd IF in full size. Its folder lies in parent, or in the cache
// folder; it is written if it is not there.
func (s Setting) Model(ctx context.Context, size, parent string, report func(dir string, p synthetic.Progress)) (Report,
	error) {
	network, err := synthetic.Find(size)
	if err != nil {
		return Report{}, err
	}
	if parent == "" {
		if parent, err = cachedir.Path("random"); err != nil {
			return Report{}, fmt.Errorf("%w; give --dir", err)
		}
	}
	dir := filepath.Join(parent, network.Folder)
	if _, err := os.Stat(dir); err != nil {
		if err := network.Write(ctx, dir, 0, func(p synthetic.Progress) { report(dir, p) }); err != nil {
			return Report{}, err
		}
	}
	start := time.Now()
	load := EvaluateStage
	if network.TextEncoder {
		load = EvaluateTextEncoder
	}
	once, release, err := load(ctx, s.Backend, dir, s.DType, s.Batch)
	if err != nil {
		return Report{}, err
	}
	defer release()
	loaded := time.Since(start).Seconds()
	t, err := s.Time(ctx, s.Backend, once)
	if err != nil {
		return Report{}, err
	}
	r := s.report("model", t)
	r.Size, r.Folder, r.LoadSeconds = size, dir, loaded
	return r, nil
}

// Text2Image times a training step of the text-to-image network, and a guided evaluation of one image. The network is
// written to a folder, or for the time being if none is given.
func (s Setting) Text2Image(ctx context.Context, folder string) (Report, error) {
	network, err := Text2ImageNetwork()
	if err != nil {
		return Report{}, err
	}
	once, release, err := TrainText2Image(s.Backend, network, s.DType, s.Batch)
	if err != nil {
		return Report{}, err
	}
	step, err := s.Time(ctx, s.Backend, once)
	peak := memory.Peak()
	release()
	if err != nil {
		return Report{}, err
	}
	if folder == "" {
		if folder, err = os.MkdirTemp("", "unnoise-text2image-"); err != nil {
			return Report{}, err
		}
		defer os.RemoveAll(folder)
	}
	if err := network.Save(folder, network.Initial(0)); err != nil {
		return Report{}, err
	}
	if once, release, err = EvaluateText2Image(ctx, s.Backend, folder, s.DType); err != nil {
		return Report{}, err
	}
	defer release()
	guided, err := s.Time(ctx, s.Backend, once)
	if err != nil {
		return Report{}, err
	}
	r := s.report("text2image", step)
	r.Parameters, r.ImagesPerSecond, r.PeakBytes = network.Parameters(), float64(s.Batch)/step.Best, peak
	r.GuidedBestSeconds, r.GuidedMedianSeconds = guided.Best, guided.Median
	return r, nil
}

// String is the report for people.
func (r Report) String() string {
	on := fmt.Sprintf("batch %d, %s, %s", r.Batch, r.DType, r.Device)
	if r.What == "model" {
		return fmt.Sprintf("%s, %s: best %.2f s, median %.2f s; loading %.2f s, then the first evaluation %.2f s; "+
			"peak memory %.2f GB\n", r.Size, on, r.BestSeconds, r.MedianSeconds, r.LoadSeconds, r.FirstSeconds,
			float64(r.PeakBytes)/1e9)
	}
	times := fmt.Sprintf("%s: best %.1f ms, median %.1f ms, %.0f images/s; the first %.0f ms", on, 1e3*r.BestSeconds,
		1e3*r.MedianSeconds, r.ImagesPerSecond, 1e3*r.FirstSeconds)
	peak := fmt.Sprintf("; peak memory %.0f MB\n", float64(r.PeakBytes)/1e6)
	if r.What == "text2image" {
		return fmt.Sprintf("training step, %s\nguided evaluation of one image: best %.1f ms, median %.1f ms", times,
			1e3*r.GuidedBestSeconds, 1e3*r.GuidedMedianSeconds) + peak
	}
	return fmt.Sprintf("%s, condition %s, dim %d, %s", r.What, r.Condition, r.Dim, times) + peak
}

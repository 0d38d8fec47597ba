package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/weights"
)

// PipelineReport tells what a pipeline's folder has, and what to expect of it on this machine. It has a place in JSON.
type PipelineReport struct {
	Version   int          `json:"version"`
	Folder    string       `json:"folder"`
	Class     string       `json:"class"`
	Parts     []PartReport `json:"parts"`
	LeftOut   []string     `json:"left_out"`
	DType     string       `json:"dtype"` // of the estimates
	Threads   int          `json:"threads"`
	Device    string       `json:"device"`
	Rates     Rates        `json:"measured_rates"`
	Available uint64       `json:"memory_available_bytes"`
}

// Rates are what one convolution and one product were measured to reach.
type Rates struct {
	Convolution float64 `json:"convolution_multiply_adds_per_s"`
	Product     float64 `json:"product_multiply_adds_per_s"`
}

// PartReport is of one part of a pipeline.
type PartReport struct {
	Name    string   `json:"name"`
	Class   string   `json:"class"`
	Missing bool     `json:"missing,omitempty"`
	Files   []string `json:"files"`
	Bytes   int64    `json:"bytes"`
	*Estimate
}

// Estimate is of a part with weights.
type Estimate struct {
	Parameters   int                   `json:"parameters"`
	DTypes       map[weights.DType]int `json:"dtypes"` // values in the files
	WeightBytes  int                   `json:"weight_bytes"`
	MemoryBytes  int                   `json:"estimated_memory_bytes"`
	Evaluation   string                `json:"evaluation"`
	MultiplyAdds int                   `json:"multiply_adds"`
	Seconds      float64               `json:"estimated_s"`
}

// besides is what an evaluation of two images or texts needs besides the weights, in bytes.
const besides = 1_000_000_000

// ReportPipeline makes the report of a pipeline's folder, of which variant says what weights to take. It measures what
// the backend computes in dtype, which takes a second.
func ReportPipeline(b compute.Backend, info engine.Info, dtype dtypes.DType, dir, variant string) (PipelineReport,
	error) {
	index, parts, err := deepfloyd.Inspect(dir, variant)
	if err != nil {
		return PipelineReport{}, err
	}
	rates, err := engine.MeasureRates(b, dtype)
	if err != nil {
		return PipelineReport{}, err
	}
	r := PipelineReport{Version: 1, Threads: info.Threads, Device: info.Device,
		Folder: dir, Class: index.Class, LeftOut: append([]string{}, index.LeftOut...), DType: engine.Name(dtype),
		Rates: Rates(rates),
	}
	_, r.Available = memory.Read()
	for _, p := range parts {
		part := PartReport{Name: p.Name, Class: string(p.Class), Missing: p.Missing,
			Files: append([]string{}, p.Files...), Bytes: p.Bytes}
		if p.Values != nil {
			held := p.Memory(dtype)
			part.Estimate = &Estimate{
				p.Parameters, p.Values, held, held + besides, p.Evaluation, p.Work.Convolutions + p.Work.Products,
				float64(p.Work.Convolutions)/rates.Convolution + float64(p.Work.Products)/rates.Product,
			}
		}
		r.Parts = append(r.Parts, part)
	}
	return r, nil
}

// String is the report for people.
func (r PipelineReport) String() string {
	var text strings.Builder
	row := func(name, format string, values ...any) {
		fmt.Fprintf(&text, "%-24s %s\n", name, fmt.Sprintf(format, values...))
	}
	row("pipeline", "%s in %s", r.Class, r.Folder)
	for _, p := range r.Parts {
		switch {
		case p.Missing:
			row(p.Name, "%s, which is not in the folder", p.Class)
			continue
		case p.Estimate == nil:
			row(p.Name, "%s, %s", p.Class, strings.Join(p.Files, ", "))
			continue
		}
		row(p.Name, "%s, %.1f million parameters", p.Class, float64(p.Parameters)/1e6)
		var kinds []string
		for _, d := range slices.Sorted(maps.Keys(p.DTypes)) {
			kinds = append(kinds, string(d))
		}
		row("  files", "%.2f GB of %s: %s", float64(p.Bytes)/1e9, strings.Join(kinds, ", "),
			strings.Join(p.Files, ", "))
		row("  memory, estimated", "%.1f GB: %.2f GB of weights in %s, and %.0f GB", float64(p.MemoryBytes)/1e9,
			float64(p.WeightBytes)/1e9, r.DType, besides/1e9)
		if p.MultiplyAdds > 0 {
			row("  time, estimated", "%.1f s for %s, %.3g multiply-adds", p.Seconds, p.Evaluation,
				float64(p.MultiplyAdds))
		}
	}
	if len(r.LeftOut) > 0 {
		row("left out", "%s", strings.Join(r.LeftOut, ", "))
	}
	fmt.Fprintf(&text, `
Parts are in memory one after the other; %.1f GB are available. Times are estimates, of the arithmetic alone: a
convolution and a product that were run just now, in %s on %s, did %.0f and %.0f billion multiply-adds a second.
`, float64(r.Available)/1e9, r.DType, r.Device, r.Rates.Convolution/1e9, r.Rates.Product/1e9)
	return text.String()
}

// Package doctor tells what networks run on here, what is missing, and how to get it.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/forecast"
	"github.com/unnoise/unnoise/internal/memory"
)

// Report is what was found.
type Report struct {
	Version   int      `json:"version"` // of this format: 1
	Unnoise   string   `json:"unnoise"`
	Commit    string   `json:"commit,omitempty"`
	Go        string   `json:"go"`
	Platform  string   `json:"platform"`
	Library   string   `json:"library,omitempty"` // oneDNN's path
	OneDNN    string   `json:"onednn,omitempty"`  // its version
	ISA       string   `json:"isa"`
	Threads   int      `json:"threads"`
	DType     string   `json:"dtype"` // what auto is here
	Plugins   []string `json:"xla_plugins"`
	Memory    uint64   `json:"memory_bytes"`
	Available uint64   `json:"memory_available_bytes"`
	Cache     string   `json:"cache"`
	Problems  []string `json:"problems"`
	*forecast.Forecast

	source string
}

// Examine looks at the machine. measure: it also says what the machine is good for, which takes some seconds.
func Examine(ctx context.Context, measure bool) (Report, error) {
	b, info, err := engine.New(engine.Options{})
	if err != nil {
		return Report{}, err
	}
	defer b.Finalize()
	dtype, err := engine.DType("auto", "")
	if err != nil {
		return Report{}, err
	}
	v := build.Read()
	r := Report{Version: 1, Unnoise: v.Unnoise, Commit: build.Commit(), Go: v.Go, Platform: v.Platform,
		source: v.Source(), Library: info.Library.Path, OneDNN: info.Library.Version, ISA: info.Library.ISA, Threads: info.Threads,
		DType: engine.Name(dtype), Plugins: append([]string{}, engine.Plugins()...),
		Problems: []string{}}
	if r.Cache, err = cachedir.Path(); err == nil {
		err = cachedir.Check(r.Cache)
	}
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	r.Memory, r.Available = memory.Read()
	if w := info.Warning(); w != "" {
		r.Problems = append(r.Problems, w)
	}
	if measure {
		f, err := forecast.Measure(ctx, b, dtype)
		if err != nil {
			return r, err
		}
		r.Forecast = &f
	}
	return r, nil
}

// String is the report for people.
func (r Report) String() string {
	library := "none"
	if r.Library != "" {
		library = fmt.Sprintf("%s (%s)", r.OneDNN, r.Library)
	}
	why := "the CPU multiplies bfloat16"
	switch {
	case r.Library == "":
		why = "bfloat16 is fast with oneDNN only"
	case r.DType == "f32":
		why = "oneDNN knows no fast bfloat16 on this CPU"
	}
	memory := "unknown"
	if r.Memory > 0 {
		memory = fmt.Sprintf("%.1f GiB, %.1f GiB of it available", float64(r.Memory)/(1<<30),
			float64(r.Available)/(1<<30))
	}
	var text strings.Builder
	for _, line := range [][2]string{
		{"unnoise", r.source}, {"Go", r.Go + ", " + r.Platform},
		{"oneDNN", library}, {"instructions", r.ISA},
		{"threads", fmt.Sprint(r.Threads)}, {"dtype auto", r.DType + ": " + why},
		{"XLA plugins", cmp.Or(strings.Join(r.Plugins, ", "), "none")}, {"memory", memory},
		{"cache", cmp.Or(r.Cache, "none")},
	} {
		fmt.Fprintf(&text, "%-14s%s\n", line[0], line[1])
	}
	if r.Forecast != nil {
		fmt.Fprintf(&text, "\n%s", r.Forecast.Text(r.Available))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&text, "\n%s\n", p)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(&text, "\nNothing is missing.")
	}
	return text.String()
}

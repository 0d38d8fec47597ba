package captions

import (
	"context"
	"fmt"
	"image/png"
	"io"
	"strings"
	"time"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/text2image"
)

// Report is what was measured, as JSON. Shares are from 0 to 1.
type Report struct {
	Version int    `json:"version"` // of this format: 1
	Commit  string `json:"commit,omitempty"`
	Data    string `json:"data"` // the set's folder
	DType   string `json:"dtype"`
	Seed    uint64 `json:"seed"`
	Own     Scores `json:"own_pictures"`    // of the set: of the name and the style, as training shows them
	Random  Scores `json:"random_pictures"` // any of the set
	Rows    []Row  `json:"rows"`
}

// ReportVersion is the version of Report.
const ReportVersion = 1

// Row is one way of drawing with a model, and what that is worth.
type Row struct {
	Model    string  `json:"model"`
	Sampler  string  `json:"sampler"`
	Steps    int     `json:"steps"`
	Guidance float64 `json:"guidance"`
	Seconds  float64 `json:"seconds"`
	Scores
}

// Write writes the report to a file.
func (r *Report) Write(path string) error { return atomicfile.WriteJSON(path, r) }

// String is the report for people.
func (r *Report) String() string {
	var text strings.Builder
	line := func(name string, s Scores) {
		fmt.Fprintf(&text, "%-40s %s, style %5.1f %%", name, s.Names, 100*s.Names.Style)
		for _, kind := range Kinds {
			if share, ok := s.Held[kind]; ok {
				fmt.Fprintf(&text, "; %s %s", kind, share)
			}
		}
		text.WriteString("\n")
	}
	fmt.Fprintf(&text, "top-1 and top-5 of %d images, then of what is held out\n", r.Own.Names.Images)
	line("the set's own", r.Own)
	line("any of the set", r.Random)
	for _, row := range r.Rows {
		line(fmt.Sprintf("%s, %s:%d, γ %g", row.Model, row.Sampler, row.Steps, row.Guidance), row.Scores)
	}
	return text.String()
}

// String is the share for people.
func (s Share) String() string { return fmt.Sprintf("%.1f / %.1f %%", 100*s.Top1, 100*s.Top5) }

// Measurement fills in a report. Update is told how far it is.
type Measurement struct {
	*Report
	*Judge
	Held   bool
	Update func(line func() string)
}

// Model measures a model in several ways, and returns the images of the last.
func (m Measurement) Model(ctx context.Context, first model.Model, ways []evaluation.Sampling,
	guidance []float64) (samples []Sample, err error) {
	spec := first.Spec()
	if !spec.Texts || spec.Upscales || spec.Channels != 3 || spec.Height != side || spec.Width != side {
		return nil, model.Errorf("model", "expected one that draws %d×%[1]d from captions, found %s", side, spec.ID)
	}
	for _, way := range ways {
		full, _, err := first.Plan(way.Plan())
		if err != nil {
			return nil, err
		}
		for _, γ := range guidance {
			start, seed := time.Now(), m.Seed
			row := Row{Model: spec.ID, Sampler: full.Sampler, Steps: full.Steps, Guidance: γ}
			draw := func(ctx context.Context, texts []string) (diffusion.Images, error) {
				seed++
				return text2image.Draw(ctx, first, texts, text2image.Sampling{Sampler: full.Sampler, Size: side,
					Steps: full.Steps, Guidance: float32(γ), Seed: seed})
			}
			row.Scores, samples, err = m.Judge.Measure(ctx, draw, m.Held, func(done, all int) {
				m.Update(func() string {
					return fmt.Sprintf("%s, %s:%d, γ %g: %d/%d images", spec.ID, full.Sampler, full.Steps, γ, done, all)
				})
			})
			if err != nil {
				return nil, err
			}
			row.Seconds = time.Since(start).Seconds()
			m.Rows = append(m.Rows, row)
		}
	}
	return samples, nil
}

// WriteSheet writes a picture of the first 100 samples, with the nearest picture behind each.
func (j *Judge) WriteSheet(path string, samples []Sample) error {
	const images, columns = 100, 16
	examples, err := j.sheet(samples[:min(images, len(samples))])
	if err != nil {
		return err
	}
	sheet, err := captioned.Sheet(examples, columns)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, sheet) })
}

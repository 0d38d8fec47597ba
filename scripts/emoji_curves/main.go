// Emoji_curves draws how the errors of emoji's first stage fell on pictures that are held out, by band of t, for its
// card: emoji_curves pretrained/emoji/stage1.metrics.jsonl.gz docs/pictures/emoji-curves.svg
package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/text2image"
	"github.com/unnoise/unnoise/training"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: emoji_curves METRICS.jsonl.gz FILE.svg")
		os.Exit(2)
	}
	if err := draw(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "emoji_curves:", err)
		os.Exit(1)
	}
}

func draw(from, to string) error {
	metrics, err := read(from)
	if err != nil {
		return err
	}
	const width = text2image.Timesteps / text2image.Bands
	var lines []figure.Line
	for low := text2image.Timesteps - width; low >= 0; low -= width {
		line := figure.Line{Name: fmt.Sprintf("t from %d to %d", low, low+width-1)}
		for _, m := range metrics {
			if e, ok := m.Scores[fmt.Sprintf("error_t%d", low)]; ok {
				line.X, line.Y = append(line.X, float64(m.Step)), append(line.Y, e)
			}
		}
		lines = append(lines, line)
	}
	if len(lines[0].X) == 0 {
		return errors.New(from + ": expected errors by band of t, found none")
	}
	svg, err := figure.Curve{Title: "Errors on pictures that are held out, over training", XLabel: "training step",
		YLabel: "mean squared error of v", X: lines[0].X, Y: lines[0].Y, Name: lines[0].Name, Others: lines[1:],
		Smoothing: 1, LogY: true}.SVG()
	if err != nil {
		return err
	}
	return atomicfile.Write(to, func(w io.Writer) error {
		_, err := w.Write(svg)
		return err
	})
}

func read(path string) ([]training.Metric, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return training.ParseMetrics(path, z)
}

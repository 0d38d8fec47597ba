package text2image

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/training"
)

// WriteCurves draws the errors of the models that a run has kept, see [Curves], to curves.svg in its folder.
func WriteCurves(dir string) error {
	metrics, err := training.ReadMetrics(dir)
	if err != nil {
		return err
	}
	svg, err := Curves(metrics)
	if err != nil || svg == nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, "curves.svg"), func(w io.Writer) error {
		_, err := w.Write(svg)
		return err
	})
}

// Curves draws the errors on held-out pictures that metrics tell, by band of t where they are told apart, as SVG. Where
// there are fewer than two measurements there is nothing to draw: nil.
func Curves(metrics []training.Metric) ([]byte, error) {
	lines := map[string]figure.Line{}
	for _, m := range metrics {
		for score, v := range m.Scores {
			line := lines[score]
			line.Name = "error"
			if low, ok := strings.CutPrefix(score, bandPrefix); ok {
				if t, err := strconv.Atoi(low); err == nil {
					line.Name = fmt.Sprintf("t < %d", t+Timesteps/Bands)
				}
			}
			line.X, line.Y = append(line.X, float64(m.Step)), append(line.Y, v)
			lines[score] = line
		}
	}
	var all []figure.Line
	for _, score := range slices.Sorted(maps.Keys(lines)) {
		if len(lines[score].X) > 1 {
			all = append(all, lines[score])
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return figure.Curve{Title: "Errors on held-out pictures", XLabel: "training step", YLabel: "mean squared error",
		X: all[0].X, Y: all[0].Y, Smoothing: 1, LogY: true, Name: all[0].Name, Others: all[1:]}.SVG()
}

package text2image

import (
	"strings"
	"testing"

	"github.com/unnoise/unnoise/training"
)

// Each band of t has a line of its own, which goes through what was measured. One measurement is no line.
func TestCurves(t *testing.T) {
	metrics := []training.Metric{{Event: "step", Step: 1, Loss: 1}}
	for step := range 3 {
		svg, err := Curves(metrics)
		if err != nil {
			t.Fatal(err)
		}
		if drawn := svg != nil; drawn != (step > 1) {
			t.Errorf("of %d measurements curves are drawn: %t", step, drawn)
		}
		if drawn := string(svg); step > 1 && (strings.Count(drawn, `<path class="other"`) != Bands-1 ||
			!strings.Contains(drawn, "t &lt; 1000")) {
			t.Errorf("expected a line for each of %d bands, found %s", Bands, drawn)
		}
		metrics = append(metrics, training.Metric{Event: "validation", Step: 10 * (step + 1),
			Scores: scores([Bands]float64{0.3, 0.2, 0.1, 0.1, 0.2})})
	}
}

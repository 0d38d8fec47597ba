package evaluation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/mnistunet"
)

// Tables have each number in its column.
func TestReportTables(t *testing.T) {
	r := Report{Complete: true, Model: "m", Data: "MNIST", Denoising: []NoiseLevel{{Sigma: 0.5, Images: 50, Model: 0.01,
		Noisy: 0.25, Constant: 0.07}}}
	if row := fmt.Sprint(r.Tables()[0].Rows[0]); row != "[0.5 0.01000 0.25000 0.07000]" {
		t.Errorf("a noise level's row is %s", row)
	}
	classes := make([]ClassScore, 2)
	classes[1] = ClassScore{Class: 1, Read: 3}
	r = Report{Complete: true, Model: "m", Data: "MNIST", Classifier: &ClassifierInfo{Accuracy: 0.9921},
		Baselines: []BaselineDistance{{Images: 12, Groups: 3, Even: true, Frechet: 1.5, Deviation: 0.25}},
		Rows: []Row{{Sampler: "ddpm", Steps: 300, Evaluations: 300, Seconds: 6, ImagesPerSecond: 2,
			Score: Score{Images: 12, Frechet: 2.5, Classes: classes}}}}
	tables := r.Tables()
	if row := fmt.Sprint(tables[0].Rows[0]); row != "[ddpm:300 12 - 2.500 300 6.0s 2.0]" {
		t.Errorf("a sampler's row is %s", row)
	}
	if want := "Training images that go round the classes, in place of samples, get 1.500 for 12 (mean of 3 groups; " +
		"their standard deviation is 0.250)."; !slices.Contains(strings.Split(tables[0].Note, "\n"),
		"The Fréchet distance is that of its features to the test images. "+want) {
		t.Errorf("the note is %q, want %q", tables[0].Note, want)
	}
	if row := fmt.Sprint(tables[1].Rows[0]); row != "[ddpm:300 0.0 25.0]" {
		t.Errorf("the row of what is read is %s", row)
	}
}

// Baselines of digits that go round the classes are for samples that do.
func TestGoesRound(t *testing.T) {
	for _, c := range []struct {
		labels  []int
		classes []int
		want    bool
	}{{[]int{0, 1, 2, 0}, []int{0, 1, 2}, true}, {[]int{3, 8, 3}, []int{3, 8}, true},
		{[]int{3, 3, 3, 1}, []int{1, 2, 3}, false}, {[]int{0, 1, 2, 0, 0}, []int{0, 1, 2}, false},
		{[]int{0, 1, 2, -1}, []int{0, 1, 2}, false}, {nil, []int{0}, false}} {
		if got := goesRound(c.labels, c.classes); got != c.want {
			t.Errorf("%v of %d classes: %v", c.labels, c.classes, got)
		}
	}
}

// Both kinds of samplers at one guidance scale make a table, by rising evaluations; other scales, counts and kinds do
// not.
func TestComparisons(t *testing.T) {
	row := func(sampler string, steps int, scale float64, evaluations, images int) Row {
		return Row{Sampler: sampler, Steps: steps, Guidance: &scale, Evaluations: evaluations,
			Score: Score{Images: images, Frechet: float64(steps)}}
	}
	flow := &mnistunet.Config{Objective: mnistunet.Flow}
	tables, apart := Comparisons([]Report{
		{Model: "a", Rows: []Row{row("ddpm", 300, 5, 600, 1000), row("dpm++", 10, 5, 20, 1000), row("ddim", 20, 1, 20,
			1000)}},
		{Model: "b", Config: flow, Rows: []Row{row("euler", 50, 5, 100, 1000), row("midpoint", 10, 5, 40, 1000),
			row("euler", 50, 1, 50, 300)}},
		{Model: "c", Rows: []Row{{Sampler: "ddpm", Steps: 300, Evaluations: 300}}},
	})
	if apart != "" || len(tables) != 1 || !strings.Contains(tables[0].Caption, "γ = 5, 1000 samples") {
		t.Fatalf("tables %+v", tables)
	}
	want := [][]string{
		{"20", "-", "10.000", "Noise estimates, DPM-Solver++, 10 steps", "a"},
		{"40", "-", "10.000", "Flow, midpoint, 10 steps", "b"},
		{"100", "-", "50.000", "Flow, Euler, 50 steps", "b"},
		{"600", "-", "300.000", "Noise estimates, DDPM, 300 steps", "a"},
	}
	if none, apart := Comparisons([]Report{
		{Data: "MNIST", Rows: []Row{row("dpm++", 10, 5, 20, 500)}},
		{Data: "MNIST", Config: flow, Rows: []Row{row("euler", 50, 5, 100, 1000)}},
	}); none != nil ||
		apart != "estimates of noise with 500 samples of MNIST at γ = 5 by classifier \"\", flows with 1000 samples "+
			"of MNIST at γ = 5 by classifier \"\"" {
		t.Errorf("other counts make tables %+v, and it is said %q", none, apart)
	}
	if got := tables[0].Rows; !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

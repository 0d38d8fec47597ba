package figure

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func falling(n int) Curve {
	c := Curve{Title: "Training loss <1>", XLabel: "step", YLabel: "loss (mean squared error)",
		Marks: []Mark{{float64(n / 2), "epoch 1"}}}
	for i := range n {
		c.X = append(c.X, float64(i))
		c.Y = append(c.Y, 0.03+math.Exp(-float64(i)/40)+0.01*math.Sin(float64(i*i)))
	}
	return c
}

func TestSmooth(t *testing.T) {
	constant := []float64{3, 3, 3, 3}
	for i, v := range Smooth(constant, 10) {
		if math.Abs(v-3) > 1e-12 {
			t.Errorf("a constant's average at %d is %v", i, v)
		}
	}
	y := []float64{1, math.NaN(), 3, -2, 0.5, 7, 1}
	got := Smooth(y, 4)
	for i := range y {
		sum, weight := 0.0, 0.0
		for j, v := range y[:min(2*i+1, len(y))] {
			if w := math.Pow(0.75, math.Abs(float64(i-j))); !math.IsNaN(v) {
				sum, weight = sum+w*v, weight+w
			}
		}
		if math.Abs(got[i]-sum/weight) > 1e-12 {
			t.Errorf("average at %d is %v, expected %v", i, got[i], sum/weight)
		}
	}
}

func TestCurveSVG(t *testing.T) {
	for _, log := range []bool{false, true} {
		for _, n := range []int{1, 2, 469, 20000} {
			c := falling(n)
			c.LogY = log
			svg, err := c.SVG()
			if err != nil {
				t.Fatal(err)
			}
			if len(svg) > 100_000 {
				t.Errorf("%d points take %d bytes", n, len(svg))
			}
			decoder := xml.NewDecoder(bytes.NewReader(svg))
			for {
				if _, err := decoder.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%d points: the SVG is no XML: %v", n, err)
				}
			}
			for _, part := range []string{"currentColor", ">step<", "mean squared error", `class="raw"`,
				`class="smooth"`, "prefers-color-scheme"} {
				if !strings.Contains(string(svg), part) {
					t.Errorf("%d points: no %s in the SVG", n, part)
				}
			}
			if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
				t.Errorf("%d points: a coordinate is not finite", n)
			}
		}
	}
}

func TestCurveKeepsSpikes(t *testing.T) {
	x := make([]float64, 10000)
	y := make([]float64, len(x))
	for i := range x {
		x[i] = float64(i)
	}
	y[7777] = 200
	d := envelope(x, y, func(v float64) float64 { return v / 100 }, func(v float64) float64 { return v })
	if !strings.Contains(d, " 200") {
		t.Error("a spike between two pixel columns was lost")
	}
}

// A spike may be cut off, the rest of the curve may not, below zero neither.
func TestCurveBelowZero(t *testing.T) {
	c := Curve{X: make([]float64, 100), Y: make([]float64, 100)}
	for i := range c.X {
		c.X[i], c.Y[i] = float64(i), -100+math.Sin(float64(i))
	}
	svg, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(svg), fmt.Sprintf(" %dL", c.plot().top)); n > 1 {
		t.Errorf("%d points lie on the upper end", n)
	}
}

func TestCurveRefuses(t *testing.T) {
	if _, err := (Curve{X: []float64{1}}).SVG(); err == nil {
		t.Error("unequal lengths were accepted")
	}
	if _, err := (Curve{X: []float64{1}, Y: []float64{math.NaN()}}).SVG(); err == nil {
		t.Error("a curve without a value was accepted")
	}
}

func TestAxes(t *testing.T) {
	for _, c := range []struct{ low, high float64 }{{0, 1}, {0, 469}, {0, 9380}, {1, 9380}, {-3, 3}, {0.02, 0.031},
		{5, 5}, {0, 0}, {1e-9, 2e-9}, {0, 1e7}, {-5, math.Nextafter(-5, 0)}} {
		most := 4
		a := linearAxis(c.low, c.high, most, 0)
		if n := len(a.ticks); n < 3 || n > most+1 {
			t.Errorf("%v: %d ticks", c, n)
		}
		for i, tick := range a.ticks {
			if f := a.fraction(tick.value); f < -1e-6 || f > 1+1e-6 {
				t.Errorf("%v: tick %s lies outside", c, tick.label)
			}
			if i > 0 && tick.label == a.ticks[i-1].label {
				t.Errorf("%v: two ticks say %s", c, tick.label)
			}
		}
	}
	for _, c := range []struct{ low, high float64 }{{1, 2}, {1, 3}, {5, 5}} {
		for _, tick := range linearAxis(c.low, c.high, 4, 1).ticks {
			if tick.value != math.Trunc(tick.value) {
				t.Errorf("%v: a tick between whole numbers, %s", c, tick.label)
			}
		}
	}
	for v, want := range map[float64]string{0.02: "0.02", 0.00005: "0.00005", 2000: "2000", 1e-9: "1e-09"} {
		if got := plain(v); got != want {
			t.Errorf("%g is written %s, want %s", v, got, want)
		}
	}
	for _, c := range []struct{ low, high float64 }{{0.02, 1.3}, {1, 1}, {1e-6, 1e3}, {0.026, 0.032}, {0.101, 0.19}} {
		a := logAxis(c.low, c.high)
		if a.low > c.low || a.high < c.high || len(a.ticks) < 3 {
			t.Errorf("%v: axis from %v to %v with %d ticks", c, a.low, a.high, len(a.ticks))
		}
	}
}

// From is where drawing begins, with what is left of it in the smoothed course.
func TestCurveFrom(t *testing.T) {
	c := falling(500)
	all := c.smooth(c.Y)
	c.From = c.X[100]
	x, y, smooth := c.shown(c.X, c.Y, all)
	if len(x) != 400 || x[0] != c.X[100] || y[0] != c.Y[100] || smooth[0] != all[100] {
		t.Errorf("%d points from %g on", len(x), x[0])
	}
	whole, _ := falling(500).SVG()
	if part, err := c.SVG(); err != nil || len(part) >= len(whole) {
		t.Errorf("the drawing from %g on has %d bytes, that of all %d; %v", c.From, len(part), len(whole), err)
	}
	c.From = c.X[499] + 1
	if _, err := c.SVG(); err == nil {
		t.Error("a drawing of nothing was made")
	}
}

// A line to compare with is smoothed, named, and on the same axes.
func TestCurveComparison(t *testing.T) {
	c := falling(500)
	c.Name = "decay"
	higher := falling(500)
	for i := range higher.Y {
		higher.Y[i] += 3
	}
	c.Others = []Line{{"no <decay>", higher.X, higher.Y}}
	svg, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`class="other" d="M`, `class="raw beside" d="M`, ">decay<", ">no &lt;decay&gt;<",
		">every step<"} {
		if !bytes.Contains(svg, []byte(part)) {
			t.Errorf("the comparison lacks %q", part)
		}
	}
	if bytes.Contains(svg, []byte(">smoothed<")) {
		t.Error("the curve has its name, and is still called smoothed")
	}
	if alone, _ := falling(500).SVG(); bytes.Contains(alone, []byte(">3<")) || !bytes.Contains(svg, []byte(">3<")) {
		t.Error("the axis does not reach to the other line, or did before")
	}
	c.Others[0].Y = nil
	if _, err := c.SVG(); err == nil {
		t.Error("a line without values was accepted")
	}
}

// Each line lies where its values are, and the legend names it by its class.
func TestCurveLines(t *testing.T) {
	c := Curve{Title: "t", XLabel: "x", YLabel: "y", Name: "ones", Others: []Line{{Name: "twos"}}}
	for i := range 100 {
		y := 1.0
		if i%2 == 1 {
			y = 1.5 // the raw line is at 1 and 1.5, the smoothed one between
		}
		c.X, c.Y = append(c.X, float64(i)), append(c.Y, y)
		c.Others[0].X, c.Others[0].Y = append(c.Others[0].X, float64(i)), append(c.Others[0].Y, 2)
	}
	c.Smoothing = 20
	svg, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	ticks := map[string]float64{}
	for _, m := range regexp.MustCompile(
		`y1="([0-9.]+)" y2="[0-9.]+"/><text [^>]*text-anchor="end">([^<]+)<`).FindAllStringSubmatch(string(svg), -1) {
		ticks[m[2]], _ = strconv.ParseFloat(m[1], 64)
	}
	one, two := ticks["1.0"], ticks["2.0"]
	if one == 0 || two == 0 {
		t.Fatalf("the ticks are %v", ticks)
	}
	within := func(class string, least, most float64) {
		t.Helper()
		m := regexp.MustCompile(`<path class="` + class + `" d="([^"]+)"`).FindSubmatch(svg)
		if m == nil {
			t.Fatalf("no line %s", class)
		}
		numbers := regexp.MustCompile(`[0-9.]+`).FindAllString(string(m[1]), -1)
		for i := 1; i < len(numbers); i += 2 {
			at, _ := strconv.ParseFloat(numbers[i], 64)
			if y := 1 + (one-at)/(one-two); y < least-0.01 || y > most+0.01 {
				t.Fatalf("the line %s has the value %g, expected %g to %g", class, y, least, most)
			}
		}
	}
	within("smooth", 1, 1.35)
	within("other", 2, 2)
	within("raw", 1, 1.5)
	within("raw beside", 2, 2)
	for class, name := range map[string]string{"smooth": "ones", "other": "twos", "raw": "every step"} {
		if !regexp.MustCompile(`<line class="` + class + `"[^>]*/><text[^>]*>` + name + `<`).Match(svg) {
			t.Errorf("the legend does not name the line %s %s", class, name)
		}
	}
	for text, want := range map[string]string{"9380": "9380", "12345": "12\u2009345",
		"-1234567": "-1\u2009234\u2009567", "123.45": "123.45"} {
		if got := thousands(text); got != want {
			t.Errorf("%s is written %q, want %q", text, got, want)
		}
	}
}

// The last step's number is in the drawing.
func TestCurveLabelsFit(t *testing.T) {
	for _, n := range []int{30000, 1000000} {
		c := falling(100)
		c.X[len(c.X)-1] = float64(n)
		svg, err := c.SVG()
		if err != nil {
			t.Fatal(err)
		}
		labels := regexp.MustCompile(
			`<text x="([0-9.]+)" y="[0-9.]+" text-anchor="middle">([0-9\x{2009}]+)</text>`).FindAllStringSubmatch(
			string(svg), -1)
		if len(labels) < 3 || strings.ReplaceAll(labels[len(labels)-1][2], "\u2009", "") != fmt.Sprint(n) {
			t.Fatalf("the ticks are %q", labels)
		}
		for _, m := range labels {
			if at, _ := strconv.ParseFloat(m[1], 64); at+halfOf(m[2]) > 760 {
				t.Errorf("%s reaches beyond the drawing", m[2])
			}
		}
	}
}

// Twenty epochs on a phone: marks that have a label each, none of them above another or at the legend's height.
func TestCurveMarks(t *testing.T) {
	for _, c := range []struct {
		epochs, width, others, every int
	}{{2, 760, 0, 1}, {5, 760, 0, 1}, {20, 760, 0, 2}, {20, 380, 1, 5}, {1000, 380, 0, 500}} {
		curve := falling(c.epochs*10 + 1)
		curve.Width, curve.Marks = c.width, nil
		for i := range c.epochs - 1 { // the last one's end is the plot's
			curve.Marks = append(curve.Marks, Mark{float64(10 * (i + 1)), fmt.Sprintf("epoch %d", i+1)})
		}
		for range c.others {
			curve.Name, curve.Others = "falling rate", append(curve.Others, Line{"constant rate", curve.X, curve.Y})
		}
		svg, err := curve.SVG()
		if err != nil {
			t.Fatal(err)
		}
		var labels []string
		for _, m := range regexp.MustCompile(`class="mark".*>(epoch \d+)<`).FindAllSubmatch(svg, -1) {
			labels = append(labels, string(m[1]))
		}
		var want []string
		for i := c.every; i < c.epochs; i += c.every {
			want = append(want, fmt.Sprintf("epoch %d", i))
		}
		if lines := bytes.Count(svg, []byte(`class="mark"`)); !slices.Equal(labels, want) || lines != len(want) {
			t.Errorf("%+v: %d marks, labels %q", c, lines, labels)
		}
		p := curve.plot()
		if at, half := p.label(Mark{X: 0, Label: "epoch 0"},
			func(float64) float64 { return float64(p.left) }); at-half < float64(p.left) {
			t.Errorf("%+v: a label at the left edge covers the ticks of the vertical axis", c)
		}
		for _, e := range curve.legend(p) {
			if bottom := 18 + e.line*textLine; bottom > p.top-6-textLine+4 {
				t.Errorf("%+v: %q stands at %d, the plot begins at %d", c, e.name, bottom, p.top)
			}
		}
	}
}

// Several lines beside a curve differ from each other. A curve that goes through all of its points has none besides.
func TestCurveManyLines(t *testing.T) {
	line := Line{Name: "other", X: []float64{1, 2, 3}, Y: []float64{3, 2, 1}}
	c := Curve{Title: "many", X: line.X, Y: []float64{1, 2, 3}, Smoothing: 1, Name: "own", Others: []Line{line, line, line}}
	svg, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	strokes := map[string]bool{}
	for _, path := range regexp.MustCompile(`<path class="other"(.*?) d=`).FindAllStringSubmatch(string(svg), -1) {
		strokes[path[1]] = true
	}
	if len(strokes) != 3 {
		t.Errorf("three lines are drawn in the ways %v", strokes)
	}
	if strings.Contains(string(svg), `class="raw"`) || strings.Contains(string(svg), "every step") {
		t.Error("the points are drawn beside the line through them")
	}
}

package figure

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Curve is a plot of one quantity over another, such as a training loss over steps: the raw values pale, their
// smoothed course strong. It becomes an SVG that takes its colors from the page around it (currentColor).
type Curve struct {
	Title          string // read out by screen readers; not drawn
	XLabel, YLabel string // what the axes show, with units
	X, Y           []float64
	// of the strong line: the number of steps it averages over, see [Smooth], logarithms where LogY is set; 0: a
	// fiftieth of the points; 1: it goes through all of them, and they are not drawn besides
	Smoothing float64
	LogY      bool    // logarithmic vertical axis; values that are not positive are left out
	From      float64 // what lies left of it is smoothed with the rest, and not drawn; 0: all is

	Width, Height int // of the drawing, in units of which the text is 13 high; 0: 760 x 340

	// Marks are vertical lines, such as the ends of epochs. Where there is no room for all their labels, only each 2nd,
	// 5th, 10th and so on is drawn.
	Marks []Mark

	// Others are compared with the curve: their smoothed course is dashed. Name is then the curve's own.
	Others []Line
	Name   string
}

// Line is another course of the same quantity.
type Line struct {
	Name string
	X, Y []float64
}

// Mark is a labeled position on the horizontal axis.
type Mark struct {
	X     float64
	Label string
}

// Smooth returns the weighted mean of each value's surroundings, the weight of a neighbor k places away being βᵏ with β
// = 1 - 1/span: an exponential moving average that looks both ways, so that it lags behind neither rise nor fall. Near
// the beginning it looks no further ahead than back, so that a steep first fall stays in sight. Values that are not
// finite are passed over.
func Smooth(y []float64, span float64) []float64 {
	beta := 1 - 1/math.Max(span, 1)
	// Sums over a value and what is before it, and over what is after it.
	before, after := make([]weighted, len(y)), make([]weighted, len(y))
	var s weighted
	for i, v := range y {
		s = s.times(beta).with(v)
		before[i] = s
	}
	s = weighted{}
	for i, v := range slices.Backward(y) {
		after[i] = s
		s = s.with(v).times(beta)
	}
	smooth := make([]float64, len(y))
	for i := range y {
		ahead := after[i]
		if 2*i < len(y) { // what is after 2i is further ahead than the first value is back
			beyond := after[2*i].times(math.Pow(beta, float64(i)))
			ahead.sum, ahead.weight = ahead.sum-beyond.sum, ahead.weight-beyond.weight
		}
		smooth[i] = (before[i].sum + ahead.sum) / (before[i].weight + ahead.weight)
	}
	return smooth
}

// weighted is a sum of values by their weights, and that of the weights.
type weighted struct{ sum, weight float64 }

func (s weighted) times(f float64) weighted { return weighted{s.sum * f, s.weight * f} }

func (s weighted) with(v float64) weighted {
	if finite(v) {
		s.sum, s.weight = s.sum+v, s.weight+1
	}
	return s
}

// plot is the drawing's geometry: where its data lie.
type plot struct{ width, height, left, right, top, bottom int }

const (
	textLine    = 18 // height of a line
	textAdvance = 7  // width of a character, about
)

// plot leaves room above for the legend and the marks' labels.
func (c Curve) plot() plot {
	p := plot{width: c.Width, height: c.Height}
	if p.width <= 0 {
		p.width = 760
	}
	if p.height <= 0 {
		p.height = 340
	}
	p.width, p.height = max(p.width, 240), max(p.height, 160)
	p.left, p.right, p.top, p.bottom = 68, p.width-16, 12, p.height-52
	entries := c.legend(p)
	p.top += textLine * (entries[len(entries)-1].line + 1)
	if len(c.Marks) > 0 {
		p.top += textLine
	}
	return p
}

// SVG returns the curve as an SVG document, fit to stand in a file or inside an HTML page.
func (c Curve) SVG() ([]byte, error) {
	if len(c.X) != len(c.Y) {
		return nil, fmt.Errorf("a curve needs as many x as y, found %d and %d", len(c.X), len(c.Y))
	}
	x, y := c.drawable(c.X, c.Y)
	if len(x) == 0 {
		return nil, fmt.Errorf("the curve %q has no value to draw", c.Title)
	}
	smooth := c.smooth(y)
	if x, y, smooth = c.shown(x, y, smooth); len(x) == 0 {
		return nil, fmt.Errorf("the curve %q has no value from %g on", c.Title, c.From)
	}
	allX, allY := x, slices.Concat(y, smooth)
	strongest := slices.Max(smooth)
	var others []course
	for _, o := range c.Others {
		if len(o.X) != len(o.Y) {
			return nil, fmt.Errorf("the curve's line %q needs as many x as y, found %d and %d", o.Name, len(o.X),
				len(o.Y))
		}
		o.X, o.Y = c.drawable(o.X, o.Y)
		if len(o.X) == 0 {
			return nil, fmt.Errorf("the curve's line %q has no value to draw", o.Name)
		}
		smooth := c.smooth(o.Y)
		if o.X, o.Y, smooth = c.shown(o.X, o.Y, smooth); len(o.X) == 0 {
			return nil, fmt.Errorf("the curve's line %q has no value from %g on", o.Name, c.From)
		}
		others = append(others, course{o, smooth})
		allX, allY = slices.Concat(allX, o.X), slices.Concat(allY, o.Y, smooth)
		strongest = max(strongest, slices.Max(smooth))
	}

	p := c.plot()
	low, high := bounds(allX)
	least := 0.0
	if !slices.ContainsFunc(allX, func(v float64) bool { return v != math.Trunc(v) }) {
		least = 1 // there is nothing between steps
	}
	horizontal := linearAxis(low, high, p.width/80, least)
	low, high = bounds(allY)
	if typical := percentile(allY, 0.995); !c.LogY && typical < high && len(y) > 50 {
		// a first step's spike would flatten the rest
		high = math.Max(typical+0.1*(typical-math.Min(low, 0)), strongest)
	}
	vertical := linearAxis(math.Min(low, 0), high, 7, 0)
	if c.LogY {
		vertical = logAxis(low, high)
	}
	px := func(v float64) float64 { return float64(p.left) + horizontal.fraction(v)*float64(p.right-p.left) }
	py := func(v float64) float64 { return float64(p.bottom) - vertical.fraction(v)*float64(p.bottom-p.top) }

	inside := func(v float64) float64 { return math.Min(math.Max(py(v), float64(p.top)), float64(p.bottom)) }

	var b bytes.Buffer
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" font-family="system-ui, sans-serif" font-size="13">`, p.width, p.height, html.EscapeString(c.Title))
	fmt.Fprintf(&b, "\n<title>%s</title>\n<style>%s</style>\n", html.EscapeString(c.Title), curveStyle)
	b.WriteString(`<g class="axis">` + "\n")
	for _, t := range vertical.ticks {
		at := py(t.value)
		fmt.Fprintf(&b,
			`<line class="grid" x1="%d" x2="%d" y1="%s" y2="%s"/><text x="%d" y="%s" text-anchor="end">%s</text>`+"\n",
			p.left, p.right, number(at), number(at), p.left-8, number(at+4.5), t.label)
	}
	for _, t := range horizontal.ticks {
		at := px(t.value)
		fmt.Fprintf(&b,
			`<line class="tick" x1="%s" x2="%s" y1="%d" y2="%d"/><text x="%s" y="%d" text-anchor="middle">%s</text>`+"\n",
			number(at), number(at), p.bottom, p.bottom+5, number(min(at, float64(p.width)-halfOf(t.label))),
			p.bottom+20, t.label)
	}
	fmt.Fprintf(&b, `<line class="base" x1="%d" x2="%d" y1="%d" y2="%d"/>`+"\n", p.left, p.right, p.bottom, p.bottom)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (p.left+p.right)/2, p.height-10,
		html.EscapeString(c.XLabel))
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n</g>\n",
		(p.top+p.bottom)/2, html.EscapeString(c.YLabel))
	for _, m := range c.shownMarks(p, horizontal, px) {
		at := number(px(m.X))
		middle, _ := p.label(m, px)
		fmt.Fprintf(&b,
			`<g class="axis"><line class="mark" x1="%s" x2="%s" y1="%d" y2="%d"/><text x="%s" y="%d" text-anchor="middle">%s</text></g>`+"\n",
			at, at, p.top, p.bottom, number(middle), p.top-6, html.EscapeString(m.Label))
	}
	if c.Smoothing != 1 {
		for i, o := range others {
			fmt.Fprintf(&b, `<path class="raw beside"%s d="%s"/>`+"\n", strokeOf(i, false), envelope(o.X, o.Y, px, inside))
		}
		fmt.Fprintf(&b, `<path class="raw" d="%s"/>`+"\n", envelope(x, y, px, inside))
	}
	fmt.Fprintf(&b, `<path class="smooth" d="%s"/>`+"\n", envelope(x, smooth, px, inside))
	for i, o := range others {
		fmt.Fprintf(&b, `<path class="other"%s d="%s"/>`+"\n", strokeOf(i, true), envelope(o.X, o.smooth, px, inside))
	}
	last := len(smooth) - 1
	fmt.Fprintf(&b, `<circle class="end" cx="%s" cy="%s" r="4"/>`+"\n", number(px(x[last])),
		number(inside(smooth[last])))
	for _, e := range c.legend(p) {
		fmt.Fprintf(&b,
			`<g class="axis" transform="translate(%d %d)"><line class="%s"%s x1="0" x2="24" y1="-4" y2="-4"/><text x="%d">%s</text></g>`+"\n",
			e.x, 18+e.line*textLine, e.class, e.stroke, keyWidth, html.EscapeString(e.name))
	}
	b.WriteString("</svg>\n")
	return b.Bytes(), nil
}

// strokeOf is how the other lines after the first one differ from it: in their colors, which suit light and dark pages,
// and in their dashes.
func strokeOf(i int, dashed bool) string {
	if i == 0 {
		return ""
	}
	more := []struct{ color, dashes string }{{"#2da44e", "2 4"}, {"#a475f9", "12 5"}, {"#e5534b", "9 4 2 4"}}
	of := more[(i-1)%len(more)]
	if !dashed {
		return fmt.Sprintf(` style="stroke:%s"`, of.color)
	}
	return fmt.Sprintf(` style="stroke:%s;stroke-dasharray:%s"`, of.color, of.dashes)
}

// course is a line with its smoothed values.
type course struct {
	Line
	smooth []float64
}

// halfOf is about half of a text's width.
func halfOf(text string) float64 { return textAdvance * float64(utf8.RuneCountInString(text)) / 2 }

// label is the middle of a mark's label, which stays clear of the vertical axis's and inside the drawing, and half of
// its width.
func (p plot) label(m Mark, px func(float64) float64) (at, half float64) {
	half = halfOf(m.Label)
	return min(max(px(m.X), float64(p.left)+half), float64(p.width)-half), half
}

// shownMarks are each k-th of the marks on the axis, by the first k of 1, 2, 5, 10 and so on that leaves room for their
// labels.
func (c Curve) shownMarks(p plot, horizontal axis, px func(float64) float64) (shown []Mark) {
	marks := slices.DeleteFunc(slices.Clone(c.Marks), func(m Mark) bool {
		return m.X < horizontal.low ||
			m.X > horizontal.high
	})
	for power := 1; ; power *= 10 {
		for _, k := range []int{power, 2 * power, 5 * power} {
			shown = shown[:0]
			free, fit := 0.0, true
			for i := k - 1; i < len(marks); i += k {
				m := marks[i]
				at, half := p.label(m, px)
				fit = fit && at-half >= free
				free = at + half + textAdvance
				shown = append(shown, m)
			}
			if fit {
				return shown
			}
		}
	}
}

// legendEntry is the name of a line, and where it stands.
type legendEntry struct {
	class, stroke, name string
	x, line             int
}

const keyWidth = 30

// legend names the lines, side by side above the plot, on as many lines as that takes.
func (c Curve) legend(p plot) []legendEntry {
	entries := []legendEntry{{class: "smooth", name: "smoothed"}, {class: "raw", name: "every step"}}
	if c.Smoothing == 1 {
		entries = entries[:1]
	}
	if len(c.Others) > 0 || c.Smoothing == 1 {
		entries[0].name = c.Name
	}
	for i, o := range c.Others {
		entries = append(entries, legendEntry{class: "other", stroke: strokeOf(i, true), name: o.Name})
	}
	x, line := p.left, 0
	for i := range entries {
		width := keyWidth + textAdvance*utf8.RuneCountInString(entries[i].name)
		if x > p.left && x+width > p.right {
			x, line = p.left, line+1
		}
		entries[i].x, entries[i].line = x, line
		x += width + 20
	}
	return entries
}

// smooth returns the course of the values: the mean of what is seen, which is of logarithms where the axis is
// logarithmic.
func (c Curve) smooth(y []float64) []float64 {
	span := c.Smoothing
	if span == 0 {
		span = float64(len(y)) / 50
	}
	if !c.LogY {
		return Smooth(y, span)
	}
	smooth := Smooth(logs(y), span)
	for i, v := range smooth {
		smooth[i] = math.Exp(v)
	}
	return smooth
}

// SVG drawings have their page's colors: that of its text, --curve for lines, --other for those beside them. Files on
// their own follow the system's dark mode.
const (
	Theme = `svg:root{color:#1f2328;background:#fff}` +
		`@media(prefers-color-scheme:dark){svg:root{color:#e6e6e6;background:#111418;--curve:#6cb6ff;--other:#ffa657}}`
	LineColor = `var(--curve,#0b6bcb)`
)

const curveStyle = Theme +
	`.axis text{fill:currentColor;opacity:.75}.axis line{stroke:currentColor}.axis .grid{opacity:.12}.axis .tick,.axis .base{opacity:.45}.axis .mark{opacity:.35;stroke-dasharray:3 4}` +
	`.raw,.smooth,.axis .raw,.axis .smooth{fill:none;stroke:` + LineColor +
	`;stroke-linejoin:round;stroke-linecap:round}` +
	`.raw,.axis .raw{stroke-width:1;opacity:.5}.raw.beside{stroke:var(--other,#b35900);opacity:.35}.smooth,.axis .smooth{stroke-width:2.5}.end{fill:` + LineColor + `}` +
	`.other,.axis .other{fill:none;stroke:var(--other,#b35900);stroke-width:2.5;stroke-dasharray:7 4;stroke-linejoin:round}`

// drawable returns the points that the axes can show.
func (c Curve) drawable(allX, allY []float64) (x, y []float64) {
	for i := range allX {
		if finite(allX[i]) && finite(allY[i]) && (!c.LogY || allY[i] > 0) {
			x, y = append(x, allX[i]), append(y, allY[i])
		}
	}
	return x, y
}

// shown returns the points that are drawn.
func (c Curve) shown(allX, allY, allSmooth []float64) (x, y, smooth []float64) {
	if c.From == 0 {
		return allX, allY, allSmooth
	}
	for i, v := range allX {
		if v >= c.From {
			x, y, smooth = append(x, v), append(y, allY[i]), append(smooth, allSmooth[i])
		}
	}
	return x, y, smooth
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func logs(v []float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = math.Log(v[i])
	}
	return out
}

// envelope is a path through the points; where several fall on one pixel column, through the first, lowest, highest and
// last of them, so that a long run stays small and no spike is lost.
func envelope(x, y []float64, px, py func(float64) float64) string {
	var d strings.Builder
	put := func(at, v float64) {
		if d.Len() == 0 {
			d.WriteByte('M')
		} else {
			d.WriteByte('L')
		}
		d.WriteString(number(at) + " " + number(v))
	}
	for i := 0; i < len(x); {
		column := math.Floor(px(x[i]))
		low, high, j := py(y[i]), py(y[i]), i
		for j < len(x) && math.Floor(px(x[j])) == column {
			low, high = math.Min(low, py(y[j])), math.Max(high, py(y[j]))
			j++
		}
		first, last := py(y[i]), py(y[j-1])
		put(px(x[i]), first)
		if low != high {
			if low != first && low != last {
				put(column+0.5, low)
			}
			if high != first && high != last {
				put(column+0.5, high)
			}
			put(px(x[j-1]), last)
		}
		i = j
	}
	if len(x) == 1 {
		d.WriteString("h0.1")
	}
	return d.String()
}

func number(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10+0, 'f', -1, 64) }

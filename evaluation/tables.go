package evaluation

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/mnistunet"
)

// Table is a table of words and numbers.
type Table struct {
	Caption string
	Header  []string
	Rows    [][]string // as long as the header; the first cell says what the row is
	Note    string
	Folded  bool // pages show the caption, and the rest when asked
}

// Tables lays the report out for terminals and pages.
func (r Report) Tables() []Table {
	of := cmp.Or(r.Model, r.Samples)
	if r.Config != nil {
		of += fmt.Sprintf(": condition %s, dim %d, %s", r.Config.Condition, r.Config.Dim, r.DType)
	}
	if r.Seed != nil {
		of += fmt.Sprintf(", seed %d", *r.Seed)
	}
	var notes []string // a line each in terminals, one after the other on pages
	t := Table{Caption: of}
	if len(r.Denoising) > 0 {
		t.Caption += fmt.Sprintf("; mean squared error of %d test images of %s", r.Denoising[0].Images, r.Data)
		t.Header = []string{"σ", "model", "noisy image", "mean image"}
		for _, d := range r.Denoising {
			t.Rows = append(t.Rows, []string{strconv.FormatFloat(d.Sigma, 'g', -1, 64), fmt.Sprintf("%.5f", d.Model),
				fmt.Sprintf("%.5f", d.Noisy), fmt.Sprintf("%.5f", d.Constant)})
		}
	} else {
		t.Header = []string{"", "samples", "accuracy, %", "Fréchet distance"}
		if r.Model != "" {
			t.Header = append(t.Header, "evaluations/image", "time", "images/s")
		}
		for _, row := range r.Rows {
			cells := []string{row.name(), strconv.Itoa(row.Images), percent(row.Accuracy),
				fmt.Sprintf("%.3f", row.Frechet)}
			if r.Model != "" {
				cells = append(cells, strconv.Itoa(row.Evaluations),
					duration.Format(time.Duration(row.Seconds*float64(time.Second))),
					fmt.Sprintf("%.1f", row.ImagesPerSecond))
			}
			t.Rows = append(t.Rows, cells)
		}
	}
	if r.Classifier != nil {
		notes = append(notes,
			fmt.Sprintf("Accuracy is the share of samples that a classifier reads as what was asked for; of the test "+
				"images of %s it reads %.2f %%.", r.Data, 100*r.Classifier.Accuracy))
	}
	var baselines []string
	going := ""
	for _, f := range r.Baselines {
		baseline := fmt.Sprintf("%.3f for %d", f.Frechet, f.Images)
		if f.Groups > 1 {
			baseline += fmt.Sprintf(" (mean of %d groups", f.Groups)
			if f.Deviation > 0 { // reports of earlier versions don't tell
				baseline += fmt.Sprintf("; their standard deviation is %.3f", f.Deviation)
			}
			baseline += ")"
		}
		baselines = append(baselines, baseline)
		if f.Even {
			going = " that go round the classes"
		}
	}
	if baselines != nil {
		notes = append(notes,
			fmt.Sprintf("The Fréchet distance is that of its features to the test images. Training images%s, in "+
				"place of samples, get %s.", going, strings.Join(baselines, ", ")))
	}
	if !r.Complete {
		notes = append(notes, "The measurement was stopped before its end.")
	}
	t.Note = strings.Join(notes, "\n")
	if len(r.Rows) == 0 {
		return []Table{t}
	}
	return []Table{t, classTable(of, r.Rows)}
}

// classTable has a column for each class: how many of its samples are read as it or, where none were asked for, how
// many of all.
func classTable(of string, rows []Row) Table {
	t := Table{Caption: of + "; accuracy of each class, %", Header: []string{""}, Folded: true}
	asked := rows[0].Accuracy != nil
	if !asked {
		t.Caption = of + "; samples read as each class, %"
	}
	for _, c := range rows[0].Classes {
		t.Header = append(t.Header, strconv.Itoa(c.Class))
	}
	for _, r := range rows {
		cells := []string{r.name()}
		for _, c := range r.Classes {
			share := c.Accuracy
			if !asked {
				read := float64(c.Read) / float64(r.Images)
				share = &read
			}
			cells = append(cells, percent(share))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// Comparisons sets the rows of all reports side by side, by how often the network is evaluated: a table for each
// guidance scale at which noise estimates and flows were both measured, with equally many samples and the same data.
// Where there are both, but no table, apart says how each was measured.
func Comparisons(reports []Report) (tables []Table, apart string) {
	type setting struct {
		guidance         float64
		images           int
		data, classifier string
	}
	type measured struct {
		model string
		flow  bool
		Row
	}
	var settings []setting
	rows := map[setting][]measured{}
	for _, r := range reports {
		classifier := ""
		if r.Classifier != nil {
			classifier = r.Classifier.Sum
		}
		for _, row := range r.Rows {
			if row.Guidance == nil {
				continue
			}
			s := setting{*row.Guidance, row.Images, r.Data, classifier}
			if rows[s] == nil {
				settings = append(settings, s)
			}
			rows[s] = append(rows[s], measured{r.Model, r.Config != nil && r.Config.Objective == mnistunet.Flow, row})
		}
	}
	var how [2][]string // noise estimates' settings, flows'
	for _, s := range settings {
		flows := 0
		for _, m := range rows[s] {
			if m.flow {
				flows++
			}
		}
		if flows == 0 || flows == len(rows[s]) {
			i := min(flows, 1)
			how[i] = append(how[i], fmt.Sprintf("%d samples of %s at γ = %g by classifier %.8q", s.images, s.data,
				s.guidance, s.classifier))
			continue
		}
		t := Table{
			Caption: fmt.Sprintf("Quality by number of network evaluations for an image: %s, γ = %g, %d samples each",
				s.data, s.guidance, s.images),
			Header: []string{"evaluations", "accuracy, %", "Fréchet distance", "sampler", "model"},
		}
		slices.SortStableFunc(rows[s], func(a, b measured) int { return a.Evaluations - b.Evaluations })
		for _, m := range rows[s] {
			t.Rows = append(t.Rows, []string{strconv.Itoa(m.Evaluations), percent(m.Accuracy), fmt.Sprintf("%.3f",
				m.Frechet), Sampling{Sampler: m.Sampler, Steps: m.Steps}.Title(m.flow), m.model})
		}
		tables = append(tables, t)
	}
	if tables == nil && how[0] != nil && how[1] != nil {
		apart = fmt.Sprintf("estimates of noise with %s, flows with %s", strings.Join(how[0], ", "),
			strings.Join(how[1], ", "))
	}
	return tables, apart
}

func percent(share *float64) string {
	if share == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", 100**share)
}

// name is what tells a row from the others.
func (r Row) name() string {
	if r.Sampler == "" {
		return ""
	}
	s := Sampling{Sampler: r.Sampler, Steps: r.Steps}.String()
	if r.Guidance != nil {
		s += fmt.Sprintf(", γ = %g", *r.Guidance)
	}
	return s
}

// WriteTables writes tables for terminals, a line between them.
func WriteTables(w io.Writer, tables []Table) error {
	for i, t := range tables {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	return nil
}

// write writes the table with what its rows are flush left, and numbers flush right.
func (t Table) write(w io.Writer) error {
	fmt.Fprintf(w, "%s\n\n", t.Caption)
	lines := append([][]string{t.Header}, t.Rows...)
	widest := 0
	for _, line := range lines {
		widest = max(widest, utf8.RuneCountInString(line[0]))
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range lines {
		fmt.Fprintf(columns, "%-*s\t%s\t\n", widest, line[0], strings.Join(line[1:], "\t"))
	}
	if err := columns.Flush(); err != nil || t.Note == "" {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", t.Note)
	return err
}

package writeup

import (
	"context"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training/mnist"
)

// Page says what a page shows, and how its images are drawn.
type Page struct {
	Dir  string
	Seed uint64 // of all noise

	// the page shows those that are not nil; Flat is compared with Class
	None, Pure, Time, Class, Flat, FlowTime, Flow *ShownRun

	Course       []Section // the first half
	Drawn        string    // what draws there, for people
	Deliverables []Deliverable

	Tables  []evaluation.Table
	Command string // makes the page again
	Drawer
}

// page is a page on its way.
type page struct {
	Page
	drawings *drawings
}

// ReportTables lays evaluations' reports out, and sets them side by side. Where flows and estimates of noise were
// measured, but not so that they can be compared, apart says how.
func ReportTables(reports []evaluation.Report) (tables []evaluation.Table, apart string) {
	said := map[string]bool{} // notes: once each
	for _, r := range reports {
		for _, t := range r.Tables() {
			if said[t.Note] {
				t.Note = ""
			}
			said[t.Note] = true
			tables = append(tables, t)
		}
	}
	compared, apart := evaluation.Comparisons(reports)
	return append(tables, compared...), apart
}

// CheckDrawings makes the folder for a page's drawings, and tells what is wrong with it.
func (o Page) CheckDrawings() error {
	if err := os.MkdirAll(o.drawingsDir(), 0o755); err != nil {
		return err
	}
	return atomicfile.Check(filepath.Join(o.drawingsDir(), "drawing"))
}

func (o Page) drawingsDir() string { return filepath.Join(o.Dir, "drawings") }

// Make draws what is missing and writes the page. It returns its path. What was drawn is kept in the page's folder.
func (o Page) Make(ctx context.Context) (path string, err error) {
	d := &drawings{dir: o.drawingsDir(), Drawer: o.Drawer, by: by{"unnoise " + build.Commit(), o.Device}}
	defer d.close()
	p := page{o, d}
	w := Data{Item: "digit", Tables: o.Tables, Command: o.Command, Course: o.Course, Drawn: o.Drawn,
		Deliverables: o.Deliverables}
	var test *dataset.Labeled
	for _, r := range o.runs() {
		if r.Data.Name != mnist.Embedded {
			w.Item = "image"
		}
		if test == nil {
			test = r.test
		}
		if r != o.Flat {
			d.planned += len(r.epochs)
		}
		if r.Network.Condition == mnistunet.Class {
			d.planned += len(guidanceScales)
		}
	}
	var ways []drawnBy
	if o.Flow != nil {
		if ways, err = p.fewSteps(o.Flow, o.Class); err != nil {
			return "", err
		}
		d.planned += len(ways)
	}
	if test != nil {
		w.Forward = forward(test, o.Seed)
	}
	if o.None != nil {
		if w.Denoiser, err = p.denoiser(ctx, o.None); err != nil {
			return "", err
		}
	}
	if o.Pure != nil {
		if w.Pure, err = p.pure(ctx, o.Pure); err != nil {
			return "", err
		}
	}
	add := func(m Model, err error) error {
		w.Models = append(w.Models, m)
		return err
	}
	if o.Time != nil {
		if err := add(p.model(ctx, "time", o.Time)); err != nil {
			return "", err
		}
	}
	if o.Class != nil {
		if err := add(p.class(ctx)); err != nil {
			return "", err
		}
	}
	if o.FlowTime != nil {
		if err := add(p.model(ctx, "flow-time", o.FlowTime)); err != nil {
			return "", err
		}
	}
	if o.Flow != nil {
		if err := add(p.flow(ctx, ways)); err != nil {
			return "", err
		}
	}
	w.Parameters.Add("Software", d.by.Software)
	if by := d.all(func(b by) string { return b.Software }); by != "" && by != d.by.Software {
		w.Parameters.Add("drawn by", by)
	}
	w.Parameters.Add("drawn in", engine.Name(o.DType))
	if by := d.all(func(b by) string { return b.Engine }); by != "" {
		w.Parameters.Add("engine", by)
	}
	o.Update(func() string { return "writing the page" })
	return Write(o.Dir, w)
}

// class is the section on the class-conditional model, beside that with a constant rate.
func (o *page) class(ctx context.Context) (Model, error) {
	m, err := o.model(ctx, "class", o.Class)
	if err == nil {
		m.ByGuidance, err = o.byGuidance(ctx, "class", o.Class)
	}
	if err == nil && o.Flat != nil {
		m.Flat = &Flat{Run: o.Flat.Run}
		m.Flat.ByGuidance, err = o.byGuidance(ctx, "class-flat", o.Flat)
	}
	return m, err
}

// flow is the section on flow matching.
func (o *page) flow(ctx context.Context, ways []drawnBy) (Model, error) {
	m, err := o.model(ctx, "flow", o.Flow)
	if err == nil {
		m.ByGuidance, err = o.byGuidance(ctx, "flow", o.Flow)
	}
	if err == nil {
		m.BySteps, err = o.bySteps(ctx, ways)
	}
	return m, err
}

package writeup

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/draw"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/atomicfile"
)

// Picture is a figure of still images.
type Picture struct {
	Name       string // of the PNG file beside the page, without its ending
	Title      string // says what it shows, for those who cannot see it too
	Note       string // goes on under the title; may be empty
	Width      int    // images side by side; 0: all those of the first row
	Columns    []string
	Corner     string // stands above the rows' labels, and says what the columns' mean
	Rows       []Row
	Parameters figure.Parameters // that made it, besides the page's
	Carried    figure.Parameters // that stand in the file only
	Command    string            // makes it again
	Recipe     string            // the request, for people to read
}

// Row is a part of a picture under its own label: one line of images, or several if there are more of them than the
// picture is wide.
type Row struct {
	Label  string
	Images diffusion.Images // values in [0,1]
	Blank  []int            // these are left out: the page shows through
}

type pictureView struct {
	Picture
	Rows []rowView
	How  string
}

// File is what the PNG file beside the page is called, without its ending.
func (v pictureView) File() string { return v.Name }

type rowView struct {
	Label         string
	Alt           string // after the picture's title
	Source        template.HTMLAttr
	Width, Height int
}

// view makes the picture as the page shows it, and its file.
func (p Picture) view(f *files, all figure.Parameters) (pictureView, error) {
	v := pictureView{Picture: p, How: how(p.Parameters)}
	if len(p.Rows) == 0 || p.Rows[0].Images.N == 0 {
		return v, fmt.Errorf("the picture %s has no images", p.Name)
	}
	if p.Width == 0 {
		p.Width = p.Rows[0].Images.N
		v.Width = p.Width
	}
	var batches []diffusion.Images
	var labels []string
	for i, row := range p.Rows {
		if i < len(p.Rows)-1 && row.Images.N%p.Width != 0 {
			return v, fmt.Errorf("the picture %s is %d images wide, but its row %q has %d", p.Name, p.Width, row.Label,
				row.Images.N)
		}
		g := figure.Grid{Images: row.Images, Columns: p.Width, Scale: fine(row.Images), Padding: 1,
			Background: ground(row.Images)}
		picture, err := g.Draw()
		if err != nil {
			return v, fmt.Errorf("the picture %s, %q: %w", p.Name, row.Label, err)
		}
		if len(row.Blank) > 0 {
			picture = cutOut(picture, g.Images.W*g.Scale, row.Blank)
		}
		url, err := pngURL(picture)
		if err != nil {
			return v, err
		}
		size := picture.Bounds().Size()
		alt := across(p.Corner, p.Columns)
		if len(p.Rows) > 1 {
			alt = fmt.Sprintf(", row %d of %d", i+1, len(p.Rows)) + alt
		}
		if row.Label != "" {
			alt = ": " + row.Label + alt
		}
		v.Rows = append(v.Rows,
			rowView{Label: row.Label, Alt: alt, Source: template.HTMLAttr(fmt.Sprintf(`src="%s"`, url)), Width: size.X,
				Height: size.Y})
		batches = append(batches, row.Images)
		labels = append(labels, row.Label)
		labels = append(labels, make([]string, max((row.Images.N+p.Width-1)/p.Width-1, 0))...)
	}
	images, err := diffusion.Concat(batches...)
	if err != nil {
		return v, fmt.Errorf("the picture %s: %w", p.Name, err)
	}
	scale := max(2, (64+images.W-1)/images.W) // labels need room
	// which Latin-1 lacks
	g := figure.Grid{Images: images, Columns: p.Width, Scale: scale, Padding: 4, ColumnLabels: p.Columns,
		Corner: strings.ReplaceAll(p.Corner, "σ", "sigma")}
	if strings.Join(labels, "") != "" {
		g.RowLabels = labels
	}
	large, err := g.Draw()
	if err != nil {
		return v, fmt.Errorf("the picture %s: %w", p.Name, err)
	}
	return v, f.add(p.Name+".png", func(w io.Writer) error {
		return figure.EncodePNG(w, large,
			slices.Concat(all, p.Parameters, p.Carried))
	})
}

// ground is what stands between images: digits are on dark, most colored ones on white.
func ground(m diffusion.Images) color.Color {
	if m.C == 1 {
		return screenGray
	}
	return color.Gray{Y: 0xd0}
}

// fine is how many pixels show one of an image, so that lines between small colored ones are thin.
func fine(m diffusion.Images) int {
	if m.C == 1 {
		return 1
	}
	return max(1, 96/m.W)
}

// cutOut makes fields of a row transparent. They are so wide, and a pixel is between them.
func cutOut(row image.Image, width int, fields []int) image.Image {
	b := row.Bounds()
	cut := image.NewNRGBA(b)
	draw.Draw(cut, b, row, b.Min, draw.Src)
	for _, k := range fields {
		field := image.Rect(k*(width+1)+1, 0, (k+1)*(width+1), b.Dy())
		if slices.Contains(fields, k+1) {
			field.Max.X++
		}
		draw.Draw(cut, field, image.Transparent, image.Point{}, draw.Src)
	}
	return cut
}

// across says what a picture's columns are, after its title.
func across(corner string, columns []string) string {
	if columns == nil {
		return ""
	}
	return strings.TrimRight("; columns "+corner, " ") + " " + strings.Join(columns, ", ")
}

// Labeled reports whether labels stand beside the rows.
func (v pictureView) Labeled() bool {
	return v.Corner != "" || slices.ContainsFunc(v.Rows, func(r rowView) bool { return r.Label != "" })
}

// how says in a line what made a figure.
func how(p figure.Parameters) string {
	var parts []string
	for _, q := range p {
		parts = append(parts, q.Key+" "+q.Value)
	}
	return strings.Join(parts, " · ")
}

type curveView struct {
	File         string // the SVG file beside the page, without its ending
	Command      string // trains again
	Wide, Narrow template.HTML
	First, Last  string // loss of the first step, and mean of the last ones
	EarlyFall    bool   // most of the fall is in the first tenth
}

// lossCurve draws a training's loss for the page, and as a file. With others it begins behind the first epoch, if all
// have a second: beside the first fall no difference is seen.
func lossCurve(f *files, file, title string, loss []float64, stepsPerEpoch, batch int, name string,
	others ...figure.Line) (curveView, error) {
	c := figure.Curve{
		Title:  title,
		XLabel: "training step",
		YLabel: "mean squared error",
		LogY:   true,
		Name:   name,
		Others: others,
	}
	if batch > 0 {
		c.XLabel = fmt.Sprintf("training step (%d images each)", batch)
	}
	line := lossLine(name, loss)
	c.X, c.Y = line.X, line.Y
	if lines := append([]figure.Line{line}, others...); len(lines) > 1 &&
		!slices.ContainsFunc(lines, func(l figure.Line) bool { return len(l.Y) <= stepsPerEpoch }) {
		c.From = float64(stepsPerEpoch + 1)
	}
	if stepsPerEpoch > 0 {
		for epoch := 1; epoch*stepsPerEpoch < len(loss); epoch++ {
			c.Marks = append(c.Marks, figure.Mark{X: float64(epoch * stepsPerEpoch), Label: fmt.Sprintf("epoch %d",
				epoch)})
		}
	}
	wide, err := c.SVG()
	if err != nil {
		return curveView{}, err
	}
	f.keep(file, wide)
	c.Width, c.Height = 380, 300 // for phones, where the wide one's text would be too small
	narrow, err := c.SVG()
	if err != nil {
		return curveView{}, err
	}
	few := max(1, min(50, len(loss)/10))
	first, last := loss[0], mean(loss[len(loss)-few:])
	early := false
	if len(loss) >= 200 {
		then := mean(loss[len(loss)/10 : len(loss)/2])
		early = first > then && first-then > 3*(then-last)
	}
	return curveView{File: strings.TrimSuffix(file, ".svg"), Wide: template.HTML(wide), Narrow: template.HTML(narrow), First: significant(first),
		Last: significant(last), EarlyFall: early}, nil
}

// files are a page and the figures beside it. They are written when all of them are made, the page last.
type files []struct {
	name    string
	content []byte
}

func (f *files) keep(name string, content []byte) {
	*f = append(*f, struct {
		name    string
		content []byte
	}{name, content})
}

func (f *files) add(name string, encode func(io.Writer) error) error {
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f.keep(name, b.Bytes())
	return nil
}

func (f files) names() (names []string) {
	for _, file := range f {
		names = append(names, file.name)
	}
	return names
}

// Check reports whether a page may be written to a folder: whether the index.html that is there, if there is one, is a
// page of this package.
func Check(dir string) error {
	path := filepath.Join(dir, "index.html")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !bytes.Contains(b, []byte(`<meta name="generator" content="Unnoise">`)) {
		err = fmt.Errorf("%s is another program's page: choose another folder", path)
	}
	return err
}

// write writes the files, makes the folder where it is missing, and returns the last one's path.
func (f files) write(dir string) (path string, err error) {
	if err := Check(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, file := range f {
		path = filepath.Join(dir, file.name)
		if err := atomicfile.Write(path,
			func(w io.Writer) error { _, err := w.Write(file.content); return err }); err != nil {
			return "", err
		}
	}
	return path, nil
}

func lossLine(name string, loss []float64) figure.Line {
	l := figure.Line{Name: name, Y: loss}
	for i := range loss {
		l.X = append(l.X, float64(i+1))
	}
	return l
}

// pngURL is for attributes that templates are given whole: in a template's own, each + of base64 would become five
// characters.
func pngURL(picture image.Image) (string, error) {
	var file bytes.Buffer
	if err := figure.EncodePNG(&file, picture, nil); err != nil {
		return "", err
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(file.Bytes()), nil
}

var screenGray = color.Gray{Y: 32} // --screen in style.css

// flags parts a command before each flag, where its line may be broken.
func flags(command string) []string {
	parts := strings.Split(command, " --")
	for i := range parts[1:] {
		parts[i+1] = "--" + parts[i+1]
	}
	return parts
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// significant rounds to three digits, as one says a loss.
func significant(v float64) string { return fmt.Sprintf("%.3g", v) }

func spokenTime(d time.Duration) string {
	switch s := int(d.Round(time.Second).Seconds()); {
	case d <= 0:
		return ""
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f seconds", d.Seconds())
	case s < 120:
		return plural(s, "second")
	case s < 600 && s%60 != 0:
		return plural(s/60, "minute") + " " + plural(s%60, "second")
	case s < 7200:
		return plural((s+30)/60, "minute")
	default:
		return plural(s/3600, "hour") + " " + plural(s%3600/60, "minute")
	}
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// spokenCount parts the thousands by commas.
func spokenCount(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

var (
	//go:embed assets/style.css
	style string
	//go:embed assets/player.js
	playerScript string
	//go:embed assets/parts.html
	parts string
)

// pageTemplate parses a page that uses the parts.
func pageTemplate(page string) *template.Template {
	t := template.Must(template.New("parts").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(style) },
		"script": func() template.JS { return template.JS(playerScript) },
		"flags":  flags,
	}).Parse(parts))
	return template.Must(t.New("page").Parse(page))
}

package lab

import (
	"fmt"
	"image"
	"image/draw"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"
)

// ParseViewOrBand reads the name of either.
func ParseViewOrBand(text string) (any, error) {
	v, err := illusion.ParseView(text)
	if err == nil {
		return v, nil
	}
	name, _, _ := strings.Cut(text, ":")
	for _, k := range illusion.Bands() {
		if name == k.Name || name == k.Alias && name != "" {
			return illusion.ParseBand(text)
		}
	}
	return nil, err
}

// Square reads a picture as one square image with values from 0 to 1, of 1 channel where it is gray.
func Square(name string, side int) (diffusion.Images, error) {
	data, err := picture.ReadFile(name)
	if err != nil {
		return diffusion.Images{}, err
	}
	source, err := picture.Decode(data)
	if err != nil {
		return diffusion.Images{}, fmt.Errorf("%s: %w", name, err)
	}
	if side == 0 {
		size := source.Bounds().Size()
		side = min(size.X, size.Y, 256)
		side = max(side-side%4, 4)
	}
	f, err := picture.Fit{C: 3, H: side, W: side, High: 1}.Picture(source)
	if err != nil {
		return diffusion.Images{}, fmt.Errorf("%s: %w", name, err)
	}
	m, plane := f.Images, side*side
	for i := range plane {
		if m.Data[i] != m.Data[plane+i] || m.Data[i] != m.Data[2*plane+i] {
			return m, nil
		}
	}
	return diffusion.Images{N: 1, C: 1, H: side, W: side, Data: m.Data[:plane]}, nil
}

// Views draws what every view and band that fits makes of a picture.
func Views(m diffusion.Images) (image.Image, error) {
	var names []string
	var all []diffusion.Images
	shift := func(x diffusion.Images, by float32) diffusion.Images {
		x = x.Clone()
		for i := range x.Data {
			x.Data[i] += by
		}
		return x
	}
	for _, k := range illusion.Views() {
		v, err := illusion.ParseView(k.Name)
		if err != nil {
			return nil, err
		}
		if illusion.Fits(v, m.C, m.H, m.W) == nil {
			names = append(names, k.Name)
			all = append(all, shift(v.Apply(shift(m, -0.5)), 0.5))
		}
	}
	white := shift(m.Like(), 1)
	for _, k := range illusion.Bands() {
		b, err := illusion.ParseBand(k.Name)
		if err != nil {
			return nil, err
		}
		if illusion.Fits(b, m.C, m.H, m.W) != nil {
			continue
		}
		x := b.Filter(m)
		if b.Filter(white).Data[m.H/2*m.W+m.W/2] < 0.01 { // values around 0
			x = shift(x, 0.5)
		}
		names = append(names, k.Name)
		all = append(all, x)
	}
	const columns = 6
	var rows []image.Image
	for i := 0; i < len(all); i += columns {
		end := min(i+columns, len(all))
		images, err := diffusion.Concat(all[i:end]...)
		if err != nil {
			return nil, err
		}
		g := figure.Grid{Images: images, Scale: max(1, 128/m.W), Padding: 8, ColumnLabels: names[i:end]}
		row, err := g.Draw()
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	size := image.Point{}
	for _, r := range rows {
		size.X, size.Y = max(size.X, r.Bounds().Dx()), size.Y+r.Bounds().Dy()
	}
	sheet := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(sheet, sheet.Rect, image.White, image.Point{}, draw.Src)
	y := 0
	for _, r := range rows {
		draw.Draw(sheet, r.Bounds().Add(image.Pt(0, y)), r, image.Point{}, draw.Src)
		y += r.Bounds().Dy()
	}
	return sheet, nil
}

// Ways draws what views and functions that are none do to a picture and to noise.
func Ways(m diffusion.Images) (image.Image, error) {
	var labels []string
	var all []diffusion.Images
	for _, w := range illusion.Ways(m, 0) {
		noise := w.Noise
		for i, v := range noise.Data { // three standard deviations from black to white
			noise.Data[i] = v/6 + 0.5
		}
		all = append(all, w.Picture, noise)
		labels = append(labels, fmt.Sprintf("%s: mean %+.2f, variance %.2f, neighbors %+.2f",
			w.Name, w.Mean, w.Variance, w.Neighbors))
	}
	images, err := diffusion.Concat(all...)
	if err != nil {
		return nil, err
	}
	return figure.Grid{
		Images: images, Columns: 2, Scale: max(1, 128/m.W), Padding: 8,
		RowLabels: labels, ColumnLabels: []string{"picture", "noise"},
	}.Draw()
}

// Demonstration shows what views and bands do to a picture.
type Demonstration struct {
	Picture string // a file, or one of the photographs that come with the program
	Side    int    // pixels a side that it is brought to; 0: its own, at most 256
	Perform string // the view or band that is performed; empty: all are drawn
	Frames  int    // of the performance
	Ways    bool   // draw what views and functions that are none do to noise, as [Ways]
}

// Write draws it to a file: .png, or .gif of a performance.
func (d Demonstration) Write(path string) error {
	var shown any // what is performed
	var err error
	if d.Perform != "" {
		if shown, err = ParseViewOrBand(d.Perform); err != nil {
			return &model.FieldError{Field: "perform", Err: err}
		}
	}
	m, err := Square(d.Picture, d.Side)
	if err != nil {
		return err
	}
	var p figure.Parameters
	p.Add("Software", "unnoise "+build.Commit())
	p.Add("picture", d.Picture)
	if d.Perform != "" {
		all, err := illusion.Perform(shown, m, d.Frames)
		if err != nil {
			return &model.FieldError{Field: "perform", Err: err}
		}
		p.Add("view", fmt.Sprint(shown))
		return figure.WriteAnimation(path, figure.Animation{Frames: all, Back: true}, p)
	}
	draw := Views
	if d.Ways {
		draw = Ways
	}
	sheet, err := draw(m)
	if err != nil {
		return err
	}
	return figure.WritePNG(path, sheet, p)
}

package figure

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"slices"

	"github.com/unnoise/unnoise/diffusion"
	"golang.org/x/image/font"
	"golang.org/x/image/font/inconsolata"
	"golang.org/x/image/math/fixed"
)

// Grid arranges a batch of images in rows, in reading order.
type Grid struct {
	Images  diffusion.Images // [N,1,H,W] gray or [N,3,H,W] RGB; values outside [0,1] are clipped, NaN is black
	Columns int              // images in a row; 0: all in one row
	Scale   int              // pixels of the picture per pixel of an image, without interpolation; 0: 1
	Padding int              // pixels of the picture between images and around them

	Background color.Color // 0: white

	// Labels in Latin-1, drawn 8 pixels wide and 16 high. Either may be nil; a row or column past the end has none.
	RowLabels    []string
	ColumnLabels []string
	Corner       string // stands above the row labels, and says what the column labels mean

	Captions []string // below each image, cut where they are wider; nil: none
	Marked   []int    // these images have a red frame
}

// Draw returns the picture, an *image.Gray where images and background are gray, otherwise an opaque *image.RGBA.
func (g Grid) Draw() (image.Image, error) {
	bounds, err := g.Bounds()
	if err != nil {
		return nil, err
	}
	m, l := g.Images, g.layout()
	if len(m.Data) != m.N*m.Size() {
		return nil, fmt.Errorf("images of shape %s need %d values, found %d", m.Shape(), m.N*m.Size(), len(m.Data))
	}
	background := g.Background
	if background == nil {
		background = color.White
	}
	background = opaque(background)
	var picture draw.Image
	if m.C == 1 && isGray(background) && len(g.Marked) == 0 {
		picture = image.NewGray(bounds)
	} else {
		picture = image.NewRGBA(bounds)
	}
	draw.Draw(picture, bounds, image.NewUniform(background), image.Point{}, draw.Src)
	for i := range m.N {
		paste(picture, l.cell(i), m, i, l.scale)
	}
	for _, i := range g.Marked {
		mark(picture, l.cell(i), min(3, l.padding))
	}
	g.drawLabels(picture, l, background)
	return picture, nil
}

// Bounds returns the picture's bounds, of which it needs the images' shape only, and an error if it can't be drawn.
func (g Grid) Bounds() (image.Rectangle, error) {
	m := g.Images
	if m.C != 1 && m.C != 3 {
		return image.Rectangle{}, fmt.Errorf("a grid shows images of 1 or 3 channels, found %s", m.Shape())
	}
	if m.N < 1 || m.H < 1 || m.W < 1 {
		return image.Rectangle{}, fmt.Errorf("a grid needs at least one image, found %s", m.Shape())
	}
	if g.Columns < 0 || g.Scale < 0 || g.Padding < 0 {
		return image.Rectangle{}, fmt.Errorf("a grid's columns (%d), scale (%d) and padding (%d) cannot be negative",
			g.Columns, g.Scale, g.Padding)
	}
	l := g.layout()
	if l.width > maxSide || l.height > maxSide {
		return image.Rectangle{}, fmt.Errorf("a grid of %d images in %d columns at scale %d would be %d x %d pixels; "+
			"at most %d a side", g.Images.N, l.columns, l.scale, l.width, l.height, maxSide)
	}
	return image.Rect(0, 0, l.width, l.height), nil
}

// maxSide bounds a picture's width and height: PNG decoders and browsers give up above about this.
const maxSide = 1 << 15

// layout is a grid's geometry in pixels.
type layout struct {
	columns, rows         int
	scale, padding        int
	cellWidth, cellHeight int // without padding
	caption               int // height of the text below an image
	left, top             int // what the labels take
	width, height         int
}

func (g Grid) layout() layout {
	l := layout{columns: g.Columns, scale: max(g.Scale, 1), padding: g.Padding}
	if l.columns == 0 || l.columns > g.Images.N {
		l.columns = g.Images.N
	}
	l.rows = (g.Images.N + l.columns - 1) / l.columns
	l.cellWidth, l.cellHeight = g.Images.W*l.scale, g.Images.H*l.scale
	if len(g.ColumnLabels) > 0 {
		l.top = lineHeight
	}
	for _, label := range slices.Concat(g.RowLabels, []string{g.Corner}) {
		if label != "" {
			l.left = max(l.left, textWidth(label)+glyphWidth)
		}
	}
	if len(g.Captions) > 0 {
		l.caption = lineHeight
	}
	l.width = l.left + l.columns*(l.cellWidth+l.padding) + l.padding
	l.height = l.top + l.rows*(l.cellHeight+l.caption+l.padding) + l.padding
	return l
}

// cell returns where image i goes.
func (l layout) cell(i int) image.Rectangle {
	x := l.left + l.padding + i%l.columns*(l.cellWidth+l.padding)
	y := l.top + l.padding + i/l.columns*(l.cellHeight+l.caption+l.padding)
	return image.Rect(x, y, x+l.cellWidth, y+l.cellHeight)
}

// mark draws a frame around the rectangle.
func mark(picture draw.Image, r image.Rectangle, width int) {
	frame := image.NewUniform(color.RGBA{220, 40, 40, 255})
	outside := r.Inset(-width)
	for _, side := range []image.Rectangle{
		{outside.Min, image.Pt(outside.Max.X, r.Min.Y)}, {image.Pt(outside.Min.X, r.Max.Y), outside.Max},
		{outside.Min, image.Pt(r.Min.X, outside.Max.Y)}, {image.Pt(r.Max.X, outside.Min.Y), outside.Max},
	} {
		draw.Draw(picture, side, frame, image.Point{}, draw.Src)
	}
}

// paste draws image i of the batch into the rectangle.
func paste(picture draw.Image, r image.Rectangle, m diffusion.Images, i, scale int) {
	plane := m.H * m.W
	values := m.Data[i*m.Size() : (i+1)*m.Size()]
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := (y - r.Min.Y) / scale * m.W
		for x := r.Min.X; x < r.Max.X; x++ {
			at := row + (x-r.Min.X)/scale
			switch p := picture.(type) {
			case *image.Gray:
				p.SetGray(x, y, color.Gray{Y: level(values[at])})
			case *image.RGBA:
				c := color.RGBA{R: level(values[at]), A: 255}
				c.G, c.B = c.R, c.R
				if m.C == 3 {
					c.G, c.B = level(values[plane+at]), level(values[2*plane+at])
				}
				p.SetRGBA(x, y, c)
			}
		}
	}
}

// level is a value of [0,1] as one of 256 levels, clipped.
func level(v float32) byte {
	if !(v > 0) { // also NaN
		return 0
	}
	return byte(min(v, 1)*255 + 0.5)
}

const (
	glyphWidth = 8
	lineHeight = 16
	ascent     = 12
)

func (g Grid) drawLabels(picture draw.Image, l layout, background color.Color) {
	ink := color.Color(color.Black)
	if color.GrayModel.Convert(background).(color.Gray).Y < 128 {
		ink = color.White
	}
	for i, label := range g.ColumnLabels[:min(len(g.ColumnLabels), l.columns)] {
		cell := l.cell(i)
		room := l.cellWidth + l.padding
		label = shorten(label, room/glyphWidth)
		write(picture, label, cell.Min.X+(l.cellWidth-textWidth(label))/2, ascent+l.padding/2, ink)
	}
	write(picture, g.Corner, l.left-textWidth(g.Corner)-glyphWidth/2, ascent+l.padding/2, ink)
	for i, label := range g.RowLabels[:min(len(g.RowLabels), l.rows)] {
		cell := l.cell(i * l.columns)
		write(picture, label, l.left-textWidth(label)-glyphWidth/2, cell.Min.Y+(l.cellHeight-lineHeight)/2+ascent, ink)
	}
	for i, caption := range g.Captions[:min(len(g.Captions), g.Images.N)] {
		cell := l.cell(i)
		caption = shorten(caption, (l.cellWidth+l.padding)/glyphWidth)
		write(picture, caption, cell.Min.X+(l.cellWidth-textWidth(caption))/2, cell.Max.Y+ascent+min(3, l.padding), ink)
	}
}

func write(picture draw.Image, text string, x, y int, ink color.Color) {
	d := font.Drawer{Dst: picture, Src: image.NewUniform(ink), Face: inconsolata.Regular8x16, Dot: fixed.P(x, y)}
	d.DrawString(text)
}

func textWidth(s string) int { return glyphWidth * len([]rune(s)) }

// shorten cuts text to at most n characters, the last then an ellipsis.
func shorten(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	if n < 1 {
		return ""
	}
	return string(runes[:n-1]) + "…"
}

func isGray(c color.Color) bool {
	r, g, b, _ := c.RGBA()
	return r == g && g == b
}

// opaque drops the transparency: a picture looks the same on every page.
func opaque(c color.Color) color.Color {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	n.A = 255
	return n
}

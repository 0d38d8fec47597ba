package captioned

import (
	"image"
	"image/color"
	"strings"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Sheet is a contact sheet: pictures of one size in rows of cols, enlarged to whole multiples of their pixels, captions
// beneath.
func Sheet(examples []Example, cols int) (*image.RGBA, error) {
	const gap, line, lines = 8, 14, 3
	if len(examples) == 0 {
		return image.NewRGBA(image.Rectangle{}), nil
	}
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: 11, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, err
	}
	defer face.Close()
	size := examples[0].Image.Rect.Dx()
	side := size * max(1, 128/size)
	cols = max(1, min(cols, len(examples)))
	rows := (len(examples) + cols - 1) / cols
	m := image.NewRGBA(image.Rect(0, 0, gap+cols*(side+gap), gap+rows*(side+lines*line+gap)))
	draw.Draw(m, m.Rect, image.NewUniform(color.RGBA{228, 228, 228, 255}), image.Point{}, draw.Src)
	for i, e := range examples {
		x, y := gap+i%cols*(side+gap), gap+i/cols*(side+lines*line+gap)
		draw.NearestNeighbor.Scale(m, image.Rect(x, y, x+side, y+side), e.Image, e.Image.Rect, draw.Src, nil)
		for n, text := range wrap(face, e.Caption, side, lines) {
			d := font.Drawer{Dst: m, Src: image.Black, Face: face, Dot: fixed.P(x, y+side+line*(n+1)-3)}
			d.DrawString(text)
		}
	}
	return m, nil
}

// wrap breaks a text into lines of a width, at most a number of them.
func wrap(face font.Face, text string, width, most int) (lines []string) {
	for word := range strings.FieldsSeq(text) {
		last := len(lines) - 1
		if last >= 0 && font.MeasureString(face, lines[last]+" "+word).Ceil() <= width {
			lines[last] += " " + word
		} else if len(lines) == most {
			lines[last] += " …"
			break
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

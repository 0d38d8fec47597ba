package captioned

import (
	"image/png"
	"io"

	"github.com/unnoise/unnoise/internal/atomicfile"
)

// Examples selects training examples of a source.
type Examples struct {
	Seed        uint64
	First       int // number of the first
	Count, Size int // Size is their height and width
}

// WriteSheet draws the examples with their captions, and writes the sheet as a PNG file.
func (o Examples) WriteSheet(path string, src Source) error {
	var examples []Example
	for i := range o.Count {
		e, err := src.At(o.Seed, o.First+i, o.Size)
		if err != nil {
			return err
		}
		examples = append(examples, e)
	}
	sheet, err := Sheet(examples, 12)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, sheet) })
}

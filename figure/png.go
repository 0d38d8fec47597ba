package figure

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"

	"github.com/unnoise/unnoise/internal/atomicfile"
)

// WritePNG writes a picture and its parameters to a PNG file.
func WritePNG(path string, picture image.Image, parameters Parameters) error {
	return atomicfile.Write(path, func(w io.Writer) error { return EncodePNG(w, picture, parameters) })
}

// EncodePNG writes a picture and its parameters as PNG.
func EncodePNG(w io.Writer, picture image.Image, parameters Parameters) error {
	texts, err := parameters.chunks()
	if err != nil {
		return err
	}
	var plain bytes.Buffer
	if err := encoder.Encode(&plain, picture); err != nil {
		return fmt.Errorf("cannot write the picture as PNG: %w", err)
	}
	_, err = w.Write(insertAfterHeader(plain.Bytes(), texts))
	return err
}

// Noise is what is mostly written: best compression would take three times as long, and save 0.3 %.
var encoder = png.Encoder{CompressionLevel: png.DefaultCompression}

// headerEnd is where the IHDR chunk ends: signature, then length, kind, 13 bytes and checksum.
const headerEnd = len(pngSignature) + 4 + 4 + 13 + 4

// insertAfterHeader puts chunks after IHDR, where readers that stop at the picture still find them.
func insertAfterHeader(file, chunks []byte) []byte {
	out := make([]byte, 0, len(file)+len(chunks))
	out = append(out, file[:headerEnd]...)
	out = append(out, chunks...)
	return append(out, file[headerEnd:]...)
}

// WritePNG draws the grid and writes it as a PNG file with parameters.
func (g Grid) WritePNG(path string, p Parameters) error {
	picture, err := g.Draw()
	if err != nil {
		return err
	}
	return WritePNG(path, picture, p)
}

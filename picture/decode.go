package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"strings"

	"github.com/kovidgoyal/imaging"
	"github.com/kovidgoyal/imaging/prism/meta"
	"github.com/kovidgoyal/imaging/prism/meta/autometa"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/unnoise/unnoise/internal/otherfile"
)

// Limits of what is read, measured before it is decoded.
const (
	MaxPixels = 50_000_000
	MaxBytes  = 512 << 20
)

// Open reads a picture file; see [Decode].
func Open(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	m, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Decode returns the picture of a PNG, JPEG, GIF, WebP, BMP or TIFF file, as programs show it: upright, as its EXIF
// orientation says, and with its color profile converted to sRGB, where it has one that can be read. Of an animation
// it is the first frame. Transparency is kept.
func Decode(data []byte) (m image.Image, err error) {
	defer func() { // decoders are not ours
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("the picture is damaged: %v", r)
		}
	}()
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("the file is larger than %d MB, which is the most that is read", MaxBytes>>20)
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, unreadable(data, err)
	}
	decode, ok := decoders[format]
	if !ok {
		return nil, unreadable(data, image.ErrFormat)
	}
	if config.Width < 1 || config.Height < 1 {
		return nil, fmt.Errorf("the picture is %d×%d pixels, expected at least one", config.Width, config.Height)
	}
	if config.Width > MaxPixels/config.Height {
		return nil, fmt.Errorf("the picture is %d×%d pixels, expected at most %d million: make it smaller first",
			config.Width, config.Height, MaxPixels/1_000_000)
	}
	if m, err = decode(data, config); err != nil {
		return nil, damaged(format, err)
	}
	if b := m.Bounds(); b.Dx() != config.Width || b.Dy() != config.Height {
		return nil, fmt.Errorf("the picture is damaged: it says %d×%d pixels and holds %d×%d",
			config.Width, config.Height, b.Dx(), b.Dy())
	}
	if format == "gif" || format == "bmp" {
		return m, nil
	}
	return asShown(m, metadata(data)), nil
}

var decoders = map[string]func([]byte, image.Config) (image.Image, error){
	"png":  plain(png.Decode),
	"jpeg": plain(jpeg.Decode),
	"bmp":  plain(bmp.Decode),
	"tiff": plain(tiff.Decode),
	"webp": decodeWebP,
	"gif": func(data []byte, c image.Config) (image.Image, error) {
		frame, err := gif.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return onCanvas(frame, c), nil
	},
}

func plain(decode func(io.Reader) (image.Image, error)) func([]byte, image.Config) (image.Image, error) {
	return func(data []byte, _ image.Config) (image.Image, error) { return decode(bytes.NewReader(data)) }
}

// onCanvas returns an animation's frame, which may be a part of the picture, as a whole one.
func onCanvas(frame image.Image, c image.Config) image.Image {
	canvas := image.NewNRGBA(image.Rect(0, 0, c.Width, c.Height))
	if frame.Bounds() == canvas.Rect {
		return frame
	}
	draw.Draw(canvas, frame.Bounds(), frame, frame.Bounds().Min, draw.Src)
	return canvas
}

func decodeWebP(data []byte, c image.Config) (image.Image, error) {
	still, at, ok := firstFrame(data)
	if !ok {
		return webp.Decode(bytes.NewReader(data))
	}
	frame, err := webp.Decode(bytes.NewReader(still))
	if err != nil {
		return nil, err
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, c.Width, c.Height))
	draw.Draw(canvas, frame.Bounds().Add(at), frame, frame.Bounds().Min, draw.Src)
	return canvas, nil
}

// firstFrame returns the first frame of an animated WebP file as a file of its own, and its place in the picture
// (WebP Container Specification, "Extended File Format").
func firstFrame(data []byte) (still []byte, at image.Point, ok bool) {
	const header = 12 // RIFF, size, WEBP
	for i := header; i+8 <= len(data); {
		size := int(binary.LittleEndian.Uint32(data[i+4:]))
		if size > len(data)-i-8 {
			break
		}
		if chunk := data[i+8 : i+8+size]; string(data[i:i+4]) == "ANMF" && size >= 16 {
			u24 := func(i int) int { return int(chunk[i]) | int(chunk[i+1])<<8 | int(chunk[i+2])<<16 }
			still = append(still, "RIFF....WEBP"...)
			if bytes.HasPrefix(chunk[16:], []byte("ALPH")) {
				const hasAlpha = 0x10
				still = append(still, "VP8X\x0a\x00\x00\x00"...)
				still = append(still, hasAlpha, 0, 0, 0)
				still = append(still, chunk[6:12]...) // width and height, less 1
			}
			still = append(still, chunk[16:]...)
			binary.LittleEndian.PutUint32(still[4:], uint32(len(still)-8))
			return still, image.Pt(2*u24(0), 2*u24(3)), true
		}
		i += 8 + size + size&1
	}
	return nil, at, false
}

// metadata returns what a file tells of its picture, nil where that is nothing or damaged.
func metadata(data []byte) (md *meta.Data) {
	defer func() {
		if recover() != nil {
			md = nil
		}
	}()
	md, _, err := autometa.Load(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	return md
}

// asShown turns the picture upright and converts its colors to sRGB. What can't be read of that is left out, as
// browsers leave it out.
func asShown(m image.Image, md *meta.Data) image.Image {
	if md == nil {
		return m
	}
	if converted := inSRGB(m, md); converted != nil && converted.Bounds().Size() == m.Bounds().Size() {
		m = converted
	}
	switch orientation(md) {
	case 2:
		m = imaging.FlipH(m)
	case 3:
		m = imaging.Rotate180(m)
	case 4:
		m = imaging.FlipV(m)
	case 5:
		m = imaging.Transpose(m)
	case 6:
		m = imaging.Rotate270(m)
	case 7:
		m = imaging.Transverse(m)
	case 8:
		m = imaging.Rotate90(m)
	}
	return m
}

func inSRGB(m image.Image, md *meta.Data) (converted image.Image) {
	defer func() {
		if recover() != nil {
			converted = nil
		}
	}()
	profile, err := md.ICCProfile()
	if err != nil || profile == nil || profile.IsSRGB() {
		return nil
	}
	if converted, err = imaging.ConvertToSRGB(profile, imaging.Relative, true, m); err != nil {
		return nil
	}
	return converted
}

// orientation returns EXIF's, from 1 to 8.
func orientation(md *meta.Data) (o int) {
	defer func() {
		if recover() != nil {
			o = 1
		}
	}()
	x, err := md.Exif()
	if err != nil || x == nil {
		return 1
	}
	tag, err := x.Get("Orientation")
	if err != nil {
		return 1
	}
	if o, err = tag.Int(0); err != nil {
		return 1
	}
	return o
}

// damaged says in words for people why a decoder gave up.
func damaged(format string, err error) error {
	name := strings.ToUpper(format)
	if text := err.Error(); strings.Contains(text, "EOF") || strings.Contains(text, "not enough") {
		return fmt.Errorf("the %s file is cut short: it ends before its picture does; get it again", name)
	}
	if strings.Contains(err.Error(), "unsupported") {
		return fmt.Errorf("the %s file is of a kind that can't be read (%w): save it as PNG", name, err)
	}
	return fmt.Errorf("the %s file is damaged: %w", name, err)
}

// unreadable says what a file is that is no picture which can be read.
func unreadable(data []byte, err error) error {
	if len(data) == 0 {
		return errors.New("the file is empty")
	}
	if bytes.Contains(data[:min(len(data), 512)], []byte("<svg")) {
		return errors.New("it is an SVG drawing, which can't be read: save it as PNG")
	}
	if other := otherfile.Explain(data[:min(len(data), 512)], err); other != err {
		return other
	}
	if !errors.Is(err, image.ErrFormat) {
		format := "picture"
		for name, begin := range map[string]string{
			"png": "\x89PNG", "jpeg": "\xff\xd8", "gif": "GIF8", "bmp": "BM", "tiff": "II*\x00", "webp": "RIFF",
		} {
			if bytes.HasPrefix(data, []byte(begin)) {
				format = name
			}
		}
		return damaged(format, err)
	}
	const save = "save it as PNG or JPEG"
	head := string(data[:min(len(data), 32)])
	brand := ""
	if len(head) >= 12 && head[4:8] == "ftyp" {
		brand = head[8:12]
	}
	switch {
	case brand == "avif" || brand == "avis":
		return errors.New("it is an AVIF file, which can't be read: " + save)
	case brand == "heic" || brand == "heix" || brand == "mif1" || brand == "msf1" || brand == "hevc":
		return errors.New("it is a HEIC file, as telephones write them, which can't be read: " + save)
	case brand != "":
		return errors.New("it is a film, expected a picture: " + save)
	case strings.HasPrefix(head, "\xff\x0a") || strings.HasPrefix(head, "\x00\x00\x00\x0cJXL "):
		return errors.New("it is a JPEG XL file, which can't be read: " + save)
	case strings.HasPrefix(head, "%PDF"):
		return errors.New("it is a PDF document, expected a picture: " + save)
	case strings.HasPrefix(head, "8BPS"):
		return errors.New("it is a Photoshop file, which can't be read: " + save)
	}
	return errors.New("it is no picture that can be read: expected PNG, JPEG, GIF, WebP, BMP or TIFF")
}

// rgba64 returns a pixel, alpha-premultiplied.
func rgba64(m image.Image, x, y int) color.RGBA64 {
	if m, ok := m.(image.RGBA64Image); ok {
		return m.RGBA64At(x, y)
	}
	r, g, b, a := m.At(x, y).RGBA()
	return color.RGBA64{R: uint16(r), G: uint16(g), B: uint16(b), A: uint16(a)}
}

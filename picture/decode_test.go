package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

var (
	red    = color.NRGBA{255, 0, 0, 255}
	green  = color.NRGBA{0, 255, 0, 255}
	blue   = color.NRGBA{0, 0, 255, 255}
	white  = color.NRGBA{255, 255, 255, 255}
	black  = color.NRGBA{0, 0, 0, 255}
	hidden = color.NRGBA{}
)

// flag is red on the left and blue on the right, with green in the upper left corner.
func flag(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	paint(m, m.Rect, red)
	paint(m, image.Rect(w/2, 0, w, h), blue)
	paint(m, image.Rect(0, 0, w/4, h/3), green)
	return m
}

func paint(m draw.Image, r image.Rectangle, c color.Color) {
	draw.Draw(m, r, image.NewUniform(c), image.Point{}, draw.Src)
}

// like returns the same pixels in another kind of image.
func like[T draw.Image](m image.Image, to T) T {
	draw.Draw(to, to.Bounds(), m, m.Bounds().Min, draw.Src)
	return to
}

func file(t testing.TB, encode func(w *bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngFile(t testing.TB, m image.Image) []byte {
	return file(t, func(w *bytes.Buffer) error { return png.Encode(w, m) })
}

func jpegFile(t testing.TB, m image.Image) []byte {
	return file(t, func(w *bytes.Buffer) error { return jpeg.Encode(w, m, &jpeg.Options{Quality: 95}) })
}

// isFlag checks three places of a flag, at a tolerance in 256 levels.
func isFlag(t *testing.T, name string, m image.Image, tolerance float64) {
	t.Helper()
	b := m.Bounds()
	for _, place := range []struct {
		x, y float64
		want color.NRGBA
	}{{0.1, 0.1, green}, {0.2, 0.8, red}, {0.8, 0.2, blue}} {
		at := m.At(b.Min.X+int(place.x*float64(b.Dx())), b.Min.Y+int(place.y*float64(b.Dy())))
		got := color.NRGBAModel.Convert(at).(color.NRGBA)
		d := max(math.Abs(float64(got.R)-float64(place.want.R)), math.Abs(float64(got.G)-float64(place.want.G)),
			math.Abs(float64(got.B)-float64(place.want.B)), math.Abs(float64(got.A)-float64(place.want.A)))
		if d > tolerance {
			t.Errorf("%s: at %g, %g is %v, want %v", name, place.x, place.y, got, place.want)
		}
	}
}

func TestDecodeEveryFormat(t *testing.T) {
	m := flag(16, 12)
	files := map[string][]byte{
		"png":         pngFile(t, m),
		"png 16":      pngFile(t, like(m, image.NewNRGBA64(m.Rect))),
		"png palette": pngFile(t, like(m, image.NewPaletted(m.Rect, palette.WebSafe))),
		"jpeg":        jpegFile(t, flag(64, 48)),
		"gif":         file(t, func(w *bytes.Buffer) error { return gif.Encode(w, m, nil) }),
		"bmp":         file(t, func(w *bytes.Buffer) error { return bmp.Encode(w, m) }),
		"tiff":        file(t, func(w *bytes.Buffer) error { return tiff.Encode(w, m, nil) }),
		"tiff deflate": file(t, func(w *bytes.Buffer) error {
			return tiff.Encode(w, m, &tiff.Options{Compression: tiff.Deflate})
		}),
	}
	for _, name := range []string{
		"lossless.webp", "lossy.webp", "alpha.webp", "animated.webp", "animated_alpha.webp", "cmyk.jpg", "palette.bmp",
	} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	for name, data := range files {
		got, err := Decode(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		tolerance := 0.0
		if strings.Contains(name, "jp") || strings.Contains(name, "lossy") || strings.Contains(name, "alpha") {
			tolerance = 24
		}
		isFlag(t, name, got, tolerance)
		if strings.Contains(name, "alpha") {
			if _, _, _, a := got.At(15, 11).RGBA(); a != 0 {
				t.Errorf("%s: the corner is not transparent", name)
			}
		}
	}
	gray := image.NewGray16(image.Rect(0, 0, 3, 1))
	gray.SetGray16(1, 0, color.Gray16{0x1234})
	got, err := Decode(pngFile(t, gray))
	if err != nil {
		t.Fatal(err)
	}
	if v := got.At(1, 0).(color.Gray16).Y; v != 0x1234 {
		t.Errorf("16 bits of gray are %#x, want 0x1234", v)
	}
}

// A GIF's first frame may be smaller than the picture.
func TestDecodePartOfGIF(t *testing.T) {
	part := image.NewPaletted(image.Rect(2, 1, 4, 3), color.Palette{red, blue})
	data := file(t, func(w *bytes.Buffer) error {
		return gif.EncodeAll(w, &gif.GIF{
			Image: []*image.Paletted{part, part}, Delay: []int{1, 1}, Config: image.Config{Width: 8, Height: 5},
		})
	})
	m, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds() != image.Rect(0, 0, 8, 5) || m.At(2, 1) != red || m.At(0, 0) != hidden {
		t.Errorf("%v, %v, %v", m.Bounds(), m.At(2, 1), m.At(0, 0))
	}
}

// withOrientation puts EXIF with an orientation behind a JPEG's first marker.
func withOrientation(jpegFile []byte, o byte) []byte {
	tiff := append([]byte("II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00"), o, 0, 0, 0, 0, 0, 0, 0)
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{}, jpegFile[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(segment)+2))
	out = append(out, segment...)
	return append(out, jpegFile[2:]...)
}

// Each of EXIF's orientations says where row 0 and column 0 of the file lie in the picture.
func TestDecodeTurnsUpright(t *testing.T) {
	upright := flag(64, 48)
	w, h := 64, 48
	for o, from := range map[byte]func(x, y int) (int, int){ // where the upright picture's pixel lies in the file
		1: func(x, y int) (int, int) { return x, y },
		2: func(x, y int) (int, int) { return w - 1 - x, y },
		3: func(x, y int) (int, int) { return w - 1 - x, h - 1 - y },
		4: func(x, y int) (int, int) { return x, h - 1 - y },
		5: func(x, y int) (int, int) { return y, x },
		6: func(x, y int) (int, int) { return y, w - 1 - x },
		7: func(x, y int) (int, int) { return h - 1 - y, w - 1 - x },
		8: func(x, y int) (int, int) { return h - 1 - y, x },
	} {
		stored := image.NewNRGBA(image.Rect(0, 0, w, h))
		if o >= 5 {
			stored = image.NewNRGBA(image.Rect(0, 0, h, w))
		}
		for y := range h {
			for x := range w {
				sx, sy := from(x, y)
				stored.Set(sx, sy, upright.At(x, y))
			}
		}
		got, err := Decode(withOrientation(jpegFile(t, stored), o))
		if err != nil {
			t.Errorf("orientation %d: %v", o, err)
			continue
		}
		if got.Bounds().Size() != upright.Rect.Size() {
			t.Errorf("orientation %d: %v", o, got.Bounds())
			continue
		}
		isFlag(t, fmt.Sprint("orientation ", o), got, 24)
	}
	for _, name := range []string{"turned.webp", "turned.png", "turned.tiff"} { // stored upright, said to lie on a side
		got, err := Open(filepath.Join("testdata", name))
		if err != nil {
			t.Error(err)
			continue
		}
		if got.Bounds().Dx() != 24 || got.Bounds().Dy() != 32 {
			t.Errorf("%s is %v, want 24×32", name, got.Bounds())
		}
	}
}

// The profile of these files exchanges red and blue.
func TestDecodeReadsColorProfiles(t *testing.T) {
	for _, name := range []string{"exchanged.jpg", "exchanged.png"} {
		m, err := Open(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		r, _, b, _ := m.At(m.Bounds().Dx()/5, m.Bounds().Dy()*4/5).RGBA()
		if b < 0xe000 || r > 0x2000 {
			t.Errorf("%s: what its numbers call red has red %#x and blue %#x", name, r, b)
		}
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	whole := pngFile(t, flag(64, 64))
	photo := jpegFile(t, flag(64, 64))
	huge := bytes.Clone(whole) // the header says 60000×60000
	binary.BigEndian.PutUint32(huge[16:], 60000)
	binary.BigEndian.PutUint32(huge[20:], 60000)
	binary.BigEndian.PutUint32(huge[29:], crc(huge[12:29]))
	wrong := bytes.Clone(whole)
	wrong[45] ^= 0xff
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty": {nil, "empty"},
		"text":  {[]byte("just text"), "no picture"},
		"LFS": {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
			"git lfs pull"},
		"page":          {[]byte("<!DOCTYPE html><html><body>404</body></html>"), "HTML"},
		"svg":           {[]byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), "SVG"},
		"heic":          {[]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"), "HEIC"},
		"avif":          {[]byte("\x00\x00\x00\x18ftypavif\x00\x00\x00\x00avifmif1"), "AVIF"},
		"film":          {[]byte("\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomavc1"), "film"},
		"pdf":           {[]byte("%PDF-1.7"), "PDF"},
		"bomb":          {huge, "60000×60000 pixels, expected at most 50 million"},
		"cut PNG":       {whole[:len(whole)-40], "cut short"},
		"cut JPEG":      {photo[:len(photo)/2], "cut short"},
		"cut header":    {photo[:10], "cut short"},
		"damaged":       {wrong, "damaged"},
		"WebP, no more": {[]byte("RIFF\x10\x00\x00\x00WEBPVP8 "), "WEBP file"},
	} {
		m, err := Decode(c.data)
		if err == nil || m != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want it to tell of %q", name, m != nil, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.png")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "text.png")
	if err := os.WriteFile(path, []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the file is not named: %v", err)
	}
}

func TestExamples(t *testing.T) {
	if len(Examples()) < 3 {
		t.Errorf("examples are %q", Examples())
	}
	for _, name := range Examples() {
		m, err := Example(name)
		if err != nil || min(m.Bounds().Dx(), m.Bounds().Dy()) < 160 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Example("dog"); err == nil || !strings.Contains(err.Error(), "cat, coffee") {
		t.Errorf("%v", err)
	}
}

// Nothing that is read may crash, or ask for more memory than 50 megapixels take.
func FuzzDecode(f *testing.F) {
	m := flag(16, 12)
	f.Add(pngFile(f, m))
	f.Add(withOrientation(jpegFile(f, m), 6))
	f.Add(file(f, func(w *bytes.Buffer) error { return gif.Encode(w, m, nil) }))
	f.Add(file(f, func(w *bytes.Buffer) error { return bmp.Encode(w, m) }))
	f.Add(file(f, func(w *bytes.Buffer) error { return tiff.Encode(w, m, nil) }))
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		if err != nil || m.Bounds().Dx()*m.Bounds().Dy() > 1<<20 {
			return
		}
		got, err := Fit{C: 3, H: 8, W: 8, High: 1, Mode: Pad}.Picture(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range got.Images.Data {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("a value is %g", v)
			}
		}
	})
}

func crc(chunk []byte) uint32 { return crc32.ChecksumIEEE(chunk) }

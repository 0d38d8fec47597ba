package figure

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func newDeflater(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }

func animation(t *testing.T, channels int) Animation {
	a := Animation{Delay: 40 * time.Millisecond, Hold: 3 * time.Second}
	m := ramp(5, channels, 6, 7)
	for i := range m.N {
		a.Frames = append(a.Frames, drawn(t, Grid{Images: m.Slice(i, i+1), Scale: 2}))
	}
	return a
}

// The frames of an animated PNG are taken out again as stills and compared; the file itself is a valid PNG of the last
// frame.
func TestAPNG(t *testing.T) {
	for _, channels := range []int{1, 3} {
		a := animation(t, channels)
		path := filepath.Join(t.TempDir(), "trajectory.png")
		if err := WriteAnimation(path, a, example); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		still, err := png.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if !samePixels(still, a.Frames[len(a.Frames)-1]) {
			t.Error("the still picture is not the last frame")
		}
		if got, err := ReadParametersFile(path); err != nil || !reflect.DeepEqual(got, example) {
			t.Errorf("parameters %q, %v", got, err)
		}

		var frames []image.Image
		var delays []time.Duration
		sequence, count := uint32(0), 0
		in := file[len(pngSignature):]
		for len(in) > 0 {
			n := binary.BigEndian.Uint32(in)
			kind, data := string(in[4:8]), in[8:8+n]
			in = in[12+n:]
			switch kind {
			case "acTL":
				count = int(binary.BigEndian.Uint32(data))
			case "fcTL":
				if got := binary.BigEndian.Uint32(data); got != sequence {
					t.Fatalf("sequence number %d, expected %d", got, sequence)
				}
				sequence++
				delays = append(delays,
					time.Duration(binary.BigEndian.Uint16(data[20:]))*time.Second/time.Duration(binary.BigEndian.Uint16(
						data[22:])))
			case "fdAT":
				if got := binary.BigEndian.Uint32(data); got != sequence {
					t.Fatalf("sequence number %d, expected %d", got, sequence)
				}
				sequence++
				alone := appendChunk(bytes.Clone(file[:headerEnd]), "IDAT", data[4:])
				frame, err := png.Decode(bytes.NewReader(appendChunk(alone, "IEND")))
				if err != nil {
					t.Fatal(err)
				}
				frames = append(frames, frame)
			}
		}
		if count != len(a.Frames) || len(frames) != count {
			t.Fatalf("%d frames announced, %d found, %d written", count, len(frames), len(a.Frames))
		}
		for i := range frames {
			if !samePixels(frames[i], a.Frames[i]) {
				t.Errorf("frame %d changed", i)
			}
			if want := a.delay(i); delays[i] != want {
				t.Errorf("frame %d is shown for %v, expected %v", i, delays[i], want)
			}
		}
		if delays[len(delays)-1] != a.Hold {
			t.Error("the last frame is not held")
		}
	}
}

func TestGIF(t *testing.T) {
	for _, channels := range []int{1, 3} {
		a := animation(t, channels)
		path := filepath.Join(t.TempDir(), "trajectory.gif")
		if err := WriteAnimation(path, a, nil); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := gif.DecodeAll(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Image) != len(a.Frames) || got.LoopCount != 0 {
			t.Fatalf("%d frames, loop count %d", len(got.Image), got.LoopCount)
		}
		if got.Delay[0] != 4 || got.Delay[len(got.Delay)-1] != 300 {
			t.Errorf("delays %v, expected 4 and at last 300 hundredths of a second", got.Delay)
		}
		for i := range a.Frames {
			if channels == 1 && !samePixels(got.Image[i], a.Frames[i]) {
				t.Errorf("gray frame %d changed", i)
			}
		}
	}
}

// A GIF's colors are those that its frames have.
func TestGIFColors(t *testing.T) {
	few := image.NewRGBA(image.Rect(0, 0, 20, 20))
	many := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 20 * 20 {
		few.Set(i%20, i/20, []color.Color{color.RGBA{200, 30, 70, 255}, color.RGBA{13, 77, 201, 255}}[i%2])
	}
	for i := range 64 * 64 {
		many.Set(i%64, i/64, color.RGBA{uint8(i % 64 * 2), uint8(i / 64 * 2), 90, 255})
	}
	for _, m := range []*image.RGBA{few, many} {
		var file bytes.Buffer
		if err := EncodeGIF(&file, Animation{Frames: []image.Image{m, m}}); err != nil {
			t.Fatal(err)
		}
		got, err := gif.DecodeAll(&file)
		if err != nil {
			t.Fatal(err)
		}
		if m == few && !samePixels(got.Image[1], few) {
			t.Error("two colors are not kept")
		}
		var worst int
		for y := range m.Rect.Dy() {
			for x := range m.Rect.Dx() {
				r, g, b, _ := got.Image[1].At(x, y).RGBA()
				c := m.RGBAAt(x, y)
				worst = max(worst, abs(int(r>>8)-int(c.R)), abs(int(g>>8)-int(c.G)), abs(int(b>>8)-int(c.B)))
			}
		}
		if worst > 20 {
			t.Errorf("a color is off by %d of 256 levels", worst)
		}
	}
}

func abs(n int) int { return max(n, -n) }

// With Back an animation ends as it begins, and rests at both ends.
func TestAnimationRunsBack(t *testing.T) {
	a := animation(t, 1)
	a.Back = true
	var file bytes.Buffer
	if err := EncodeGIF(&file, a); err != nil {
		t.Fatal(err)
	}
	got, err := gif.DecodeAll(&file)
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{4, 4, 4, 300, 4, 4, 4, 300}; !reflect.DeepEqual(got.Delay, want) {
		t.Errorf("delays %v, expected %v", got.Delay, want)
	}
	for i, frame := range []int{1, 2, 3, 4, 3, 2, 1, 0} {
		if i < len(got.Image) && !samePixels(got.Image[i], a.Frames[frame]) {
			t.Errorf("frame %d of the file is not frame %d", i, frame)
		}
	}
	if err := EncodeAPNG(&file, Animation{Frames: a.Frames[:1], Back: true}, nil); err != nil {
		t.Error(err)
	}
}

func TestAnimationRefuses(t *testing.T) {
	a := animation(t, 1)
	if err := WriteAnimation("x.mp4", a, nil); err == nil {
		t.Error("an unknown extension was accepted")
	}
	if err := EncodeAPNG(io.Discard, Animation{}, nil); err == nil {
		t.Error("an animation without frames was accepted")
	}
	a.Frames[2] = image.NewGray(image.Rect(0, 0, 3, 3))
	if err := EncodeGIF(io.Discard, a); err == nil {
		t.Error("frames of two sizes were accepted")
	}
}

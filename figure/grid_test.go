package figure

import (
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// ramp returns images whose values differ everywhere.
func ramp(n, c, h, w int) diffusion.Images {
	m := diffusion.NewImages(n, c, h, w)
	for i := range m.Data {
		m.Data[i] = float32(i) / float32(len(m.Data)-1)
	}
	return m
}

func drawn(t *testing.T, g Grid) image.Image {
	t.Helper()
	picture, err := g.Draw()
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

func TestGridPlacesEveryPixel(t *testing.T) {
	for _, c := range []int{1, 3} {
		m := ramp(7, c, 2, 3)
		g := Grid{Images: m, Columns: 3, Scale: 2, Padding: 1, Background: color.Gray{Y: 77}}
		picture := drawn(t, g)
		if want := image.Rect(0, 0, 3*(6+1)+1, 3*(4+1)+1); picture.Bounds() != want {
			t.Fatalf("picture is %v, expected %v", picture.Bounds(), want)
		}
		for y := range picture.Bounds().Dy() {
			for x := range picture.Bounds().Dx() {
				want := color.RGBA{77, 77, 77, 255}
				column, row, dx, dy := x/7, y/5, x%7-1, y%5-1
				if n := row*3 + column; dx >= 0 && dy >= 0 && n < m.N {
					at := func(channel int) byte {
						v := m.Data[((n*c+channel)*2+dy/2)*3+dx/2]
						return byte(math.Round(float64(v) * 255))
					}
					want = color.RGBA{at(0), at(c / 2), at(c - 1), 255}
				}
				if got := color.RGBAModel.Convert(picture.At(x, y)); got != want {
					t.Fatalf("%d channels: pixel %d,%d is %v, expected %v", c, x, y, got, want)
				}
			}
		}
	}
}

func TestGridClips(t *testing.T) {
	m := diffusion.NewImages(1, 1, 1, 6)
	nan := float32(math.NaN())
	copy(m.Data, []float32{-3, 0, 0.5, 1, 7, nan})
	want := []byte{0, 0, 128, 255, 255, 0}
	gray, ok := drawn(t, Grid{Images: m}).(*image.Gray)
	if !ok {
		t.Fatal("a gray batch should give an *image.Gray")
	}
	for i, w := range want {
		if gray.Pix[i] != w {
			t.Errorf("value %v became %d, expected %d", m.Data[i], gray.Pix[i], w)
		}
	}
}

// Labels take room beside the images, leave ink there, and none on the images.
func TestGridLabels(t *testing.T) {
	m := ramp(4, 1, 8, 8)
	for i := range m.Data {
		m.Data[i] = 1
	}
	g := Grid{Images: m, Columns: 2, Scale: 2, Padding: 2, RowLabels: []string{"γ", "guidance 5"},
		ColumnLabels: []string{"a", "longer than its column"}}
	picture := drawn(t, g).(*image.Gray)
	l := g.layout()
	if l.left < 10*glyphWidth || l.top < lineHeight {
		t.Fatalf("labels got %d x %d pixels", l.left, l.top)
	}
	dark := func(r image.Rectangle) (n int) {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				if picture.GrayAt(x, y).Y < 128 {
					n++
				}
			}
		}
		return n
	}
	if dark(image.Rect(0, l.top, l.left, l.height)) == 0 || dark(image.Rect(l.left, 0, l.width, l.top)) == 0 {
		t.Error("a label left no ink")
	}
	corner := image.Rect(0, 0, l.left, l.top)
	if dark(corner) != 0 {
		t.Error("there is ink in the corner")
	}
	g.Corner = "sigma"
	if picture = drawn(t, g).(*image.Gray); dark(corner) == 0 {
		t.Error("the corner's label left no ink")
	}
	g.Background = color.NRGBA{R: 255, G: 255, B: 255, A: 100} // drawn as white
	if picture = drawn(t, g).(*image.Gray); dark(corner) == 0 {
		t.Error("a label on a translucent background left no ink")
	}
	for i := range 4 {
		if n := dark(l.cell(i)); n != 0 {
			t.Errorf("labels cover %d pixels of image %d", n, i)
		}
	}
}

func TestGridRefuses(t *testing.T) {
	short := ramp(2, 1, 2, 2)
	short.Data = short.Data[:7]
	for name, g := range map[string]Grid{
		"two channels": {Images: ramp(1, 2, 2, 2)}, "no image": {Images: ramp(0, 1, 2, 2)},
		"short data":     {Images: short},
		"negative scale": {Images: ramp(1, 1, 2, 2), Scale: -1},
		"too large":      {Images: ramp(1, 1, 2, 2), Scale: 1 << 20},
	} {
		if _, err := g.Draw(); err == nil {
			t.Errorf("%s: expected an error", name)
		}
	}
}

// Captions stand below their images and take no room of others; marked images have a red frame.
func TestGridCaptions(t *testing.T) {
	m := ramp(4, 1, 20, 40)
	bare := Grid{Images: m, Columns: 2, Padding: 4}
	g := bare
	g.Captions, g.Marked = []string{"6|9 +4.8", "", "far too long for its image"}, []int{3}
	picture := drawn(t, g)
	if want := image.Rect(0, 0, 2*44+4, 2*(24+16)+4); picture.Bounds() != want {
		t.Fatalf("the picture is %v, expected %v", picture.Bounds(), want)
	}
	plain := drawn(t, bare)
	below := map[int]bool{} // the image has something below it
	for n := range m.N {
		column, row := n%2, n/2
		for y := range 20 + 16 {
			for x := range 40 {
				got := color.RGBAModel.Convert(picture.At(4+column*44+x, 4+row*40+y)).(color.RGBA)
				if y < 20 {
					if want := color.RGBAModel.Convert(plain.At(4+column*44+x, 4+row*24+y)); got != want {
						t.Fatalf("image %d, pixel %d,%d is %v, expected %v", n, x, y, got, want)
					}
				} else if y >= 20+3 && got != (color.RGBA{255, 255, 255, 255}) {
					below[n] = true
				}
			}
		}
		frame := color.RGBAModel.Convert(picture.At(4+column*44-1, 4+row*40+10)).(color.RGBA)
		if red := frame.R > 200 && frame.G < 100; red != (n == 3) {
			t.Errorf("beside image %d is %v", n, frame)
		}
	}
	if !below[0] || below[1] || !below[2] || below[3] {
		t.Errorf("something stands below %v", below)
	}
}

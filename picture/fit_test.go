package picture

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

func fit(t *testing.T, f Fit, m image.Image) Fitted {
	t.Helper()
	out, err := f.Picture(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func near(t *testing.T, what string, got, want, tolerance float32) {
	t.Helper()
	if !(math.Abs(float64(got-want)) <= float64(tolerance)) {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

// A picture of the images' size, or one of that size enlarged by repeating pixels, keeps its values to the bit.
func TestValuesAreKept(t *testing.T) {
	values := make([]float32, 28*28)
	diffusion.NewGenerator(1).Uniform(values)
	small := image.NewGray(image.Rect(0, 0, 28, 28))
	for i := range values {
		small.Pix[i] = byte(values[i] * 256)
	}
	large := image.NewGray(image.Rect(5, 7, 5+28*4, 7+28*4))
	for i := range large.Pix {
		large.Pix[i] = small.Pix[i/large.Stride/4*28+i%large.Stride/4]
	}
	for _, mode := range []Mode{"", Pad, Stretch, Digit} {
		for _, m := range []image.Image{small, large} {
			got := fit(t, Fit{C: 1, H: 28, W: 28, High: 1, Mode: mode}, m).Images
			for i, v := range got.Data {
				if want := float32(small.Pix[i]) / 255; v != want {
					t.Fatalf("mode %q, %v: value %d is %g, want %g", mode, m.Bounds(), i, v, want)
				}
			}
			got = fit(t, Fit{C: 3, H: 28, W: 28, Low: -1, High: 1, Mode: "crop"}, m).Images
			if v, want := got.Data[2*28*28+5], 2*float32(small.Pix[5])/255-1; v != want {
				t.Errorf("%v: blue is %g, want %g", m.Bounds(), v, want)
			}
		}
	}
}

func TestModes(t *testing.T) {
	m := flag(90, 60) // red, blue; green to 22 and 20
	at := func(f Fitted, c, y, x int) float32 { return f.Images.Data[(c*f.Images.H+y)*f.Images.W+x] }
	f := Fit{C: 3, H: 20, W: 20, High: 1}
	crop := fit(t, f, m) // columns 15 to 75
	near(t, "crop: red in the middle left", at(crop, 0, 15, 5), 1, 0.01)
	near(t, "crop: blue on the right", at(crop, 2, 10, 19), 1, 0.01)
	near(t, "crop: green in the corner", at(crop, 1, 0, 0), 1, 0.01)
	near(t, "crop: green ends after 7 of 60 columns", at(crop, 1, 0, 4), 0, 0.01)

	f.Mode = Pad
	f.Ground = color.NRGBA{255, 255, 0, 255}
	pad := fit(t, f, m) // 90 pixels for 20: 13 rows
	near(t, "pad: blue above", at(pad, 2, 0, 10), 0, 0)
	near(t, "pad: green above", at(pad, 1, 0, 10), 1, 0)
	near(t, "pad: green in the corner", at(pad, 1, 5, 1), 1, 0.01)
	near(t, "pad: red on the left", at(pad, 0, 14, 2), 1, 0.01)
	near(t, "pad: blue below", at(pad, 2, 19, 10), 0, 0)

	f.Mode = Stretch
	stretch := fit(t, f, m)
	near(t, "stretch: green in the corner", at(stretch, 1, 3, 3), 1, 0.01)
	near(t, "stretch: red below it", at(stretch, 0, 10, 3), 1, 0.01)
	near(t, "stretch: blue on the right", at(stretch, 2, 19, 19), 1, 0.01)

	for _, c := range []struct {
		w, h, short, step int
		wantH, wantW      int
	}{{640, 480, 64, 8, 64, 88}, {480, 640, 64, 8, 88, 64}, {100, 100, 64, 8, 64, 64}, {5000, 10, 64, 8, 64, 256}} {
		if h, w := Sides(image.NewGray(image.Rect(0, 0, c.w, c.h)), c.short, c.step); h != c.wantH || w != c.wantW {
			t.Errorf("the sides for %d×%d are %d×%d, want %d×%d", c.w, c.h, w, h, c.wantW, c.wantH)
		}
	}
}

// Scaling is done in light: a fine checkerboard of black and white looks like half the light, 188 of 255, not 128.
func TestScalingIsInLinearLight(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range m.Pix {
		m.Pix[i] = byte((i + i/64) % 2 * 255)
	}
	for kind, m := range map[string]image.Image{
		"gray": m, "nrgba": like(m, image.NewNRGBA(m.Rect)), "rgba": like(m, image.NewRGBA(m.Rect)),
	} {
		got := fit(t, Fit{C: 1, H: 8, W: 8, High: 255}, m).Images
		for i, v := range got.Data {
			if math.Abs(float64(v)-188) > 4 {
				t.Fatalf("%s: value %d is %g, want 188", kind, i, v)
			}
		}
	}
	// The photograph's mean light stays what it was.
	photo, err := Example("cat")
	if err != nil {
		t.Fatal(err)
	}
	mean := func(h, w int) (sum float64) {
		got := fit(t, Fit{C: 1, H: h, W: w, High: 1, Mode: Stretch}, photo).Images
		for _, v := range got.Data {
			sum += linear(float64(v)) / float64(len(got.Data))
		}
		return sum
	}
	if a, b := mean(256, 385), mean(16, 24); math.Abs(a/b-1) > 0.01 {
		t.Errorf("the mean light is %g and, made small, %g", a, b)
	}
}

func TestTransparency(t *testing.T) {
	m := flag(40, 40)
	paint(m, image.Rect(20, 0, 40, 40), hidden)
	at := func(f Fitted, c int) float32 { return f.Images.Data[c*16+2*4+3] }
	f := Fit{C: 3, H: 4, W: 4, High: 1}
	white := fit(t, f, m)
	if at(white, 0) != 1 || at(white, 1) != 1 || at(white, 2) != 1 {
		t.Errorf("the usual ground is not white: %g", white.Images.Data)
	}
	f.Ground = blue
	if got := fit(t, f, m); at(got, 0) != 0 || at(got, 2) != 1 {
		t.Errorf("the ground is not blue: %g", got.Images.Data)
	}
	half := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	half.Set(0, 0, color.NRGBA{255, 255, 255, 128})
	mixed := fit(t, Fit{C: 1, H: 1, W: 1, High: 1, Ground: black}, half)
	near(t, "half white on black", mixed.Images.Data[0], 0.736, 0.002)
}

// drawn is a stroke of a pen, which leaves most of the page blank.
func drawn(w, h int, stroke image.Rectangle, paper, ink color.Color) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	paint(m, m.Rect, paper)
	paint(m, stroke, ink)
	return m
}

func TestDigits(t *testing.T) {
	stroke := image.Rect(30, 20, 60, 160)
	for name, c := range map[string]struct {
		m        image.Image
		ink      Ink
		inverted bool
	}{
		"black on white":   {drawn(400, 300, stroke, white, black), Auto, true},
		"white on black":   {drawn(400, 300, stroke, black, white), Auto, false},
		"pencil on paper":  {drawn(400, 300, stroke, color.Gray{210}, color.Gray{120}), Auto, true},
		"told":             {drawn(400, 300, stroke, color.Gray{140}, color.Gray{20}), Dark, true},
		"light as it is":   {drawn(400, 300, stroke, color.Gray{60}, color.Gray{250}), "", false},
		"black on nothing": {drawn(400, 300, stroke, hidden, black), Auto, true},
		"white on nothing": {drawn(400, 300, stroke, hidden, white), Auto, false},
		"small":            {drawn(20, 20, image.Rect(2, 2, 5, 16), white, black), Auto, true},
		"at the edge":      {drawn(400, 300, image.Rect(0, 20, 30, 160), white, black), Auto, true},
		"a telephone's page": {
			drawn(2000, 3000, image.Rect(700, 900, 900, 1850), color.Gray{230}, color.Gray{40}), Auto, true,
		},
	} {
		f := Fit{C: 1, H: 28, W: 28, Low: -1, High: 1, Mode: Digit, Ink: c.ink}
		got := fit(t, f, c.m)
		if got.Inverted != c.inverted {
			t.Errorf("%s: inverted is %v", name, got.Inverted)
		}
		// The stroke is 20 rows high and 4 to 5 columns wide, in the middle.
		rows, columns, mx, my, mass := map[int]bool{}, map[int]bool{}, 0.0, 0.0, 0.0
		for i, v := range got.Images.Data {
			v := float64(v+1) / 2
			mass, mx, my = mass+v, mx+v*(float64(i%28)+0.5), my+v*(float64(i/28)+0.5)
			if v > 0.5 {
				rows[i/28], columns[i%28] = true, true
			}
		}
		if len(rows) < 19 || len(rows) > 21 || len(columns) < 3 || len(columns) > 6 {
			t.Errorf("%s: the stroke is %d×%d pixels", name, len(columns), len(rows))
		}
		if math.Abs(mx/mass-14) > 0.7 || math.Abs(my/mass-14) > 0.7 {
			t.Errorf("%s: the center of mass is at %.1f, %.1f", name, mx/mass, my/mass)
		}
		if lowest, highest := slices.Min(got.Images.Data), slices.Max(got.Images.Data); lowest != -1 || highest != 1 {
			t.Errorf("%s: values are from %g to %g", name, lowest, highest)
		}
	}
	for name, m := range map[string]image.Image{
		"blank":   drawn(100, 100, image.Rectangle{}, white, white),
		"nothing": drawn(100, 100, image.Rectangle{}, hidden, white),
	} {
		_, err := Fit{C: 1, H: 28, W: 28, High: 1, Mode: Digit, Ink: Auto}.Picture(m)
		if err == nil || !strings.Contains(err.Error(), "nothing is drawn") {
			t.Errorf("%s: %v", name, err)
		}
	}
	small := drawn(28, 28, image.Rect(2, 2, 5, 16), white, black) // of the model's size: it stays where it is
	got := fit(t, Fit{C: 1, H: 28, W: 28, High: 1, Mode: Digit, Ink: Auto}, small)
	if !got.Inverted || got.Images.Data[2*28+2] != 1 || got.Images.Data[0] != 0 {
		t.Errorf("inverted is %v, values are %g and %g", got.Inverted, got.Images.Data[2*28+2], got.Images.Data[0])
	}
	photo, err := Example("cat")
	if err != nil {
		t.Fatal(err)
	}
	if fit(t, Fit{C: 1, H: 28, W: 28, High: 1, Ink: Auto}, photo).Inverted {
		t.Error("a photograph passes for a drawing")
	}
}

func TestFitRefuses(t *testing.T) {
	m := flag(8, 8)
	for want, f := range map[string]Fit{
		"1 or 3 channels": {C: 2, H: 8, W: 8, High: 1},
		"both have":       {C: 1, H: 8, W: 8},
		`mode is "fill"`:  {C: 1, H: 8, W: 8, High: 1, Mode: "fill"},
		`ink is "red"`:    {C: 1, H: 8, W: 8, High: 1, Ink: "red"},
		"of 1 channel":    {C: 3, H: 8, W: 8, High: 1, Mode: Digit},
	} {
		if _, err := f.Picture(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to tell of %q", err, want)
		}
	}
	if _, err := (Fit{C: 1, H: 8, W: 8, High: 1}).Picture(image.NewGray(image.Rectangle{})); err == nil {
		t.Error("a picture without pixels is taken")
	}
}

func TestMasks(t *testing.T) {
	m := flag(40, 40)
	f := fit(t, Fit{C: 3, H: 20, W: 20, High: 1}, m)
	selected := func(mask Mask, feather float64) (rows, columns map[int]bool, values []float32) {
		t.Helper()
		got, err := f.Mask(mask, feather)
		if err != nil {
			t.Fatal(err)
		}
		rows, columns = map[int]bool{}, map[int]bool{}
		for i, v := range got.Data {
			if v > 0 {
				rows[i/20], columns[i%20] = true, true
			}
		}
		return rows, columns, got.Data
	}
	box := func(text string) Mask {
		t.Helper()
		b, err := MaskBox(text, m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, text := range []string{"10,20,20,10", "25%, 50%, 50%, 25%"} {
		rows, columns, values := selected(box(text), 0)
		if len(rows) != 5 || !rows[10] || len(columns) != 10 || !columns[5] {
			t.Errorf("the box %s selects rows %v and columns %v", text, rows, columns)
		}
		for i, v := range values {
			if v != 0 && v != 1 {
				t.Fatalf("value %d is %g", i, v)
			}
		}
	}
	// Feather rises inwards: what is kept is kept in full.
	_, _, hard := selected(box("10,10,20,20"), 0)
	_, _, soft := selected(box("10,10,20,20"), 3)
	for i := range hard {
		if (hard[i] == 0) != (soft[i] == 0) {
			t.Fatalf("feather changes what is selected at %d", i)
		}
	}
	for x, want := range []float32{0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0} {
		near(t, "a feathered value", soft[10*20+x], want, 1e-6)
	}
	file := like(m, image.NewGray(m.Rect))
	paint(file, file.Rect, black)
	paint(file, image.Rect(0, 0, 10, 40), white)
	mask, err := MaskOf(file, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, columns, _ := selected(mask, 0); len(columns) != 5 || !columns[0] {
		t.Errorf("a file selects columns %v", columns)
	}
	holed := flag(40, 40)
	paint(holed, image.Rect(20, 0, 40, 40), hidden)
	if mask, err = MaskAlpha(holed); err != nil {
		t.Fatal(err)
	}
	if _, columns, _ := selected(mask, 0); len(columns) != 10 || !columns[19] {
		t.Errorf("transparency selects columns %v", columns)
	}
	// What padding adds may be generated: a wide picture becomes a square one.
	wide := flag(40, 20)
	if mask, err = MaskAlpha(wide); err != nil {
		t.Fatal(err)
	}
	f = fit(t, Fit{C: 3, H: 20, W: 20, High: 1, Mode: Pad}, wide)
	if rows, _, _ := selected(mask, 0); len(rows) != 10 || !rows[0] || rows[10] {
		t.Errorf("padding selects rows %v", rows)
	}
	// A mask follows its picture where a drawing is moved.
	page := drawn(400, 300, image.Rect(30, 20, 60, 160), white, black)
	moved, err := MaskBox("30,20,30,140", page)
	if err != nil {
		t.Fatal(err)
	}
	digit := fit(t, Fit{C: 1, H: 28, W: 28, High: 1, Mode: Digit, Ink: Auto}, page)
	got, err := digit.Mask(moved, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got.Data {
		if (v > 0) != (digit.Images.Data[i] > 0.5) {
			t.Errorf("the mask of a stroke is not where the stroke is: row %d, column %d", i/28, i%28)
			break
		}
	}
}

func TestMasksRefuse(t *testing.T) {
	m := flag(40, 40)
	plain := func(c color.Color, w, h int) image.Image {
		m := image.NewGray(image.Rect(0, 0, w, h))
		draw.Draw(m, m.Rect, image.NewUniform(c), image.Point{}, draw.Src)
		return m
	}
	of := func(mask image.Image) func() (Mask, error) {
		return func() (Mask, error) { return MaskOf(mask, m) }
	}
	box := func(text string) func() (Mask, error) {
		return func() (Mask, error) { return MaskBox(text, m) }
	}
	for name, c := range map[string]struct {
		make func() (Mask, error)
		want string
	}{
		"black":      {of(plain(black, 40, 40)), "selects nothing"},
		"white":      {of(plain(white, 40, 40)), "selects the whole"},
		"other size": {of(plain(white, 20, 40)), "20×40 pixels, expected the picture's 40×40"},
		"three":      {box("1,2,3"), "has 3 numbers"},
		"words":      {box("a,b,c,d"), `"a" for a number`},
		"NaN":        {box("NaN,0,1,1"), "for a number"},
		"empty box":  {box("1,1,0,5"), "is empty"},
		"beyond":     {box("30,30,20,5"), "reaches beyond the picture"},
		"below 0":    {box("-1,0,5,5"), "reaches beyond"},
		"all":        {box("0,0,100%,100%"), "selects the whole"},
	} {
		if _, err := c.make(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to tell of %q", name, err, c.want)
		}
	}
	f := fit(t, Fit{C: 3, H: 4, W: 4, High: 1}, m)
	tiny, err := MaskBox("0,0,2,2", m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Mask(tiny, 0); err == nil || !strings.Contains(err.Error(), "too small") {
		t.Errorf("a mask of less than a pixel: %v", err)
	}
	opaque, err := MaskAlpha(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Mask(opaque, 0); err == nil || !strings.Contains(err.Error(), "selects nothing") {
		t.Errorf("the mask of an opaque picture: %v", err)
	}
	if _, err := f.Mask(tiny, math.NaN()); err == nil {
		t.Error("a feather of NaN is taken")
	}
	other, err := MaskBox("0,0,2,2", flag(30, 30))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Mask(other, 0); err == nil || !strings.Contains(err.Error(), "another picture") {
		t.Errorf("another picture's mask: %v", err)
	}
}

func BenchmarkPhotograph(b *testing.B) { // 12 megapixels
	m := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	for b.Loop() {
		if _, err := (Fit{C: 3, H: 64, W: 64, Low: -1, High: 1}).Picture(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeTurned(b *testing.B) {
	for b.Loop() {
		if _, err := Open(filepath.Join("testdata", "turned.png")); err != nil {
			b.Fatal(err)
		}
	}
}

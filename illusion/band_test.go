package illusion

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/golden"
)

func band(t *testing.T, text string) Band {
	t.Helper()
	b, err := ParseBand(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSetsOfBandsAreTheWholePicture(t *testing.T) {
	sets := [][]string{
		{"low_pass:3", "high_pass:3"}, {"low_pass:2,13,0", "high_pass:2,13,0"},
		{"low:0.5,4", "mid:0.5,4", "high:0.5,4"}, {"motion_blur:11", "motion_residual:11"},
		{"scale:0.3", "scale:0.7"}, {"scale:1.5", "scale:-0.5"},
	}
	for _, k := range Bands() {
		if !slices.Contains(k.Sum, k.Name) {
			t.Errorf("%s belongs to no set", k.Name)
		}
		sets = append(sets, k.Sum)
	}
	for _, size := range [][2]int{{28, 28}, {32, 32}, {64, 64}, {128, 128}, {64, 96}} {
		x := noise(1, 2, 3, size[0], size[1])
		for _, set := range sets {
			sum := x.Like()
			var bands []Band
			for _, name := range set {
				b := band(t, name)
				if err := Fits(b, 3, size[0], size[1]); err != nil {
					t.Fatal(err)
				}
				before := x.Clone()
				for i, v := range b.Filter(x).Data {
					sum.Data[i] += v
				}
				if !slices.Equal(before.Data, x.Data) {
					t.Errorf("%s changes what it is given", name)
				}
				bands = append(bands, b)
			}
			golden.Close(t, sum.Data, x.Data, 2e-6, fmt.Sprint(set, size))
			if err := Complete(3, size[0], size[1], bands...); err != nil {
				t.Error(err)
			}
			if err := Complete(3, size[0], size[1], bands[1:]...); err == nil {
				t.Errorf("%s passes for the whole picture at %d", set[1:], size)
			}
		}
	}
	err := Complete(1, 28, 28, band(t, "grayscale"), band(t, "color"))
	if err == nil || !strings.Contains(err.Error(), "3 channels") {
		t.Errorf("colors of a gray picture: %v", err)
	}
	err = Complete(1, 4, 4, band(t, "low_pass:2,33,0"))
	if err == nil || !strings.Contains(err.Error(), "33 pixels wide") {
		t.Errorf("a kernel beyond the picture: %v", err)
	}
}

// The names are kernel33.sigma2 or alike; the file's only other tensor is what is blurred.
func TestGoldenGaussianBlur(t *testing.T) {
	f := golden.Open(t, "gaussian_blur.safetensors")
	names := f.Names()
	measures := regexp.MustCompile(`(?:kernel|k)([0-9]+)\D+?([0-9.]+)$`)
	var input string
	for _, name := range names {
		if !measures.MatchString(name) {
			input = name
		}
	}
	values, shape := golden.Float32(t, f, input)
	x := diffusion.Images{N: shape[0], C: shape[1], H: shape[2], W: shape[3], Data: values}
	tested := 0
	for _, name := range names {
		m := measures.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		want, _ := golden.Float32(t, f, name)
		got := band(t, fmt.Sprintf("low_pass:%s,%s,0", m[2], m[1])).Filter(x)
		golden.Close(t, got.Data, want, 1e-5, name)
		tested++
	}
	if tested == 0 {
		t.Errorf("found no blurred images among %q", names)
	}
}

func TestMotionBlurIsAlongTheDiagonal(t *testing.T) {
	x := diffusion.NewImages(1, 1, 64, 64)
	x.Data[30*64+20] = 7
	got := band(t, "motion_blur").Filter(x)
	for i, v := range got.Data {
		want := float32(0)
		if y, c := i/64, i%64; y-c == 10 && y >= 27 && y <= 33 {
			want = 1
		}
		if v != want {
			t.Fatalf("row %d, column %d: got %g, want %g", i/64, i%64, v, want)
		}
	}
}

// Blurs grow with the picture: of a smooth picture they see the same at 64 and at 256.
func TestBandsKnowNoSize(t *testing.T) {
	smooth := func(n int) diffusion.Images {
		m := diffusion.NewImages(1, 3, n, n)
		for i := range m.Data {
			x, y := (float64(i%n)+0.5)/float64(n), (float64(i/n%n)+0.5)/float64(n)
			m.Data[i] = float32(math.Cos(2*math.Pi*3*x) * math.Cos(2*math.Pi*5*y))
		}
		return m
	}
	for _, k := range Bands() {
		b := band(t, k.Name)
		small, large := b.Filter(smooth(64)), b.Filter(smooth(256))
		worst := 0.0
		for i, v := range small.Data {
			plane, y, x := i/4096, i/64%64, i%64
			if min(x, y) < 6 || max(x, y) >= 58 { // reflected about centers of pixels, which lie elsewhere
				continue
			}
			var sum float32 // of the four in the middle
			for _, at := range []int{0, 1, 256, 257} {
				sum += large.Data[plane*65536+(4*y+1)*256+4*x+1+at]
			}
			worst = max(worst, math.Abs(float64(v-sum/4)))
		}
		if worst > 0.03 {
			t.Errorf("%s: at 256 it differs from that at 64 by %.3f", k.Name, worst)
		}
	}
}

func BenchmarkLowPass256(b *testing.B) {
	f, err := ParseBand("low_pass")
	if err != nil {
		b.Fatal(err)
	}
	x := noise(1, 1, 3, 256, 256)
	for b.Loop() {
		f.Filter(x)
	}
}

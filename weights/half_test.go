package weights

import (
	"math"
	"strings"
	"testing"
)

// Every half-precision number becomes a float32 and comes back, and what lies between two of them goes to the nearer
// one.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		x := half(uint16(h))
		got := toHalf(x)
		if nan := h&0x7fff > 0x7c00; nan && got&0x7fff <= 0x7c00 || !nan && got != uint16(h) {
			t.Fatalf("%#04x is %g, which comes back as %#04x", h, x, got)
		}
		if h&0x7fff >= 0x7bff {
			continue
		}
		next := half(uint16(h + 1))
		middle := x + (next-x)/2
		even := uint16(h + h&1)
		if got := toHalf(middle); got != even {
			t.Fatalf("%g, between %#04x and %#04x, is %#04x; want %#04x", middle, h, h+1, got, even)
		}
		if below := math.Nextafter32(middle, x); toHalf(below) != uint16(h) {
			t.Fatalf("%g is %#04x; want %#04x", below, toHalf(below), h)
		}
		if above := math.Nextafter32(middle, next); toHalf(above) != uint16(h+1) {
			t.Fatalf("%g is %#04x; want %#04x", above, toHalf(above), h+1)
		}
	}
}

func TestAs(t *testing.T) {
	v := []float32{0, 1, -1.5, 3.14159, 1e-7, float32(math.Inf(-1)), float32(math.NaN())}
	from := FromFloat32([]int{7}, v)
	for d, tolerance := range map[DType]float64{F32: 0, F16: 1. / 2048, BF16: 1. / 256} {
		narrow, err := from.As(d)
		if err != nil {
			t.Fatal(err)
		}
		if len(narrow.Data) != 7*d.Size() || narrow.DType != d {
			t.Fatalf("%d bytes of %s", len(narrow.Data), narrow.DType)
		}
		back, err := narrow.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range v[:6] {
			if difference := math.Abs(float64(back[i] - x)); back[i] != x &&
				!(difference <= math.Max(tolerance*math.Abs(float64(x)), 1./(1<<25))) {
				t.Errorf("%s: %g became %g", d, x, back[i])
			}
		}
		if back[6] == back[6] {
			t.Errorf("%s: NaN became %g", d, back[6])
		}
	}
	if _, err := FromFloat32([]int{1}, []float32{7e4}).As(F16); err == nil || !strings.Contains(err.Error(), "65504") {
		t.Errorf("70000 as F16: %v", err)
	}
	if _, err := from.As(I32); err == nil {
		t.Error("floats became I32")
	}
}

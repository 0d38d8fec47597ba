package diffusion

import (
	"math"
	"testing"
)

// The polynomials hold over their whole range.
func TestLogarithmAndSine(t *testing.T) {
	for i := range 1 << 16 {
		u := float32(i*256+1) * 0x1p-24
		if got, want := logUnit(u), math.Log(float64(u)); !(math.Abs(got-want) <= 1e-10) {
			t.Fatalf("logUnit(%g) = %g, expected %g", u, got, want)
		}
		x := 2 * math.Pi * u
		sin, cos := sincos(x)
		if s, c := math.Sincos(float64(x)); !(math.Abs(sin-s) <= 1e-9) || !(math.Abs(cos-c) <= 1e-9) {
			t.Fatalf("sincos(%g) = %g, %g; expected %g, %g", x, sin, cos, s, c)
		}
	}
	if got := logUnit(1); got != 0 {
		t.Errorf("logUnit(1) = %g", got)
	}
}

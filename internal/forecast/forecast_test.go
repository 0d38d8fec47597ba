package forecast

import (
	"strings"
	"testing"

	"github.com/unnoise/unnoise/internal/engine"
)

// What is forecast is in the order of what is computed.
func TestMeasure(t *testing.T) {
	b, _, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	dtype, err := engine.DType("auto", "")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Measure(t.Context(), b, dtype)
	if err != nil {
		t.Fatal(err)
	}
	if !(f.Digit > 0 && f.Digit < f.Lesson && f.Lesson < f.Training && f.Digit < f.DeepFloyd && f.DeepFloyd < f.Training) {
		t.Errorf("%+v", f)
	}
	if text := f.Text(1 << 30); !strings.Contains(text, "1.1 are free") {
		t.Errorf("with a gigabyte: %s", text)
	}
}

package text2image

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/training"
)

// TestTextStage makes a short run, which learns what color each caption is, and begins a first stage with it.
func TestTextStage(t *testing.T) {
	n, b := NewTextStage(tiny(t)), enginetest.Backend(t)
	c := Recipe()
	c.Steps, c.KeepEvery, c.Batch, c.LearningRate, c.Warmup, c.DType, c.Dropout = 60, 60, 8, 3e-3, 5, "f32", 0
	run, err := TextRun(n, c, Set{Name: "flat", Train: flat{}, Held: flat{}})
	if err != nil {
		t.Fatal(err)
	}
	dir, kept := filepath.Join(t.TempDir(), "run"), ""
	options := run.Options(b, dtypes.Float32, true)
	measure := options.Validate
	options.Validate = func(ctx context.Context, k training.Kept) (map[string]float64, error) {
		kept = k.ModelDir
		scores, err := measure(ctx, k)
		if !(scores["error"] < 0.1) { // a network that has learned nothing is off by about 1
			t.Errorf("the error is %v, want less than 0.1: two flat colors are soon learned", scores)
		}
		return scores, err
	}
	if _, err := training.Train(t.Context(), dir, c, run.Task, options); err != nil {
		t.Fatal(err)
	}
	again, err := training.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	if old, err := OldRun(again, Set{Name: "flat", Train: flat{}}); err != nil || old.About != run.About {
		t.Errorf("the run goes on as %q, %v; want %q", old.About, err, run.About)
	}

	first := tiny(t)
	values, err := first.withText(nil, kept, 1)
	if err != nil {
		t.Fatal(err)
	}
	fresh := first.Initial(1)
	for name, v := range values {
		old, err := fresh[name].Float32()
		if err != nil {
			t.Fatal(err)
		}
		now, err := v.Float32()
		if err != nil {
			t.Fatal(err)
		}
		largest := 0.0
		for i, x := range now {
			largest = max(largest, math.Abs(float64(x-old[i])))
		}
		if learned := strings.HasPrefix(name, textPrefix); learned != (largest > 0) {
			t.Errorf("%s differs from its initial values by %g", name, largest)
		}
	}
	first.Vocabulary = append([]byte{}, first.Vocabulary[:len(first.Vocabulary)-1]...)
	if _, err := first.withText(nil, kept, 1); err == nil || !strings.Contains(err.Error(), "vocabulary") {
		t.Errorf("another vocabulary: %v", err)
	}
}

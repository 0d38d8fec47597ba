// Package golden reads the reference vectors that tests compare with.
package golden

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/unnoise/unnoise/weights"
)

// Dir returns the folder of the reference vectors: UNNOISE_GOLDEN where it is set, else testdata/golden of the
// repository.
func Dir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("UNNOISE_GOLDEN")
	if dir == "" {
		dir = filepath.Join(root(t), "testdata", "golden")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("no reference vectors: %v (set UNNOISE_GOLDEN to their folder)", err)
	}
	return dir
}

// root returns the repository's folder, the one with go.mod. Tests run in their package's folder.
func root(t testing.TB) string {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		break
	}
	t.Fatal("no reference vectors: no folder above this test's has a go.mod (set UNNOISE_GOLDEN to their folder)")
	return ""
}

// Open opens a safetensors file of the folder; it is closed with the test.
func Open(t testing.TB, name string) *weights.File {
	t.Helper()
	f, err := weights.Open(filepath.Join(Dir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Float32 returns a tensor's values and shape.
func Float32(t testing.TB, f *weights.File, name string) (values []float32, shape []int) {
	t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	if values, err = x.Float32(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return values, x.Shape
}

// Spoil makes the first number of a tensor in a safetensors file NaN.
func Spoil(t testing.TB, path, tensor string) {
	t.Helper()
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]weights.Tensor{}
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		x.Data = bytes.Clone(x.Data) // the file is replaced
		all[name] = x
	}
	values, shape := Float32(t, f, tensor)
	values[0] = float32(math.NaN())
	all[tensor] = weights.FromFloat32(shape, values)
	if err := errors.Join(f.Close(), weights.Write(path, all, nil)); err != nil {
		t.Fatal(err)
	}
}

// Close fails the test unless every value is within an absolute tolerance of the one wanted.
func Close(t testing.TB, got, want []float32, tolerance float64, what string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: got %d values, want %d", what, len(got), len(want))
		return
	}
	worst, at := -1.0, 0
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if d != d {
			t.Errorf("%s: value %d: got %g, want %g", what, i, got[i], want[i])
			return
		}
		if d > worst {
			worst, at = d, i
		}
	}
	if worst > tolerance {
		t.Errorf("%s: value %d differs most: got %g, want %g; off by %.2g, allowed %.2g", what, at, got[at], want[at],
			worst, tolerance)
	}
}

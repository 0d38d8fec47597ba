package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/weights"
)

// Classes that no image has are neither drawn nor measured.
func TestClassesWithHoles(t *testing.T) {
	data := fewDigits(t)
	for _, name := range []string{"train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"} {
		path := filepath.Join(data, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b[8:] {
			b[8+i] = 3 + 5*(b[8+i]%2)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "run")
	said := succeed(t, "train", "mnist", "--data", data, "--limit", "128", "--dim", "4", "--batch", "64", "--epochs",
		"1", "--timesteps", "5", "--dtype", "f32", "--out", dir)
	if !strings.Contains(said.stdout, "128 images of 2 classes (3,8)") ||
		!strings.Contains(said.stderr, "not every class has images, only 2 (3,8)") {
		t.Errorf("training says %q and %q", said.stdout, said.stderr)
	}
	raw := filepath.Join(dir, "drawn.safetensors")
	succeed(t, "sample", "--model", dir, "--count", "4", "--steps", "2", "--out", raw)
	f, err := weights.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	drawn, err := f.Tensor("labels")
	if err != nil {
		t.Fatal(err)
	}
	if labels, err := drawn.Int32(); err != nil || !slices.Equal(labels, []int32{3, 8, 3, 8}) {
		t.Errorf("drawn are %v, %v", labels, err)
	}
	if r := unnoise(t, "sample", "--model", dir, "--class", "0"); r.code != exitUsage ||
		!strings.Contains(r.stderr, "--class: expected 3 or 8, which ") {
		t.Errorf("a class without images: exit code %d, %q", r.code, r.stderr)
	}
	row := mustEval(t, t.TempDir(), "--model", dir, "--sampler", "ddim:2", "--guidance", "1", "--count", "8").Rows[0]
	if len(row.Classes) != 2 || row.Classes[0].Class != 3 || row.Classes[1].Class != 8 || row.Classes[0].Asked != 4 {
		t.Errorf("measured are %+v", row.Classes)
	}
}

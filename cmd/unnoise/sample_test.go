package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
)

// TestBackends draws the same with GoMLX's own backend, and has plugins refused that are not there.
func TestBackends(t *testing.T) {
	dir := t.TempDir()
	draw := func(backend string) (result, string) {
		out := filepath.Join(dir, backend[:2]+".safetensors")
		return unnoise(t, "sample", "--model", "mnist-time", "--count", "2", "--steps", "2", "--seed", "5", "--dtype",
			"f32", "--backend", backend, "--out", out), out
	}
	var images []diffusion.Images
	for _, backend := range []string{"onednn", "go"} {
		r, out := draw(backend)
		if r.code != 0 {
			t.Fatalf("--backend %s: %s", backend, r.stderr)
		}
		x, _, err := evaluation.ReadSamples(out, 10)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, x)
	}
	for i, v := range images[0].Data {
		if d := math.Abs(float64(v - images[1].Data[i])); !(d < 1e-3) {
			t.Fatalf("pixel %d is %g with onednn and %g with go", i, v, images[1].Data[i])
		}
	}
	for _, args := range [][]string{{"train", "mnist", "--out", filepath.Join(dir, "run")},
		{"demo", "--fresh", "--out", dir}} {
		if r := unnoise(t, append(args, "--backend", "go")...); r.code != exitUsage ||
			!strings.Contains(r.stderr, "--backend go does not train") {
			t.Errorf("%v: exit code %d, %q, %q", args, r.code, r.stdout, r.stderr)
		}
	}
	for backend, want := range map[string]string{"xla": `XLA has no plugin "" here`,
		"xla:none": `XLA has no plugin "none" here`, "xla:/none/such.so": "/none/such.so"} {
		if r, _ := draw(backend); r.code != exitFailure || !strings.Contains(r.stderr, want) {
			t.Errorf("--backend %s: exit code %d, %q; want %q", backend, r.code, r.stderr, want)
		}
	}
}

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/deepfloyd/synthetic"
	"github.com/unnoise/unnoise/internal/bench"
)

// Small networks stand where the large ones would be written.
func TestBenchModel(t *testing.T) {
	dir := t.TempDir()
	for size, model := range map[string]string{"M": "if_tiny", "sr-M": "if_sr_tiny", "t5-xxl": "if_tiny"} {
		n, err := synthetic.Find(size)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(dir, n.Folder)
		copyModel(t, model, folder)
		var r bench.Report
		decode(t, succeed(t, "bench", "model", "--size", size, "--dir", dir, "--batch", "1", "--dtype", "f32",
			"--threads", "1", "--json").stdout, &r)
		if r.What != "model" || r.Size != size || r.Folder != folder || r.Batch != 1 || r.DType != "f32" ||
			r.Threads != 1 {
			t.Errorf("bench printed %+v", r)
		}
		if r.BestSeconds <= 0 || r.MedianSeconds < r.BestSeconds || r.LoadSeconds <= 0 || r.FirstSeconds <= 0 ||
			r.PeakBytes <= 0 {
			t.Errorf("bench printed %+v", r)
		}
		if out := succeed(t, "bench", "model", "--size", size, "--dir", dir, "--runs",
			"1").stdout; !strings.HasPrefix(out, size+", batch 2, ") {
			t.Errorf("bench printed %q", out)
		}
	}
	if r := unnoise(t, "bench", "model", "--size", "XXL"); r.code != exitUsage ||
		!strings.Contains(r.stderr, "--size: expected M, sr-M, L, XL or t5-xxl") {
		t.Errorf("--size XXL: exit code %d, %q", r.code, r.stderr)
	}
	help := succeed(t, "bench", "model", "--help").stdout
	for _, size := range synthetic.Sizes() {
		if !strings.Contains(help, size) {
			t.Errorf("--help does not say %q", size)
		}
	}
}

package otherfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/deepfloyd/tokenizer"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/weights"
	"github.com/unnoise/unnoise/weights/pth"
)

// TestReaders gives every kind of file that the program reads the pointer that a clone without Git LFS has in its
// place.
func TestReaders(t *testing.T) {
	pointer, err := os.ReadFile("testdata/pointer")
	if err != nil {
		t.Fatal(err)
	}
	first := func(_ any, err error) error { return err }
	for name, read := range map[string]func(dir, path string) error{
		"model.safetensors":            func(_, path string) error { return first(weights.Open(path)) },
		"model.safetensors.index.json": func(dir, _ string) error { return first(weights.OpenFolder(dir, "")) },
		"prompts.pth":                  func(_, path string) error { return first(pth.Read(path)) },
		"prompts.pt":                   func(_, path string) error { return first(deepfloyd.ReadPrompts(path)) },
		"prompts.safetensors":          func(_, path string) error { return first(deepfloyd.ReadPrompts(path)) },
		"model_index.json":             func(dir, _ string) error { return first(deepfloyd.ReadIndex(dir)) },
		"scheduler_config.json":        func(_, path string) error { return first(deepfloyd.ReadScheduler(path)) },
		"spiece.model":                 func(dir, _ string) error { return first(tokenizer.Open(dir)) },
		"tokenizer.json":               func(dir, _ string) error { return first(tokenizer.Open(dir)) },
		"picture.png":                  func(_, path string) error { return first(figure.ReadParametersFile(path)) },
		"report.json":                  func(_, path string) error { return first(evaluation.ReadReport(path)) },
		"config.json":                  func(dir, _ string) error { return first(training.ReadConfig(dir)) },
		"training.json":                func(dir, _ string) error { return first(training.ReadSummary(dir)) },
		"metrics.jsonl":                func(dir, _ string) error { return first(training.ReadMetrics(dir)) },
		"network/config.json": func(dir, _ string) error {
			f, err := weights.Parse(filepath.Join(dir, mnistunet.WeightsFile),
				[]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
			if err != nil {
				t.Fatal(err)
			}
			return first(mnistunet.Parse(nil, pointer, dtypes.Float32, f))
		},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, pointer, 0o644); err != nil {
			t.Fatal(err)
		}
		err := read(filepath.Dir(path), path)
		if err == nil || !strings.Contains(err.Error(), "Git LFS pointer") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want the file and what it is", name, err)
		}
	}
}

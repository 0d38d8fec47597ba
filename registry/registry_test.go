package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/internal/modeltest"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training/mnist"
)

// digits writes a small network's folder.
func digits(t *testing.T, dir string) {
	t.Helper()
	m := modeltest.Untrained(t, mnistunet.Default(mnistunet.Class))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
}

// pipeline copies a small pipeline.
func pipeline(t *testing.T, from, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(from, "if_tiny"))); err != nil {
		t.Fatal(err)
	}
}

// Every kind of name is found where it lies, and what is no model is told apart.
func TestFind(t *testing.T) {
	dir, cache, from := t.TempDir(), t.TempDir(), golden.Dir(t)
	t.Setenv("HF_HUB_CACHE", cache)
	t.Chdir(dir)
	digits(t, "model")
	digits(t, "run/checkpoints/epoch-02")
	digits(t, "run/checkpoints/epoch-10")
	digits(t, "mnist-class")
	pipeline(t, from, "pipeline")
	pipeline(t, from, "text/checkpoints/step-000300")
	commit := strings.Repeat("a", 40)
	snapshot := filepath.Join(cache, "models--owner--tiny", "snapshots", commit)
	pipeline(t, from, snapshot)
	refs := filepath.Join(cache, "models--owner--tiny", "refs")
	if err := errors.Join(os.MkdirAll(refs, 0o755), os.WriteFile(filepath.Join(refs, "main"), []byte(commit), 0o644),
		os.Mkdir("empty", 0o755), os.WriteFile("file", []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Place{
		"mnist-class":   {Kind: Bundled},
		"./mnist-class": {Kind: Folder, Dir: "./mnist-class"},
		"model":         {Kind: Folder, Dir: "model"},
		"run":           {Kind: Folder, Dir: filepath.Join("run", "checkpoints", "epoch-10")},
		"pipeline":      {Kind: Pipeline, Dir: "pipeline"},
		"text":          {Kind: Pipeline, Dir: filepath.Join("text", "checkpoints", "step-000300")},
		"owner/tiny":    {Kind: Pipeline, Dir: snapshot},
		snapshot:        {Kind: Pipeline, Dir: snapshot},
	} {
		got, err := Find(name)
		if err != nil || got.Kind != want.Kind || got.Dir != want.Dir || got.Name != name ||
			got.InProgram() != (want.Kind == Bundled) {
			t.Errorf("%s: found %+v, %v; expected %+v", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"":            "expected a model, found nothing",
		"nothing":     "the models that come with the program are ",
		"owner/other": "unnoise model pull owner/other",
		"empty":       "neither a model folder",
		"file":        "is a file",
	} {
		if got, err := Find(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: found %+v, %v; expected %q", name, got, err, want)
		}
	}
}

// What is opened is what was found, and of the kind that was asked for.
func TestOpen(t *testing.T) {
	b := enginetest.Backend(t)
	dir := t.TempDir()
	folder, hub := filepath.Join(dir, "model"), filepath.Join(dir, "pipeline")
	digits(t, folder)
	pipeline(t, golden.Dir(t), hub)
	o := Options{Backend: b, DType: dtypes.Float32}
	for name, family := range map[string]string{"mnist-time": "mnist-unet", folder: "mnist-unet", hub: "deepfloyd-if"} {
		m, err := Open(name, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s := m.Spec(); s.ID != name || s.Family != family || s.Texts != (name == hub) {
			t.Errorf("%s: found the model %s of %s", name, s.ID, s.Family)
		}
		m.Close()
	}
	if _, err := OpenDigits(hub, o); err == nil || !strings.Contains(err.Error(), "expected a network for digits") {
		t.Errorf("a pipeline as a network for digits: %v", err)
	}
	if _, err := FindPipeline("mnist-class"); err == nil || !strings.Contains(err.Error(), "reads no texts") {
		t.Errorf("a network for digits as a pipeline: %v", err)
	}
	c, start, err := Start(b, folder)
	if err != nil || c.Dim != 4 || start.Name != folder || len(start.Values) != len(c.Params()) {
		t.Errorf("what a run begins with: found dim %d, %q with %d tensors, %v", c.Dim, start.Name,
			len(start.Values), err)
	}
}

// Models in the program tell how they were trained.
func TestSummaries(t *testing.T) {
	lines, err := List()
	if err != nil || len(lines) != len(Names()) {
		t.Fatalf("found %d lines of %d models, %v", len(lines), len(Names()), err)
	}
	for i, name := range Names() {
		if !strings.HasPrefix(lines[i], name+" ") {
			t.Errorf("line %d is %q, expected %s", i, lines[i], name)
		}
	}
	if !slices.Contains(Names(), Default()) {
		t.Errorf("the default is %s, which is not among %q", Default(), Names())
	}
	place, err := Find("mnist-class")
	if err != nil {
		t.Fatal(err)
	}
	s, err := place.Summary()
	if err != nil {
		t.Fatal(err)
	}
	text := Trained{s}.String()
	for _, want := range []string{"condition class, dim 64", "10 (0-9), hidden for 10 %", "epoch 20 of 20",
		"Adam, 0.001", "epoch 1 ", "epoch 20 "} {
		if !strings.Contains(text, want) {
			t.Errorf("expected %q in %s", want, text)
		}
	}
	if data, err := place.Data(); err != nil || data.Name != mnist.Embedded || data.Images != 60000 {
		t.Errorf("its images: found %+v, %v", data, err)
	}
	dir := t.TempDir()
	digits(t, dir)
	if place, err = Find(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := place.Data(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the images of a folder that does not tell: %v", err)
	}
	if _, err := place.Summary(); err == nil || !strings.Contains(err.Error(), "training.json") {
		t.Errorf("the summary of a folder that has none: %v", err)
	}
}

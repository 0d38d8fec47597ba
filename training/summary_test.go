package training

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
)

func TestExport(t *testing.T) {
	o := setUp(t)
	run, out := reference(t, o, tiny(mnistunet.Class)), filepath.Join(t.TempDir(), "model")
	if err := Export(run, 3, out, weights.F16); err != nil {
		t.Fatal(err)
	}

	m, err := mnistunet.Load(o.Backend, out, dtypes.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	narrow, err := m.Tensors()
	if err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(filepath.Join(EpochDir(run, 3), mnistunet.WeightsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(narrow) != len(f.Names()) {
		t.Errorf("%d tensors became %d", len(f.Names()), len(narrow))
	}
	for name, tensor := range narrow {
		was, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		want := was
		if len(was.Shape) > 1 {
			if want, err = was.As(weights.F16); err != nil {
				t.Fatal(err)
			}
		}
		a, _ := tensor.Float32()
		b, _ := want.Float32()
		for i := range b {
			if a[i] != b[i] {
				t.Fatalf("%s[%d] is %g, want %g", name, i, a[i], b[i])
			}
		}
	}

	path := filepath.Join(out, SummaryFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSummary(path, text)
	if err != nil {
		t.Fatal(err)
	}
	if s.Epoch != 3 || len(s.Epochs) != 3 || s.Epochs[2].MeanLoss == 0 || s.Config.Seed != 7 ||
		!strings.Contains(string(s.Config.Network), `"dim": 4`) || s.Config.Program.Go == "" {
		t.Errorf("the summary says %+v", s)
	}
	packed, err := os.Open(filepath.Join(out, metricsFile+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := os.ReadFile(MetricsPath(run)); string(got) != string(want) {
		t.Error("the packed metrics differ from the run's")
	}

	if err := Export(run, 5, out, weights.F16); err == nil || !strings.Contains(err.Error(), "tells of 4 epochs") {
		t.Errorf("exporting an epoch that was not: %v", err)
	}
	for _, dir := range []string{run, filepath.Join(run, "model"), EpochDir(run, 3)} {
		if err := Export(run, 3, dir, weights.F16); err == nil ||
			!strings.Contains(err.Error(), "a folder of its own") {
			t.Errorf("exporting to %s: %v", dir, err)
		}
	}
	if _, err := ReadConfig(run); err != nil {
		t.Errorf("the run that was exported to: %v", err)
	}
	if _, err := ParseSummary(path, []byte(`{"version": 2}`)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("another version: %v", err)
	}
}

// elsewhere is a set that has moved.
type elsewhere struct{ Dataset }

func (e elsewhere) Describe() Data {
	d := e.Dataset.Describe()
	d.Name = "elsewhere"
	return d
}

// Images that have moved are the same images; what remains of a folder when its run is removed is what is not the
// run's.
func TestMovedAndRemoved(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.Time)
	c.Epochs = 1
	dir := t.TempDir()
	if _, err := c.train(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	task := c.task()
	task.Data = elsewhere{task.Data}
	if _, err := Resume(t.Context(), dir, task, o); err != nil {
		t.Fatal(err)
	}
	if c, err := ReadConfig(dir); err != nil || c.Data.Name != "elsewhere" {
		t.Errorf("the run's images are now in %q, %v", c.Data.Name, err)
	}
	if err := Export(dir, 1, filepath.Join(dir, "..", filepath.Base(dir), "checkpoints", "epoch-01"),
		weights.F16); err == nil {
		t.Error("an export replaced an epoch")
	}
	other := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 || left[0].Name() != lockFile ||
		left[1].Name() != "notes.txt" {
		t.Errorf("a run removed leaves %v, %v", left, err)
	}
	if err := c.complete(c.task(), o); err != nil {
		t.Fatal(err)
	}
	if err := c.write(dir); err != nil { // all that a kill in time leaves
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil || IsRun(dir) {
		t.Errorf("a run that has its config.json only was not removed: %v", err)
	}
	model := filepath.Join(dir, mnistunet.ConfigFile)
	if err := os.WriteFile(model, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil || !exists(model) {
		t.Errorf("a model's folder was taken for a run's: %v", err)
	}
}

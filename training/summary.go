package training

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/otherfile"
	"github.com/unnoise/unnoise/weights"
)

// SummaryFile tells, in an exported model's folder, how the model was trained.
const SummaryFile = "training.json"

// Summary is how a model was trained: its run's recipe and what the metrics say of each epoch up to the model's.
type Summary struct {
	Version int      `json:"version"` // of this format: 1
	Config  Config   `json:"config"`
	Epoch   int      `json:"epoch"` // after which the model was kept; the step where the data have no end
	Epochs  []Metric `json:"epochs"`
	Resumed []Metric `json:"resumed,omitempty"` // where the run was stopped and gone on with, and by what
}

// Summarize sums up a run as far as a model that it has kept: after an epoch, counted from 1, or a step where its data
// have no end.
func Summarize(dir string, at int) (Summary, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return Summary{}, err
	}
	metrics, err := ReadMetrics(dir)
	if err != nil {
		return Summary{}, err
	}
	s, reached := Summary{Version: version, Config: c, Epoch: at}, false
	for _, m := range metrics {
		if reached {
			break
		}
		switch m.Event {
		case "resume":
			s.Resumed = append(s.Resumed, m)
		case "epoch", "interval":
			s.Epochs = append(s.Epochs, m)
			reached = m.Event == "epoch" && m.Epoch == at || m.Event == "interval" && m.Step == at
		}
	}
	if !reached {
		return Summary{}, fmt.Errorf("%s tells of %d epochs, expected at least %d", MetricsPath(dir), len(s.Epochs), at)
	}
	return s, nil
}

// DataOf returns which images a model was trained on. path is a run's folder, one of its epochs', or an exported
// model's; of others the error wraps fs.ErrNotExist.
func DataOf(path string) (Data, error) {
	if s, err := ReadSummary(path); !errors.Is(err, fs.ErrNotExist) {
		return s.Config.Data, err
	}
	full, err := filepath.Abs(path)
	if err == nil {
		full, err = filepath.EvalSymlinks(full)
	}
	if err != nil {
		return Data{}, fmt.Errorf("opening the model: %w", err)
	}
	run := path
	if above := filepath.Join(full, "..", ".."); keptName.MatchString(filepath.Base(full)) &&
		exists(filepath.Join(above, configFile)) {
		run = above
	} else if !exists(filepath.Join(path, checkpointsDir)) {
		return Data{}, fmt.Errorf("%s is not of a training run: %w", path, fs.ErrNotExist)
	}
	c, err := ReadConfig(run)
	return c.Data, err
}

// ReadSummary reads an exported model's SummaryFile. If the folder has none, the error wraps fs.ErrNotExist.
func ReadSummary(dir string) (Summary, error) {
	path := filepath.Join(dir, SummaryFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return Summary{}, fmt.Errorf("reading how the model was trained: %w", err)
	}
	return ParseSummary(path, b)
}

// ParseSummary reads a SummaryFile's contents; errors name path.
func ParseSummary(path string, b []byte) (Summary, error) {
	var s Summary
	if err := json.Unmarshal(b, &s); err != nil {
		return Summary{}, fmt.Errorf("%s does not tell of a training: %w", path, otherfile.Explain(b, err))
	}
	if s.Version != version {
		return Summary{}, fmt.Errorf("%s has version %d, expected %d", path, s.Version, version)
	}
	return s, nil
}

// Export writes a model that a run has kept, after an epoch (see [Summarize]), to the folder out, with how it was
// trained. Matrices and convolutions' weights are stored in dtype; what has one axis (biases, normalization) stays F32.
// Folders of runs are refused, and others with models that no export wrote.
func Export(dir string, at int, out string, dtype weights.DType) error {
	folder, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	for ; folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if exists(filepath.Join(folder, configFile)) && exists(filepath.Join(folder, checkpointsDir)) {
			return fmt.Errorf("expected a folder of its own for the model, found one of the training run %s: %s",
				folder, out)
		}
	}
	for _, name := range append([]string{configFile}, modelFiles...) {
		if exists(filepath.Join(out, name)) && !exists(filepath.Join(out, SummaryFile)) {
			return fmt.Errorf(
				"expected a folder of its own for the model, found one with a %s that no export wrote: %s", name, out)
		}
	}
	s, err := Summarize(dir, at)
	if err != nil {
		return err
	}
	model := s.Config.plan().modelOf(dir, at)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("making the model's folder: %w", err)
	}
	// first: with it, another export may follow one that broke off
	if err := atomicfile.WriteJSON(filepath.Join(out, SummaryFile), s); err != nil {
		return err
	}
	err = filepath.WalkDir(model, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(model, path)
		if err != nil {
			return err
		}
		to := filepath.Join(out, name)
		switch {
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case filepath.Ext(path) == ".safetensors":
			return exportWeights(path, to, dtype)
		}
		return copyFile(path, to, func(w io.Writer) io.WriteCloser { return nopCloser{w} })
	})
	if err != nil {
		return err
	}
	return copyFile(MetricsPath(dir), filepath.Join(out, metricsFile+".gz"), func(w io.Writer) io.WriteCloser {
		z, _ := gzip.NewWriterLevel(w, gzip.BestCompression) // fails for other levels only
		return z
	})
}

// exportWeights copies a file of weights, those of more than one axis in dtype.
func exportWeights(from, to string, dtype weights.DType) error {
	f, err := weights.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	tensors := map[string]weights.Tensor{}
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err == nil && len(t.Shape) > 1 {
			t, err = t.As(dtype)
		}
		if err != nil {
			return fmt.Errorf("%s: tensor %q: %w", f.Path(), name, err)
		}
		tensors[name] = t
	}
	return weights.Write(to, tensors, f.Metadata())
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// copyFile copies a file through what packs it.
func copyFile(from, to string, pack func(io.Writer) io.WriteCloser) error {
	return atomicfile.Write(to, func(w io.Writer) error {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		z := pack(w)
		if _, err := io.Copy(z, in); err != nil {
			return err
		}
		return z.Close()
	})
}

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
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
)

// SummaryFile tells, in an exported model's folder, how the model was trained.
const SummaryFile = "training.json"

// Summary is how a model was trained: its run's recipe and what the metrics say of each epoch up to the model's.
type Summary struct {
	Version int      `json:"version"` // of this format: 1
	Config  Config   `json:"config"`
	Epoch   int      `json:"epoch"` // after which the model was kept
	Epochs  []Metric `json:"epochs"`
	Resumed []Metric `json:"resumed,omitempty"` // where the run was stopped and gone on with, and by what
}

// Summarize sums up a run as far as an epoch, counted from 1.
func Summarize(dir string, epoch int) (Summary, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return Summary{}, err
	}
	metrics, err := ReadMetrics(dir)
	if err != nil {
		return Summary{}, err
	}
	s := Summary{Version: version, Config: c, Epoch: epoch}
	for _, m := range metrics {
		switch {
		case m.Event == "resume" && len(s.Epochs) < epoch:
			s.Resumed = append(s.Resumed, m)
		case m.Event == "epoch" && m.Epoch <= epoch:
			s.Epochs = append(s.Epochs, m)
		}
	}
	if len(s.Epochs) != epoch {
		return Summary{}, fmt.Errorf("%s tells of %d epochs, expected at least %d", MetricsPath(dir), len(s.Epochs), epoch)
	}
	return s, nil
}

// DataOf tells which images a model was trained on. path is a run's folder, one of its epochs', or an exported model's; of others the
// error wraps fs.ErrNotExist.
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
	if above := filepath.Join(full, "..", ".."); epochName.MatchString(filepath.Base(full)) && exists(filepath.Join(above, configFile)) {
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

// Export writes the model that a run kept after an epoch, counted from 1, to the folder out, with how it was trained: the files of a model
// of package pretrained. Matrices and convolutions' weights are stored in dtype; what has one axis (biases, normalisation) stays F32. Folders of
// runs are refused, and others with files of the same names that no export wrote.
func Export(dir string, epoch int, out string, dtype weights.DType) error {
	folder, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	for ; folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if exists(filepath.Join(folder, configFile)) && exists(filepath.Join(folder, checkpointsDir)) {
			return fmt.Errorf("expected a folder of its own for the model, found one of the training run %s: %s", folder, out)
		}
	}
	for _, name := range []string{mnistunet.ConfigFile, mnistunet.WeightsFile} {
		if exists(filepath.Join(out, name)) && !exists(filepath.Join(out, SummaryFile)) {
			return fmt.Errorf("expected a folder of its own for the model, found one with a %s that no export wrote: %s", name, out)
		}
	}
	s, err := Summarize(dir, epoch)
	if err != nil {
		return err
	}
	model := EpochDir(dir, epoch)
	f, err := weights.Open(filepath.Join(model, mnistunet.WeightsFile))
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
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("making the model's folder: %w", err)
	}
	if err := atomicfile.WriteJSON(filepath.Join(out, SummaryFile), s); err != nil { // first: with it, another export may follow one that broke off
		return err
	}
	if err := atomicfile.WriteJSON(filepath.Join(out, mnistunet.ConfigFile), s.Config.Network); err != nil {
		return err
	}
	if err := weights.Write(filepath.Join(out, mnistunet.WeightsFile), tensors, f.Metadata()); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(out, metricsFile+".gz"), func(w io.Writer) error {
		in, err := os.Open(MetricsPath(dir))
		if err != nil {
			return err
		}
		defer in.Close()
		z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := io.Copy(z, in); err != nil {
			return err
		}
		return z.Close()
	})
}

package training

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/unnoise/unnoise/internal/otherfile"
)

// Metric is a line of metrics.jsonl.
type Metric struct {
	// Event is run (the first line), step, epoch (or interval, where the data have no end), validation or resume.
	Event string `json:"event"`

	Version int    `json:"version,omitempty"` // run: of this format, 1
	Epochs  int    `json:"epochs,omitempty"`  // run, resume: epochs planned
	Steps   int    `json:"steps,omitempty"`   // run: steps of an epoch, or between kept models
	Total   int    `json:"total,omitempty"`   // run, resume: steps planned, where the data have no end
	Rate    string `json:"rate,omitempty"`    // run, resume: how the learning rate goes, in words

	Epoch        int     `json:"epoch,omitempty"`         // from 1
	Step         int     `json:"step,omitempty"`          // over the whole run, from 1; resume: made until then
	Loss         float32 `json:"loss,omitempty"`          // step: the batch's
	Norm         float32 `json:"gradient_norm,omitempty"` // step: before clipping
	LearningRate float64 `json:"learning_rate,omitempty"`

	MeanLoss        float64 `json:"mean_loss,omitempty"` // epoch, interval: mean of the steps' losses
	Seconds         float64 `json:"seconds,omitempty"`   // epoch, interval: time spent on its steps
	ImagesPerSecond float64 `json:"images_per_s,omitempty"`

	Scores map[string]float64 `json:"scores,omitempty"` // validation

	Commit  string `json:"commit,omitempty"`  // resume: of the program that goes on
	Threads int    `json:"threads,omitempty"` // resume: as in Config, as Backend is
	Backend string `json:"backend,omitempty"`
}

// ReadMetrics reads a run's metrics, of a run in progress too: an unfinished last line is left out.
func ReadMetrics(dir string) ([]Metric, error) {
	path := MetricsPath(dir)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the run's metrics: %w", err)
	}
	defer f.Close()
	return ParseMetrics(path, f)
}

// ParseMetrics reads metrics from a file that is called path.
func ParseMetrics(path string, from io.Reader) ([]Metric, error) {
	var all []Metric
	r := bufio.NewReader(from)
	for line := 1; ; line++ {
		b, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the run's metrics: %w", err)
		}
		var m Metric
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, fmt.Errorf("%s, line %d is not a metric: %w", path, line, otherfile.Explain(b, err))
		}
		if m.Event == "run" && m.Version != version {
			return nil, fmt.Errorf("%s has version %d, expected %d", path, m.Version, version)
		}
		all = append(all, m)
	}
}

// metrics appends to metrics.jsonl.
type metrics struct {
	f       *os.File
	w       *bufio.Writer
	size    int64 // with what is still in w
	flushed time.Time
}

// openMetrics opens the file and drops what stands behind size, which later steps had written before the run was
// stopped. A file that is shorter has lost something: it goes on after its last whole line.
func openMetrics(dir string, size int64, warn func(string)) (*metrics, error) {
	f, err := os.OpenFile(MetricsPath(dir), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the run's metrics: %w", err)
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil && end < size {
		warn(fmt.Sprintf("%s has %d bytes, %d when the checkpoint was written: the losses of some steps are gone",
			f.Name(), end, size))
		size, err = wholeLines(f)
	}
	if err == nil && end > size {
		if err = f.Truncate(size); err == nil {
			end, err = f.Seek(size, io.SeekStart)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the run's metrics: %w", err)
	}
	return &metrics{f: f, w: bufio.NewWriter(f), size: end}, nil
}

// wholeLines returns the length of a file without an unfinished last line.
func wholeLines(f *os.File) (int64, error) {
	b, err := os.ReadFile(f.Name())
	return int64(bytes.LastIndexByte(b, '\n') + 1), err
}

func (m *metrics) add(x Metric) error {
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("writing the run's metrics: %w", err)
	}
	m.size += int64(len(b)) + 1
	if _, err := m.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("writing the run's metrics: %w", err)
	}
	// Once a second is enough for those who watch; a checkpoint brings everything to the disk.
	if now := time.Now(); now.Sub(m.flushed) > time.Second {
		m.flushed = now
		if err := m.w.Flush(); err != nil {
			return fmt.Errorf("writing the run's metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) sync() error {
	err := m.w.Flush()
	if err == nil {
		err = m.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("writing the run's metrics: %w", err)
	}
	return nil
}

func (m *metrics) close() error { return errors.Join(m.w.Flush(), m.f.Close()) }

package training

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/mnistunet"
)

const (
	configFile     = "config.json"
	metricsFile    = "metrics.jsonl"
	checkpointsDir = "checkpoints"
	samplesDir     = "samples"
	latestFile     = "latest.safetensors"
	previousFile   = "previous.safetensors"
	nextFile       = "next.safetensors"
	lockFile       = ".lock"
)

// SamplePath is where a run keeps the picture of an epoch, counted from 1.
func SamplePath(dir string, epoch int) string {
	return filepath.Join(dir, samplesDir, fmt.Sprintf("epoch-%02d.png", epoch))
}

// EpochDir is where a run keeps the model after an epoch, counted from 1.
func EpochDir(dir string, epoch int) string {
	return filepath.Join(dir, checkpointsDir, fmt.Sprintf("epoch-%02d", epoch))
}

// MetricsPath is where a run keeps its metrics.
func MetricsPath(dir string) string { return filepath.Join(dir, metricsFile) }

// ModelDir returns the folder of a model: path itself, or that of the newest epoch if path is a run folder.
func ModelDir(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("opening the model: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is a file, expected the folder of a model or of a training run", path)
	}
	if exists(filepath.Join(path, mnistunet.WeightsFile)) {
		return path, nil
	}
	epochs, err := Epochs(path)
	if err != nil {
		return "", err
	}
	if len(epochs) > 0 {
		return EpochDir(path, epochs[len(epochs)-1]), nil
	}
	if exists(filepath.Join(path, configFile)) && exists(filepath.Join(path, checkpointsDir)) {
		return "", fmt.Errorf("the run %s has not finished an epoch yet: there is no model in it", path)
	}
	return "", fmt.Errorf("%s is neither a model folder (with %s) nor a training run (with %s)", path, mnistunet.WeightsFile, checkpointsDir)
}

var epochName = regexp.MustCompile(`^epoch-(\d{2,9})$`)

// Epochs lists the epochs, counted from 1, of which a run keeps the model, in rising order.
func Epochs(dir string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(dir, checkpointsDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the run's checkpoints: %w", err)
	}
	var epochs []int
	for _, e := range entries {
		if m := epochName.FindStringSubmatch(e.Name()); m != nil && exists(filepath.Join(dir, checkpointsDir, e.Name(), mnistunet.ConfigFile)) {
			n, _ := strconv.Atoi(m[1])
			epochs = append(epochs, n)
		}
	}
	slices.Sort(epochs)
	return epochs, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// IsRun tells whether a folder holds a run, whole or damaged.
func IsRun(dir string) bool {
	return slices.ContainsFunc([]string{configFile, metricsFile, checkpointsDir}, func(name string) bool { return exists(filepath.Join(dir, name)) })
}

// Remove removes the run in a folder, unless it is being trained, and leaves what else is there. A folder without a run stays as it is.
func Remove(dir string) error {
	if !exists(filepath.Join(dir, metricsFile)) && !exists(filepath.Join(dir, checkpointsDir)) {
		if _, err := ReadConfig(dir); err != nil { // another program's, or none
			return nil
		}
	}
	l, err := lock(dir)
	if err != nil {
		return err
	}
	defer l.release()
	return remove(dir)
}

func remove(dir string) error {
	for _, name := range []string{checkpointsDir, samplesDir, metricsFile, configFile} { // not the lock, which is held
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("removing the run: %w", err)
		}
	}
	return nil
}

// create makes the folder of a new run and locks it. A folder that holds a run or a model already is refused.
func create(dir string) (*runLock, error) {
	if exists(filepath.Join(dir, mnistunet.WeightsFile)) {
		return nil, fmt.Errorf("%s holds a model: choose another folder for the run", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the run's folder: %w", err)
	}
	l, err := lock(dir)
	if err == nil && IsRun(dir) {
		l.release()
		return nil, &ExistsError{Dir: dir}
	}
	return l, err
}

func makeSubfolders(dir string) error {
	for _, name := range []string{checkpointsDir, samplesDir} {
		sub := filepath.Join(dir, name)
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return fmt.Errorf("making the run's folders: %w", err)
		}
		if err := atomicfile.Clean(sub); err != nil {
			return err
		}
	}
	return nil
}

package training

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/otherfile"
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
	return filepath.Join(dir, samplesDir, epochName(epoch)+".png")
}

// EpochDir is where a run keeps the model after an epoch, counted from 1.
func EpochDir(dir string, epoch int) string {
	return filepath.Join(dir, checkpointsDir, epochName(epoch))
}

// MetricsPath is where a run keeps its metrics.
func MetricsPath(dir string) string { return filepath.Join(dir, metricsFile) }

// What marks the folder of a model: a network's weights, or a pipeline of several networks.
var modelFiles = []string{"model.safetensors", "model_index.json"}

func isModel(dir string) bool {
	return slices.ContainsFunc(modelFiles, func(name string) bool { return exists(filepath.Join(dir, name)) })
}

// ModelDir returns the folder of a model: path itself, or that of the newest one if path is a run folder.
func ModelDir(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("opening the model: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is a file, %w", path, otherfile.ExplainFile(path,
			errors.New("expected the folder of a model or of a training run")))
	}
	if isModel(path) {
		return path, nil
	}
	kept, err := keptModels(path)
	if err != nil {
		return "", err
	}
	if len(kept) > 0 {
		return kept[len(kept)-1].dir, nil
	}
	if exists(filepath.Join(path, configFile)) && exists(filepath.Join(path, checkpointsDir)) {
		return "", fmt.Errorf("the run %s has not finished an epoch yet: there is no model in it", path)
	}
	inside := ""
	if runs := runsIn(path); len(runs) > 0 {
		inside = "; it holds runs, of which one may be given: " + strings.Join(runs, ", ")
	}
	return "", fmt.Errorf("%s is neither a model folder (with %s) nor a training run (with %s)%s",
		path, strings.Join(modelFiles, " or "), checkpointsDir, inside)
}

// runsIn names a few runs in a folder.
func runsIn(dir string) (runs []string) {
	const most = 4
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		sub := filepath.Join(dir, e.Name())
		if len(runs) < most && exists(filepath.Join(sub, configFile)) && exists(filepath.Join(sub, checkpointsDir)) {
			runs = append(runs, sub)
		}
	}
	return runs
}

// keptModel is a model that a run keeps, and the epoch or the step after which it did.
type keptModel struct {
	dir string
	at  int
}

var keptName = regexp.MustCompile(`^(?:epoch-(\d{2,9})|step-(\d{6,9}))$`)

// keptModels lists a run's models, the newest last.
func keptModels(dir string) ([]keptModel, error) {
	entries, err := os.ReadDir(filepath.Join(dir, checkpointsDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the run's checkpoints: %w", err)
	}
	var all []keptModel
	for _, e := range entries {
		m, path := keptName.FindStringSubmatch(e.Name()), filepath.Join(dir, checkpointsDir, e.Name())
		if m != nil && (exists(filepath.Join(path, configFile)) || exists(filepath.Join(path, "model_index.json"))) {
			at, _ := strconv.Atoi(m[1] + m[2])
			all = append(all, keptModel{path, at})
		}
	}
	slices.SortFunc(all, func(a, b keptModel) int { return a.at - b.at })
	return all, nil
}

// Epochs lists the epochs, counted from 1, of which a run keeps the model, in rising order: the steps where its data
// have no end.
func Epochs(dir string) ([]int, error) {
	kept, err := keptModels(dir)
	var all []int
	for _, k := range kept {
		all = append(all, k.at)
	}
	return all, err
}

// LastEpoch is the newest epoch of which a run keeps the model: the step where its data have no end.
func LastEpoch(dir string) (int, error) {
	epochs, err := Epochs(dir)
	if err != nil {
		return 0, err
	}
	if len(epochs) == 0 {
		return 0, fmt.Errorf("%s is not a training run with a model in it", dir)
	}
	return epochs[len(epochs)-1], nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// IsRun reports whether a folder holds a run, whole or damaged.
func IsRun(dir string) bool {
	return slices.ContainsFunc([]string{configFile, metricsFile, checkpointsDir},
		func(name string) bool { return exists(filepath.Join(dir, name)) })
}

// Remove removes the run in a folder, unless it is being trained, and leaves what else is there. A folder without a run
// stays as it is.
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
	if isModel(dir) {
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

package training

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// counters are a checkpoint's numbers beside the tensors.
type counters struct {
	step    int     // steps made
	loss    float64 // sum over this epoch's steps
	seconds float64 // spent on this epoch's steps
	logged  int64   // bytes of metrics.jsonl up to here
}

// checksum covers names, shapes and values of all tensors.
func checksum(tensors map[string]weights.Tensor) string {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		fmt.Fprintf(h, "%s%v", name, tensors[name].Shape)
		h.Write(tensors[name].Data)
	}
	return fmt.Sprintf("crc32c:%08x", h.Sum32())
}

// counterSum covers a checkpoint's numbers beside the tensors.
func counterSum(metadata map[string]string) string {
	text := strings.Join([]string{metadata["step"], metadata["loss"], metadata["seconds"], metadata["metrics"]}, " ")
	return fmt.Sprintf("crc32c:%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

// saveCheckpoint writes checkpoints/latest.safetensors. The one before stays as previous.safetensors.
func saveCheckpoint(dir string, t *nn.Trainer, c counters) error {
	state, err := t.State()
	if err != nil {
		return fmt.Errorf("reading the network's state: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(state)) {
		v, err := state[name].Float32()
		if err != nil {
			return err
		}
		if !diffusion.Finite(v) {
			return &notFiniteError{name}
		}
	}
	path := func(name string) string { return filepath.Join(dir, checkpointsDir, name) }
	metadata := map[string]string{
		"version":  strconv.Itoa(version),
		"step":     strconv.Itoa(c.step),
		"loss":     strconv.FormatFloat(c.loss, 'g', -1, 64),
		"seconds":  strconv.FormatFloat(c.seconds, 'g', -1, 64),
		"metrics":  strconv.FormatInt(c.logged, 10),
		"checksum": checksum(state),
	}
	metadata["counters"] = counterSum(metadata)
	if err := weights.Write(path(nextFile), state, metadata); err != nil {
		return err
	}
	// A stop between the two leaves the one before, which is as good: it only costs time.
	if err := os.Rename(path(latestFile), path(previousFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keeping the checkpoint before: %w", err)
	}
	if err := os.Rename(path(nextFile), path(latestFile)); err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	return nil
}

// notFiniteError names a tensor that must not be kept.
type notFiniteError struct{ tensor string }

func (e *notFiniteError) Error() string { return e.tensor + " has values that are not finite" }

// damagedError is what is wrong with a checkpoint itself, so that the one before it may be better.
type damagedError struct{ error }

// loadCheckpoint restores the newest checkpoint that is sound; without any, the beginning of the run.
func loadCheckpoint(dir string, o Options, c Config, network Network) (*nn.Trainer, counters, error) {
	var problems []error
	for _, name := range []string{latestFile, previousFile} {
		path := filepath.Join(dir, checkpointsDir, name)
		t, n, err := openCheckpoint(path, o.Backend, c, network)
		var damaged damagedError
		switch {
		case err == nil:
			if len(problems) > 0 { // the next checkpoint must not put the damaged one in the sound one's place
				latest := filepath.Join(dir, checkpointsDir, latestFile)
				if err := os.Rename(latest, latest+".damaged"); err != nil {
					t.Close()
					return nil, counters{}, fmt.Errorf("putting the damaged checkpoint aside: %w", err)
				}
				o.Warn(fmt.Sprintf("%v; going on from the checkpoint before it, step %d", problems[0], n.step))
			}
			return t, n, nil
		case errors.As(err, &damaged):
			problems = append(problems, err)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, counters{}, err
		}
	}
	if len(problems) > 0 {
		return nil, counters{}, fmt.Errorf("the run in %s can't go on, its checkpoint is damaged: %w", dir,
			errors.Join(problems...))
	}
	kept, err := keptModels(dir)
	if err != nil {
		return nil, counters{}, err
	}
	if len(kept) > 0 {
		return nil, counters{}, fmt.Errorf(
			"the run in %s can't go on: its %s is gone. The models it has kept can be used as they are",
			dir, filepath.Join(checkpointsDir, latestFile))
	}
	t, err := newTrainer(o, c, network)
	return t, counters{}, err
}

// newTrainer begins with the values of o.From, or with PyTorch's default ones, drawn from the seed.
func newTrainer(o Options, c Config, network Network) (*nn.Trainer, error) {
	how, err := c.trainerOptions()
	if err != nil {
		return nil, err
	}
	if o.From.Values != nil {
		value, err := nn.FromTensors(o.From.Name, network.Params(), o.From.Values)
		if err != nil {
			return nil, err
		}
		return nn.NewTrainer(o.Backend, network, how, value)
	}
	g := diffusion.NewGenerator(c.Seed)
	return nn.NewTrainer(o.Backend, network, how, func(p nn.Param) ([]float32, error) { return p.Initial(g), nil })
}

func (c Config) trainerOptions() (nn.TrainerOptions, error) {
	dtype, err := engine.DType(c.DType, c.Backend)
	return nn.TrainerOptions{DType: dtype, Clip: c.Clip, Average: c.EMA > 0}, err
}

func openCheckpoint(path string, b compute.Backend, c Config, network Network) (*nn.Trainer, counters, error) {
	// not mapped: a sector that can't be read is an error then, which the checkpoint before helps with
	data, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, syscall.EIO) {
			err = damagedError{err}
		}
		return nil, counters{}, err
	}
	f, err := weights.Parse(path, data)
	if err != nil {
		return nil, counters{}, damagedError{err}
	}
	defer f.Close()
	n, err := readCounters(f)
	if err != nil {
		return nil, counters{}, damagedError{fmt.Errorf("%s: %w", path, err)}
	}
	how, err := c.trainerOptions()
	if err != nil {
		return nil, counters{}, err
	}
	t, err := nn.Restore(b, network, how, f, n.step)
	return t, n, err
}

func readCounters(f *weights.File) (n counters, err error) {
	m := f.Metadata()
	if m["version"] != strconv.Itoa(version) {
		return n, fmt.Errorf("the checkpoint's version is %q, expected %d", m["version"], version)
	}
	var problems [4]error
	n.step, problems[0] = strconv.Atoi(m["step"])
	n.loss, problems[1] = strconv.ParseFloat(m["loss"], 64)
	n.seconds, problems[2] = strconv.ParseFloat(m["seconds"], 64)
	n.logged, problems[3] = strconv.ParseInt(m["metrics"], 10, 64)
	if err := errors.Join(problems[:]...); err != nil || n.step < 0 || n.logged < 0 ||
		!(n.loss >= 0 && n.loss <= math.MaxFloat64 && n.seconds >= 0 && n.seconds <= math.MaxFloat64) {
		return n, fmt.Errorf("the checkpoint's counters are damaged: step %q, loss %q, seconds %q, metrics %q",
			m["step"], m["loss"], m["seconds"], m["metrics"])
	}
	if sum, ok := m["counters"]; ok && sum != counterSum(m) { // earlier versions wrote none
		return n, fmt.Errorf("the checkpoint's counters are damaged: their checksum is %s, expected %s", counterSum(m),
			sum)
	}
	all := map[string]weights.Tensor{}
	for _, name := range f.Names() {
		if all[name], err = f.Tensor(name); err != nil {
			return n, err
		}
	}
	if sum := checksum(all); sum != m["checksum"] {
		return n, fmt.Errorf("the values are damaged: their checksum is %s, expected %s", sum, m["checksum"])
	}
	return n, nil
}

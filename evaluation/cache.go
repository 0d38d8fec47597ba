package evaluation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// CachePath is where the classifier for a set is kept: in the user's cache folder, under its recipe, data and seed.
func CachePath(train, test *dataset.Labeled, seed uint64) (string, error) {
	sum := func(set *dataset.Labeled) string { return strings.TrimPrefix(set.Checksum(), "crc32c:") }
	name := fmt.Sprintf("recipe%d-%s-%s-seed%d.safetensors", RecipeVersion, sum(train), sum(test), seed)
	return cachedir.Path("classifier", name)
}

// Open loads the classifier that is kept at a path, or trains it and keeps it there: where there is none, or retrain is
// set. One that can't be kept is of use all the same: it is trained again the next time.
func Open(ctx context.Context, b compute.Backend, path string, train, test *dataset.Labeled, seed uint64, retrain bool,
	each func(TrainProgress)) (*Classifier, error) {
	if !retrain {
		c, err := Load(b, path)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the classifier can't be read (retrain makes it anew): %w", err)
		}
	}
	c, err := Train(ctx, b, train, test, seed, each)
	if err != nil {
		return nil, err
	}
	if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
		_ = c.Save(path)
	}
	return c, nil
}

// Save writes the classifier to a safetensors file, with PyTorch's layouts, and its accuracy and recipe as metadata.
func (c *Classifier) Save(path string) error {
	t, err := nn.Tensors(c.params, c.values, "")
	if err != nil {
		return err
	}
	return weights.Write(path, t, map[string]string{
		"model": "unnoise-classifier", "recipe": strconv.Itoa(RecipeVersion), "seed": strconv.FormatUint(c.Seed, 10),
		"classes": strconv.Itoa(c.Classes), "test_accuracy": strconv.FormatFloat(c.Accuracy, 'g', -1, 64),
	})
}

// Load reads what Save wrote.
func Load(b compute.Backend, path string) (*Classifier, error) {
	f, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	damaged := func(what string) error {
		return fmt.Errorf("%s: its metadata has %s, so it is no classifier of recipe %d", path, what, RecipeVersion)
	}
	m := f.Metadata()
	if m["model"] != "unnoise-classifier" || m["recipe"] != strconv.Itoa(RecipeVersion) {
		return nil, damaged(fmt.Sprintf("model %q, recipe %q", m["model"], m["recipe"]))
	}
	seed, err1 := strconv.ParseUint(m["seed"], 10, 64)
	classes, err2 := strconv.ParseUint(m["classes"], 10, 16)
	accuracy, err3 := strconv.ParseFloat(m["test_accuracy"], 64)
	if err := errors.Join(err1, err2, err3); err != nil || classes == 0 || classes > 256 ||
		!(accuracy >= 0 && accuracy <= 1) {
		return nil, damaged(fmt.Sprintf("seed %q, classes %q, test_accuracy %q", m["seed"], m["classes"],
			m["test_accuracy"]))
	}
	c, err := newClassifier(b, int(classes), func(p nn.Param) ([]float32, error) { return p.Read(f, "") })
	if err != nil {
		return nil, err
	}
	c.Seed, c.Accuracy = seed, accuracy
	return c, nil
}

// Package pretrained holds models of our own training, embedded in the program. Each is a folder here, made by `unnoise
// model export`: a network for digits as mnistunet writes it, or a stage for pictures in the hub's layout; training.json
// with the recipe, seed, commit and the losses; and of digits metrics.jsonl.gz with every step's.
package pretrained

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/weights"
)

//go:embed mnist-*/config.json mnist-*/model.safetensors mnist-*/training.json mnist-*/metrics.jsonl.gz
//go:embed emoji/stage1 emoji/stage2
var files embed.FS

func init() { modelfile.Embed(files) }

// The cascade for pictures: a first stage, which draws from captions, and a second one, which makes its images larger.
const (
	Emoji      = "emoji"
	EmojiLarge = "emoji-128"
)

// stages are the cascade's folders.
var stages = map[string]string{Emoji: "emoji/stage1", EmojiLarge: "emoji/stage2"}

// Digits lists the models for digits.
func Digits() (names []string) {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the embedded root always opens
	}
	for _, e := range entries {
		if _, err := files.Open(path.Join(e.Name(), mnistunet.WeightsFile)); err == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

// Names lists the models.
func Names() []string {
	names := Digits()
	for _, name := range []string{Emoji, EmojiLarge} {
		if Has(name) {
			names = append(names, name)
		}
	}
	return names
}

// Has reports whether there is a model of this name.
func Has(name string) bool {
	if dir, ok := stages[name]; ok {
		_, err := files.Open(path.Join(dir, hubfile.Index))
		return err == nil
	}
	return slices.Contains(Digits(), name)
}

// Stage returns the folder of a stage for pictures, and how one samples with it where that is not said.
func Stage(name string) (dir string, usual deepfloyd.Usual, ok bool) {
	if !Has(name) || stages[name] == "" {
		return "", usual, false
	}
	usual = deepfloyd.Usual{Sampler: "dpm++", Steps: 20, Guidance: 3}
	if name == EmojiLarge {
		usual = deepfloyd.Usual{Sampler: "dpm++", Steps: 10, NoiseLevel: 100}
	}
	return modelfile.InProgram(stages[name]), usual, true
}

// Export writes the cascade's folders to DIR/stage1 and DIR/stage2, with their notices.
func Export(dir string) error {
	if !Has(Emoji) {
		return fmt.Errorf("this program was built without %s", Emoji)
	}
	from, err := fs.Sub(files, "emoji")
	if err != nil {
		return err
	}
	return fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return atomicfile.Write(to, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	})
}

// Load makes the model for digits of this name.
func Load(b compute.Backend, name string, dtype dtypes.DType) (*mnistunet.Model, error) {
	config, err := read(name, mnistunet.ConfigFile)
	if err != nil {
		return nil, err
	}
	f, err := Weights(name)
	if err != nil {
		return nil, err
	}
	return mnistunet.Parse(b, config, dtype, f)
}

// Weights returns the values of a model for digits, under PyTorch's names.
func Weights(name string) (*weights.File, error) {
	data, err := read(name, mnistunet.WeightsFile)
	if err != nil {
		return nil, err
	}
	return weights.Parse(path.Join(name, mnistunet.WeightsFile), data)
}

// Summary tells how the model was trained.
func Summary(name string) (training.Summary, error) {
	b, err := read(name, training.SummaryFile)
	if err != nil {
		return training.Summary{}, err
	}
	return training.ParseSummary(path.Join(name, training.SummaryFile), b)
}

// Metrics returns the loss of every step of the model's training.
func Metrics(name string) ([]training.Metric, error) {
	const file = "metrics.jsonl.gz"
	b, err := read(name, file)
	if err != nil {
		return nil, err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return training.ParseMetrics(path.Join(name, file), unzipped)
}

// Checksum returns the SHA-256 of the model's weights and configuration.
func Checksum(name string) (string, error) {
	h := sha256.New()
	for _, file := range []string{mnistunet.WeightsFile, mnistunet.ConfigFile} {
		b, err := read(name, file)
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func read(name, file string) ([]byte, error) {
	if !Has(name) {
		return nil, fmt.Errorf("there is no model %q in the program: it has %v", name, Names())
	}
	return files.ReadFile(path.Join(cmp.Or(stages[name], name), file))
}

package text2image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/weights"
)

// From reads a folder that [Network.Save] wrote, to train its network further: with its vocabulary, and its values by
// their names in [Network.Params].
func From(dir string) (*Network, map[string]weights.Tensor, error) {
	var n Network
	err := readFiles(dir, &n.Scheduler, map[string]*[]byte{
		filepath.Join("unet", hubfile.Network):         (*[]byte)(&n.UNetConfig),
		filepath.Join("text_encoder", hubfile.Network): (*[]byte)(&n.TextConfig),
		filepath.Join("tokenizer", "spiece.model"):     &n.Vocabulary,
	})
	if err != nil {
		return nil, nil, err
	}
	if _, err := n.parse(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	values, err := readParts(dir, map[string]string{unetPrefix: "unet", textPrefix: "text_encoder"})
	return &n, values, err
}

// SecondFrom reads a folder that [SecondStage.Save] wrote, to train its network further.
func SecondFrom(dir string) (*SecondStage, map[string]weights.Tensor, error) {
	var n SecondStage
	err := readFiles(dir, &n.Scheduler, map[string]*[]byte{
		filepath.Join("unet", hubfile.Network):                      (*[]byte)(&n.UNetConfig),
		filepath.Join("image_noising_scheduler", hubfile.Scheduler): (*[]byte)(&n.Noising),
	})
	if err != nil {
		return nil, nil, err
	}
	if _, err := n.parse(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	values, err := readParts(dir, map[string]string{"": "unet"})
	return &n, values, err
}

// readFiles reads a stage's scheduler, which must say that the stage has learned what [Objective] teaches, and its
// other files.
func readFiles(dir string, scheduler *json.RawMessage, files map[string]*[]byte) (err error) {
	files[filepath.Join("scheduler", hubfile.Scheduler)] = (*[]byte)(scheduler)
	for name, to := range files {
		if *to, err = modelfile.ReadFile(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("reading the model to begin with: %w", err)
		}
	}
	return learned(dir, *scheduler)
}

// learned checks that a model has learned what [Objective] teaches.
func learned(dir string, config []byte) error {
	var s struct {
		Prediction string `json:"prediction_type"`
		Schedule   string `json:"beta_schedule"`
		Timesteps  int    `json:"num_train_timesteps"`
	}
	if err := json.Unmarshal(config, &s); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, "scheduler", hubfile.Scheduler), err)
	}
	if s.Prediction != "v_prediction" || s.Schedule != "squaredcos_cap_v2" || s.Timesteps != Timesteps {
		return fmt.Errorf("%s: expected a model that has learned v_prediction on squaredcos_cap_v2 "+
			"with %d timesteps, found %s on %s with %d", dir, Timesteps, s.Prediction, s.Schedule, s.Timesteps)
	}
	return nil
}

// withText replaces the text encoder's values, or makes initial ones for a network that has none yet, by those of a
// folder that [TextStage.Save] wrote. Its vocabulary must be the network's.
func (n *Network) withText(values map[string]weights.Tensor, dir string, seed uint64) (map[string]weights.Tensor,
	error) {
	path := filepath.Join(dir, "tokenizer", "spiece.model")
	vocabulary, err := modelfile.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the text encoder to begin with: %w", err)
	}
	if !bytes.Equal(vocabulary, n.Vocabulary) {
		return nil, fmt.Errorf("%s: expected the vocabulary of the model and the pictures to train with, found another",
			path)
	}
	own, err := readParts(dir, map[string]string{textPrefix: "text_encoder"})
	if err != nil {
		return nil, err
	}
	if values == nil {
		values = n.Initial(seed)
	}
	maps.Copy(values, own)
	return values, nil
}

// readParts reads the values of folders in dir. What stands before their names is told for each.
func readParts(dir string, folders map[string]string) (map[string]weights.Tensor, error) {
	values := map[string]weights.Tensor{}
	for prefix, folder := range folders {
		f, err := weights.OpenFolder(filepath.Join(dir, folder), "")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for _, name := range f.Names() {
			t, err := f.Tensor(name)
			if err != nil {
				return nil, fmt.Errorf("%s: tensor %q: %w", f.Path(), name, err)
			}
			t.Data = slices.Clone(t.Data) // the file is closed before they are used
			values[prefix+name] = t
		}
	}
	return values, nil
}

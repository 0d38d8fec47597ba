package text2image

import (
	"encoding/json"
	"fmt"
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
	for name, to := range map[string]*[]byte{
		filepath.Join("unet", hubfile.Network):         (*[]byte)(&n.UNetConfig),
		filepath.Join("text_encoder", hubfile.Network): (*[]byte)(&n.TextConfig),
		filepath.Join("scheduler", hubfile.Scheduler):  (*[]byte)(&n.Scheduler),
		filepath.Join("tokenizer", "spiece.model"):     &n.Vocabulary,
	} {
		var err error
		if *to, err = modelfile.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, nil, fmt.Errorf("reading the model to begin with: %w", err)
		}
	}
	var scheduler struct {
		Prediction string `json:"prediction_type"`
		Schedule   string `json:"beta_schedule"`
		Timesteps  int    `json:"num_train_timesteps"`
	}
	if err := json.Unmarshal(n.Scheduler, &scheduler); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filepath.Join(dir, "scheduler", hubfile.Scheduler), err)
	}
	if s := scheduler; s.Prediction != "v_prediction" || s.Schedule != "squaredcos_cap_v2" || s.Timesteps != Timesteps {
		return nil, nil, fmt.Errorf("%s: expected a model that has learned v_prediction on squaredcos_cap_v2 "+
			"with %d timesteps, found %s on %s with %d",
			dir, Timesteps, s.Prediction, s.Schedule, s.Timesteps)
	}
	if _, err := n.parse(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	values := map[string]weights.Tensor{}
	for prefix, part := range map[string]string{unetPrefix: "unet", textPrefix: "text_encoder"} {
		f, err := weights.OpenFolder(filepath.Join(dir, part), "")
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		for _, name := range f.Names() {
			t, err := f.Tensor(name)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: tensor %q: %w", f.Path(), name, err)
			}
			t.Data = slices.Clone(t.Data) // the file is closed before they are used
			values[prefix+name] = t
		}
	}
	return &n, values, nil
}

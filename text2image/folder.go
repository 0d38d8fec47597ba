package text2image

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/tokenizer"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/weights"
)

var (
	//go:embed config/stage1_unet.json
	unetConfig []byte
	//go:embed config/text_encoder.json
	textConfig []byte
	//go:embed config/scheduler.json
	schedulerConfig []byte
)

// The parts of a stage's folder.
const (
	unetDir      = "unet"
	textDir      = "text_encoder"
	tokenizerDir = "tokenizer"
	schedulerDir = "scheduler"
)

// Folder is a stage's folder in the hub's layout, which may be without weights.
type Folder struct {
	Dir       string
	Network   Network
	Tokenizer *tokenizer.Tokenizer
}

// Create writes the folder of a first stage without weights, with a vocabulary of the captions' words, at most as many as given.
func Create(dir string, captions []string, words int) error {
	texts := make([]string, len(captions))
	for i, c := range captions {
		texts[i] = tokenizer.Preprocess(c)
	}
	vocabulary := tokenizer.Words(texts, words)
	known, err := tokenizer.Parse(vocabulary)
	if err != nil {
		return err
	}
	text := map[string]any{}
	if err := json.Unmarshal(textConfig, &text); err != nil {
		return err
	}
	text["vocab_size"] = known.Size()
	files := map[string]any{
		hubfile.Index: map[string]any{
			"_class_name": "IFPipeline", "unet": []string{"diffusers", "UNet2DConditionModel"}, "scheduler": []string{"diffusers", "DDPMScheduler"},
			"text_encoder": []string{"transformers", "T5EncoderModel"}, "tokenizer": []string{"transformers", "T5Tokenizer"},
			"feature_extractor": []any{nil, nil}, "safety_checker": []any{nil, nil}, "watermarker": []any{nil, nil}, "requires_safety_checker": false,
		},
		filepath.Join(unetDir, hubfile.Network):        json.RawMessage(unetConfig),
		filepath.Join(textDir, hubfile.Network):        text,
		filepath.Join(schedulerDir, hubfile.Scheduler): json.RawMessage(schedulerConfig),
		filepath.Join(tokenizerDir, "tokenizer_config.json"): map[string]any{
			"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 0, "model_max_length": Tokens,
		},
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return err
		}
		if err := atomicfile.WriteJSON(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	return atomicfile.Write(filepath.Join(dir, tokenizerDir, "spiece.model"), func(w io.Writer) error {
		_, err := w.Write(vocabulary)
		return err
	})
}

// Open reads a stage's folder; weights are not looked at.
func Open(dir string) (*Folder, error) {
	f := &Folder{Dir: dir}
	f.Network.Tokens = Tokens
	var err error
	if f.Network.UNet, err = unet.ReadConfig(filepath.Join(dir, unetDir, hubfile.Network)); err != nil {
		return nil, err
	}
	if f.Network.Text, err = t5.ReadConfig(filepath.Join(dir, textDir, hubfile.Network)); err != nil {
		return nil, err
	}
	if f.Tokenizer, err = tokenizer.Open(filepath.Join(dir, tokenizerDir)); err != nil {
		return nil, err
	}
	if n := f.Network.Text.VocabSize; f.Tokenizer.Size() > n {
		return nil, fmt.Errorf("%s: the tokenizer has %d pieces, and the text encoder's vocab_size is %d", dir, f.Tokenizer.Size(), n)
	}
	return f, nil
}

// Encode returns the ids and masks of captions, filled up or cut off to TrainTokens.
func (f *Folder) Encode(captions []string) (ids, mask [][]int32) {
	for _, c := range captions {
		i, m := f.Tokenizer.Encode(tokenizer.Preprocess(c), captionTokens)
		ids = append(ids, append(i, make([]int32, TrainTokens-captionTokens)...))
		mask = append(mask, append(m, make([]int32, TrainTokens-captionTokens)...))
	}
	return ids, mask
}

// SaveWeights writes the weights of both parts, the running means, into a stage's folder in a dtype.
func (t *Trainer) SaveWeights(dir string, dtype weights.DType) error {
	all, err := t.averages()
	if err != nil {
		return err
	}
	for part, file := range map[string]string{unetPrefix: filepath.Join(unetDir, "diffusion_pytorch_model.safetensors"), textPrefix: filepath.Join(textDir, "model.safetensors")} {
		own := map[string]weights.Tensor{}
		for name, tensor := range all {
			if name, ok := strings.CutPrefix(name, part); ok {
				if own[name], err = tensor.As(dtype); err != nil {
					return err
				}
			}
		}
		if err := weights.Write(filepath.Join(dir, file), own, map[string]string{"format": "pt"}); err != nil {
			return err
		}
	}
	return nil
}

// Save writes a stage's folder: a copy of f's with the trainer's running means as weights.
func (t *Trainer) Save(f *Folder, dir string, dtype weights.DType) error {
	for _, name := range []string{hubfile.Index, filepath.Join(unetDir, hubfile.Network), filepath.Join(textDir, hubfile.Network), filepath.Join(schedulerDir, hubfile.Scheduler),
		filepath.Join(tokenizerDir, "tokenizer_config.json"), filepath.Join(tokenizerDir, "spiece.model")} {
		data, err := os.ReadFile(filepath.Join(f.Dir, name))
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := atomicfile.Write(to, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
			return err
		}
	}
	return t.SaveWeights(dir, dtype)
}

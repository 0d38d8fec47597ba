package text2image

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/tokenizer"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// Network is a first stage: a text encoder and a UNet that are trained together. It has the content of the files of its
// folder in the hub's layout, but for the weights.
type Network struct {
	UNetConfig json.RawMessage `json:"unet"`         // its config.json
	TextConfig json.RawMessage `json:"text_encoder"` // its config.json
	Scheduler  json.RawMessage `json:"scheduler"`    // its scheduler_config.json
	Vocabulary []byte          `json:"spiece_model"` // the tokenizer's
	// Half is how many pictures come first in half the size: they take half the time, and teach words, colors and
	// shapes. The UNet's outermost level is left out for them.
	Half int `json:"half"`
	// Frozen reports whether the text encoder stays as it is, and the UNet learns alone.
	Frozen bool `json:"frozen_text,omitempty"`
	// Even reports whether it learns at all timesteps as often, in place of more often where there is much noise.
	Even bool `json:"even_timesteps,omitempty"`

	unet      unet.Config
	inner     *unet.Config // without its outermost level, for half the size; nil: there is none such
	text      t5.Config
	tokenizer *tokenizer.Tokenizer
	tokens    int // that the UNet gets: the last one of a shorter text is repeated; 0: as many as the text has
}

var (
	//go:embed config/stage1_unet.json
	unetConfig []byte
	//go:embed config/text_encoder.json
	textConfig []byte
	//go:embed config/scheduler.json
	schedulerConfig []byte
)

// New makes the network that is shipped, with a vocabulary of the captions' words, at most as many as given.
func New(captions []string, words int) (*Network, error) {
	texts := make([]string, len(captions))
	for i, c := range captions {
		texts[i] = tokenizer.Preprocess(c)
	}
	vocabulary := tokenizer.Words(texts, words)
	known, err := tokenizer.Parse(vocabulary)
	if err != nil {
		return nil, err
	}
	text := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(textConfig))
	d.UseNumber() // transformers refuses 1 where it expects 1.0
	if err := d.Decode(&text); err != nil {
		return nil, err
	}
	text["vocab_size"] = known.Size()
	textConfig, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	return (&Network{UNetConfig: unetConfig, TextConfig: textConfig, Scheduler: schedulerConfig,
		Vocabulary: vocabulary}).parse()
}

// decode reads a run's network. A field that it does not know is another network's.
func decode(config json.RawMessage, to any) error {
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// Read reads what a run's config.json says of its network.
func Read(config json.RawMessage) (*Network, error) {
	var n Network
	if err := decode(config, &n); err != nil {
		return nil, fmt.Errorf("expected a text-to-image network, found another: %w", err)
	}
	return n.parse()
}

func (n *Network) parse() (*Network, error) {
	var err error
	if n.unet, err = unet.ParseConfig("unet", n.UNetConfig); err != nil {
		return nil, err
	}
	if n.inner, err = innerConfig(n.UNetConfig); err != nil {
		return nil, err
	}
	if n.text, err = t5.ParseConfig("text_encoder", n.TextConfig); err != nil {
		return nil, err
	}
	if n.tokenizer, err = tokenizer.Parse(n.Vocabulary); err != nil {
		return nil, err
	}
	if size := n.tokenizer.Size(); size > n.text.VocabSize {
		return nil, fmt.Errorf("the tokenizer has %d pieces, and the text encoder's vocab_size is %d", size,
			n.text.VocabSize)
	}
	if n.text.DModel != n.unet.TextDim() {
		return nil, fmt.Errorf("the text encoder's d_model is %d, and the UNet takes texts of %d channels",
			n.text.DModel, n.unet.TextDim())
	}
	n.tokens = Tokens
	return n, nil
}

// What stands before the names of the parts' parameters.
const (
	unetPrefix = "unet."
	textPrefix = "text_encoder."
)

// Params lists the parameters of both parts.
func (n *Network) Params() []nn.Param {
	text := prefixed(textPrefix, n.text.Params())
	for i := range text {
		text[i].Stat = n.Frozen
	}
	return append(prefixed(unetPrefix, n.unetParams()), text...)
}

func prefixed(prefix string, params []nn.Param) []nn.Param {
	for i := range params {
		params[i].Name = prefix + params[i].Name
	}
	return params
}

// part returns the values of one part by their own names.
func part[T any](prefix string, all map[string]T) map[string]T {
	own := map[string]T{}
	for name, v := range all {
		if name, ok := strings.CutPrefix(name, prefix); ok {
			own[name] = v
		}
	}
	return own
}

// Side is the height and width of its images.
func (n *Network) Side() int { return n.unet.SampleSize.H }

// Parameters returns the number of trained values.
func (n *Network) Parameters() int { return n.unet.Parameters() + n.text.Parameters() }

// Loss is the squared error of what the network estimates, weighted for each image. What out_channels has beside the
// estimate, a variance, nothing teaches: the scheduler's is fixed.
func (n *Network) Loss(l *nn.Layers, in map[string]*Node) *Node {
	images, channels := in["target"].Shape().Dimensions[0], in["target"].Shape().Dimensions[1]
	text := n.text.Apply(part(textPrefix, l.Params), l.DType, in["ids"], in["mask"])
	network, params := n.unet, part(unetPrefix, l.Params)
	if in["x"].Shape().Dimensions[2] < n.Side() && n.inner != nil {
		network, params = *n.inner, innerOf(*n.inner, params)
	}
	y := network.Apply(params, l.DType, unet.Inputs{X: in["x"], T: Reshape(in["t"], images),
		Text: text, Tokens: n.tokens})
	if channels < n.unet.OutChannels {
		y = Slice(y, AxisRange(), AxisRange(0, channels))
	}
	return nn.MeanSquare(y, in["target"], in["weight"])
}

const textFile = "text_encoder/model.safetensors"

// textParts are the parts of a pipeline that encode texts, and their files but for the weights.
func (n *Network) textParts() (parts map[string][]string, files map[string]any) {
	settings := map[string]any{
		"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
		"extra_ids": 0, "model_max_length": Tokens,
	}
	return map[string][]string{
			"text_encoder": {"transformers", "T5EncoderModel"}, "tokenizer": {"transformers", "T5Tokenizer"},
		}, map[string]any{
			filepath.Join("text_encoder", hubfile.Network): n.TextConfig,
			"tokenizer/tokenizer_config.json":              settings,
			"tokenizer/spiece.model":                       n.Vocabulary,
		}
}

// Save writes a folder in the hub's layout, with the weights in bfloat16.
func (n *Network) Save(dir string, values map[string]weights.Tensor) error {
	parts, files := n.textParts()
	parts["unet"] = []string{"diffusers", "UNet2DConditionModel"}
	parts["scheduler"] = []string{"diffusers", "DDPMScheduler"}
	files[filepath.Join("unet", hubfile.Network)] = n.UNetConfig
	files[filepath.Join("scheduler", hubfile.Scheduler)] = n.Scheduler
	return save(dir, "IFPipeline", parts, files, map[string]map[string]weights.Tensor{
		unetFile: part(unetPrefix, values), textFile: part(textPrefix, values),
	})
}

// Initial are initial values, which the seed determines.
func (n *Network) Initial(seed uint64) map[string]weights.Tensor { return initial(n.Params(), seed) }

func initial(params []nn.Param, seed uint64) map[string]weights.Tensor {
	g, all := diffusion.NewGenerator(seed), map[string]weights.Tensor{}
	for _, p := range params {
		all[p.Name] = p.Tensor(p.Initial(g))
	}
	return all
}

// Random is a batch of noise and of texts without filling, for benchmarks.
func (n *Network) Random(images int, g *diffusion.Generator) []nn.Input {
	float := func(name string, shape ...int) nn.Input {
		v := make([]float32, images*nn.Size(shape))
		g.Normal(v)
		return nn.Input{Name: name, Shape: slices.Concat([]int{images}, shape), Values: v}
	}
	ids := make([]int32, images*TrainTokens)
	for i := range ids {
		ids[i] = int32(i * 7919 % n.text.VocabSize)
	}
	t := make([]float32, images)
	for i := range t {
		t[i] = float32(i * Timesteps / images)
	}
	return []nn.Input{
		float("x", Channels, n.Side(), n.Side()), float("target", Channels, n.Side(), n.Side()), float("weight", 1),
		{Name: "t", Shape: []int{images, 1}, Values: t},
		{Name: "ids", Shape: []int{images, TrainTokens}, Values: ids},
		{Name: "mask", Shape: []int{images, TrainTokens}, Values: make([]float32, len(ids))},
	}
}

// encode writes the ids of a caption, and what is added to the scores of attention to them, to rows of TrainTokens.
func (n *Network) encode(caption string, ids []int32, mask []float32) {
	own, known := n.tokenizer.Encode(tokenizer.Preprocess(caption), captionTokens)
	all := append(known, make([]int32, TrainTokens-captionTokens)...)
	clear(ids)
	copy(ids, own)
	copy(mask, t5.Mask(all))
}
